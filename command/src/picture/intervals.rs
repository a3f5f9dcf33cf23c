//! Values with their uncertainty, side by side in named columns.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::plot::{COLORS, LABEL_SIZE, SCALE, label_width, painted, range, tick};
use super::{Picture, text};

/// Width of a column that its points are spread over, as a share.
const SPREAD: f64 = 0.5;

/// A plot of columns, each with points, their error bars, and a dash at the mean of several points.
#[derive(Clone, Debug)]
pub struct Intervals {
    title: String,
    y_label: String,
    columns: Vec<(String, Vec<Point>)>,
    /// A value that all others are measured from.
    level: Option<f64>,
}

/// A value, and the lower and upper end of its bar.
type Point = (f64, (f64, f64));

impl Intervals {
    /// An empty plot; the label carries the unit.
    pub fn new(title: impl Into<String>, y_label: impl Into<String>) -> Self {
        Self { title: title.into(), y_label: y_label.into(), columns: Vec::new(), level: None }
    }

    /// Adds a column of points: a value and what lies between it and either end of its bar.
    pub fn column(&mut self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> &mut Self {
        self.spans(name, points.into_iter().map(|(value, half)| (value, (value - half, value + half))))
    }

    /// Adds a column of points: a value, and the lower and upper end of its bar.
    pub fn spans(&mut self, name: impl Into<String>, points: impl IntoIterator<Item = Point>) -> &mut Self {
        self.columns.push((name.into(), points.into_iter().collect()));
        self
    }

    /// Draws a line across at a value that all others are measured from, such as no difference.
    pub fn level(&mut self, value: f64) -> &mut Self {
        self.level = Some(value);
        self
    }

    /// Draws it, 960 x 540 pixels.
    pub fn render(&self) -> Picture {
        painted(|area| self.paint(area).map_err(|error| error.to_string()))
    }

    fn paint(&self, area: &DrawingArea<BitMapBackend<'_>, Shift>) -> Result<(), Box<dyn std::error::Error + '_>> {
        let scale = SCALE as i32;
        let font = |size: u32, color: RGBColor| (text::FONT, f64::from(size * SCALE)).into_font().color(&color);
        let finite = |points: &[Point]| -> Vec<Point> {
            let whole = |(value, (low, high)): &Point| value.is_finite() && low.is_finite() && high.is_finite();
            points.iter().copied().filter(whole).collect()
        };
        let columns: Vec<Vec<Point>> = self.columns.iter().map(|(_, points)| finite(points)).collect();
        let ends = columns.iter().flatten().flat_map(|&(_, (low, high))| [low, high]).chain(self.level);
        let (low, high) = range(ends, 0.1);
        let count = columns.len().max(1);
        let name = |nth: usize| self.columns.get(nth).map_or(String::new(), |(name, _)| name.clone());
        let mut chart = ChartBuilder::on(area)
            .margin(16 * scale)
            .caption(&self.title, font(24, text::INK))
            .x_label_area_size(36 * scale)
            .y_label_area_size((label_width(low, high) + 42) * scale)
            // A range of segments includes its end.
            .build_cartesian_2d((0..count - 1).into_segmented(), low..high)?
            // Names stand under segments; points lie anywhere within them.
            .set_secondary_coord(0.0..count as f64, low..high);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(228, 230, 234))
            .axis_style(RGBColor(170, 175, 182))
            .y_labels(7)
            .x_label_style(font(17, text::INK))
            .y_label_style(font(LABEL_SIZE, text::FAINT))
            .axis_desc_style(font(17, text::INK))
            .y_desc(&self.y_label)
            .x_label_formatter(&|x| match x {
                SegmentValue::CenterOf(nth) => name(*nth),
                _ => String::new(),
            })
            .y_label_formatter(&|y| tick(*y, high - low))
            .draw()?;
        if let Some(level) = self.level {
            let line = [(0.0, level), (count as f64, level)];
            chart.draw_secondary_series([PathElement::new(line, RGBColor(120, 125, 132).stroke_width(SCALE))])?;
        }
        for ((nth, points), color) in columns.iter().enumerate().zip(COLORS.iter().cycle()) {
            let step = SPREAD / points.len().max(1) as f64;
            let place = |point: usize| nth as f64 + 0.5 + step * (point as f64 - (points.len() as f64 - 1.0) / 2.0);
            let stroke = color.stroke_width(2 * SCALE);
            let bar = |(point, &(_, (low, high))): (usize, &Point)| {
                PathElement::new([(place(point), low), (place(point), high)], stroke)
            };
            chart.draw_secondary_series(points.iter().enumerate().map(bar))?;
            let dot =
                |(point, (value, _)): (usize, &Point)| Circle::new((place(point), *value), 5 * scale, color.filled());
            chart.draw_secondary_series(points.iter().enumerate().map(dot))?;
            if points.len() > 1 {
                let mean = points.iter().map(|(value, _)| value).sum::<f64>() / points.len() as f64;
                let ends = [(nth as f64 + 0.15, mean), (nth as f64 + 0.85, mean)];
                chart.draw_secondary_series([PathElement::new(ends, color.mix(0.5).stroke_width(SCALE))])?;
            }
        }
        area.present()?;
        Ok(())
    }
}
