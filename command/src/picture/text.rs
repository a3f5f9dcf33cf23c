//! The canvas that grids and plots share: one font, a few greys, and smooth lines by drawing large
//! and averaging.

use std::sync::Once;

use image::RgbImage;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

/// The name under which the font is registered with the plotting library.
pub(super) const FONT: &str = "lookalike";
pub(super) const INK: RGBColor = RGBColor(38, 42, 48);
pub(super) const FAINT: RGBColor = RGBColor(120, 126, 134);

/// A drawing surface over `raster`; what is drawn there is in it when the closure ends.
pub(super) fn draw<T>(
    raster: &mut RgbImage,
    paint: impl FnOnce(&DrawingArea<BitMapBackend<'_>, plotters::coord::Shift>) -> T,
) -> T {
    register();
    let size = raster.dimensions();
    let area = BitMapBackend::with_buffer(raster, size).into_drawing_area();
    paint(&area)
}

/// Pixels that `text` takes in width at `size`.
pub(super) fn width(text: &str, size: u32) -> u32 {
    register();
    (FONT, f64::from(size)).into_font().box_size(text).map_or(0, |(width, _)| width)
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for style in [FontStyle::Normal, FontStyle::Bold] {
            // The font is compiled in, so there is nothing to refuse.
            if register_font(FONT, style, epaint_default_fonts::UBUNTU_LIGHT).is_err() {
                tracing::error!("the built-in font is unreadable; this is a bug");
            }
        }
    });
}

/// `text`, cut with an ellipsis where it is wider than `limit` pixels.
pub(super) fn fit(text: &str, size: u32, limit: u32) -> String {
    if width(text, size) <= limit {
        return text.to_owned();
    }
    let mut letters: Vec<char> = text.chars().collect();
    while letters.pop().is_some() {
        let shorter: String = letters.iter().chain(&['…']).collect();
        if width(&shorter, size) <= limit {
            return shorter;
        }
    }
    String::new()
}
