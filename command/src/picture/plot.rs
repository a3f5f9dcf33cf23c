//! Curves over one axis, such as losses over images seen.

use image::RgbImage;
use image::imageops::{FilterType, resize};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Picture, text};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 540;
/// Drawn this many times larger and averaged down, for smooth lines.
pub(super) const SCALE: u32 = 2;
pub(super) const LABEL_SIZE: u32 = 15;

/// Line colours that stay apart for colour-blind eyes (Okabe and Ito's palette), strongest first.
pub(super) const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];

/// What `paint` draws, averaged down to the size of a plot.
pub(super) fn painted(paint: impl FnOnce(&DrawingArea<BitMapBackend<'_>, Shift>) -> Result<(), String>) -> Picture {
    let mut large = RgbImage::from_pixel(WIDTH * SCALE, HEIGHT * SCALE, image::Rgb([255; 3]));
    // Drawing into memory fails only for ranges without extent, which `range` never gives.
    if let Err(error) = text::draw(&mut large, paint) {
        tracing::error!("drawing a plot failed: {error}; this is a bug");
    }
    Picture { raster: resize(&large, WIDTH, HEIGHT, FilterType::Triangle) }
}

/// A plot of named series.
#[derive(Clone, Debug)]
pub struct Plot {
    title: String,
    x_label: String,
    y_label: String,
    series: Vec<(String, Vec<(f64, f64)>)>,
    /// For each series, from where to where its points may lie: x, low, high. Mostly none.
    bands: Vec<Vec<(f64, f64, f64)>>,
}

impl Plot {
    /// An empty plot; the labels carry the units.
    pub fn new(title: impl Into<String>, x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x_label: x_label.into(),
            y_label: y_label.into(),
            series: Vec::new(),
            bands: Vec::new(),
        }
    }

    /// Adds a curve. Points that are not finite break the line.
    pub fn line(&mut self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> &mut Self {
        self.series.push((name.into(), points.into_iter().collect()));
        self.bands.push(Vec::new());
        self
    }

    /// Adds a curve with a band around it: x, value, and the lower and upper end of its uncertainty.
    /// Points that are not finite are left out of the band.
    pub fn band(
        &mut self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64, (f64, f64))>,
    ) -> &mut Self {
        let points: Vec<_> = points.into_iter().collect();
        self.series.push((name.into(), points.iter().map(|&(x, value, _)| (x, value)).collect()));
        let ends = points.iter().map(|&(x, _, (low, high))| (x, low, high));
        self.bands.push(ends.filter(|(x, low, high)| x.is_finite() && low.is_finite() && high.is_finite()).collect());
        self
    }

    /// Draws it, 960 x 540 pixels.
    pub fn render(&self) -> Picture {
        painted(|area| self.paint(area).map_err(|error| error.to_string()))
    }

    fn paint(&self, area: &DrawingArea<BitMapBackend<'_>, Shift>) -> Result<(), Box<dyn std::error::Error + '_>> {
        let scale = SCALE as i32;
        let font = |size: u32, color: RGBColor| (text::FONT, f64::from(size * SCALE)).into_font().color(&color);
        let points =
            || self.series.iter().flat_map(|(_, points)| points).filter(|(x, y)| x.is_finite() && y.is_finite());
        let (x_low, x_high) = range(points().map(|point| point.0), 0.0);
        let ends = self.bands.iter().flatten().flat_map(|&(_, low, high)| [low, high]);
        let (y_low, y_high) = range(points().map(|point| point.1).chain(ends), 0.05);
        let mut chart = ChartBuilder::on(area)
            .margin(16 * scale)
            .margin_right((16 + label_width(x_low, x_high) / 2) * scale)
            .caption(&self.title, font(24, text::INK))
            .x_label_area_size(48 * scale)
            .y_label_area_size((label_width(y_low, y_high) + 42) * scale)
            .build_cartesian_2d(x_low..x_high, y_low..y_high)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(228, 230, 234))
            .axis_style(RGBColor(170, 175, 182))
            .set_all_tick_mark_size(4 * scale)
            .x_labels(8)
            .y_labels(7)
            .label_style(font(LABEL_SIZE, text::FAINT))
            .axis_desc_style(font(17, text::INK))
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .x_label_formatter(&|x| tick(*x, x_high - x_low))
            .y_label_formatter(&|y| tick(*y, y_high - y_low))
            .draw()?;
        for (band, color) in self.bands.iter().zip(COLORS.iter().cycle()) {
            let back = band.iter().rev().map(|&(x, low, _)| (x, low));
            let outline: Vec<(f64, f64)> = band.iter().map(|&(x, _, high)| (x, high)).chain(back).collect();
            chart.draw_series([Polygon::new(outline, color.mix(0.15))])?;
        }
        for ((name, points), color) in self.series.iter().zip(COLORS.iter().cycle()) {
            let style = color.stroke_width(2 * SCALE);
            let mut legend = Some(name);
            for piece in points.split(|(x, y)| !(x.is_finite() && y.is_finite())).filter(|piece| !piece.is_empty()) {
                let drawn = chart.draw_series(LineSeries::new(piece.iter().copied(), style))?;
                if let Some(name) = legend.take() {
                    let sample = move |(x, y)| PathElement::new([(x, y), (x + 24 * scale, y)], style);
                    drawn.label(name).legend(sample);
                }
            }
        }
        if self.series.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .margin(10 * scale)
                .legend_area_size(34 * scale)
                .label_font(font(16, text::INK))
                .background_style(WHITE.mix(0.85))
                .draw()?;
        }
        area.present()?;
        Ok(())
    }
}

/// From the least to the greatest value with a share of free space around; never empty.
pub(super) fn range(values: impl Iterator<Item = f64>, space: f64) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return (0.0, 1.0);
    }
    let extent = high - low;
    if extent <= f64::EPSILON * low.abs().max(high.abs()) {
        let half = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
        return (low - half, high + half);
    }
    (low - extent * space, high + extent * space)
}

/// Pixels that the wider of an axis' end labels takes.
pub(super) fn label_width(low: f64, high: f64) -> i32 {
    let width = |value| text::width(&tick(value, high - low), LABEL_SIZE);
    i32::try_from(width(low).max(width(high))).unwrap_or(0)
}

/// As many decimals as the axis' extent needs; thousands are grouped.
pub(super) fn tick(value: f64, extent: f64) -> String {
    let decimals = (1.0 - extent.log10().floor()).clamp(0.0, 6.0) as usize;
    if decimals == 0 && value.abs() < 1e15 {
        let sign = if value <= -0.5 { "-" } else { "" };
        return format!("{sign}{}", crate::human::count(value.abs().round() as u64));
    }
    if value.abs() >= 1e15 { format!("{value:e}") } else { format!("{value:.decimals$}") }
}
