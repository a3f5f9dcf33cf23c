//! Tiles of equal size in rows and columns, with captions.

use image::{Rgb, RgbImage};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Picture, text};
use crate::{Error, Result};

const GAP: u32 = 4;
const MARGIN: u32 = 12;
const CAPTION_SIZE: u32 = 17;
const TITLE_SIZE: u32 = 24;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const EMPTY: Rgb<u8> = Rgb([240, 241, 243]);

/// A grid to be filled row by row. Tiles are NHWC bytes of `height` x `width` x `channels` (1 or 3).
#[derive(Clone, Debug)]
pub struct Grid {
    height: u32,
    width: u32,
    channels: usize,
    columns: usize,
    tiles: Vec<Vec<u8>>,
    title: Option<String>,
    column_captions: Vec<String>,
    row_captions: Vec<String>,
}

impl Grid {
    /// An empty grid for square tiles of `side` pixels.
    ///
    /// # Errors
    /// [`Error::Picture`] for no columns, no pixels, or neither 1 nor 3 channels.
    pub fn new(side: usize, channels: usize, columns: usize) -> Result<Self> {
        let expected = |expected: &str, found: String| Err(Error::Picture { expected: expected.to_owned(), found });
        if channels != 1 && channels != 3 {
            return expected("1 or 3 channels", channels.to_string());
        }
        if columns == 0 {
            return expected("at least one column", "0".to_owned());
        }
        let length = match u32::try_from(side) {
            Ok(length) if length > 0 && length <= 4096 => length,
            _ => return expected("tiles of 1 to 4096 pixels a side", side.to_string()),
        };
        Ok(Self {
            height: length,
            width: length,
            channels,
            columns,
            tiles: Vec::new(),
            title: None,
            column_captions: Vec::new(),
            row_captions: Vec::new(),
        })
    }

    /// A line above everything.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// A caption above each column.
    pub fn column_captions<Caption: Into<String>>(mut self, captions: impl IntoIterator<Item = Caption>) -> Self {
        self.column_captions = captions.into_iter().map(Into::into).collect();
        self
    }

    /// A caption to the left of each row.
    pub fn row_captions<Caption: Into<String>>(mut self, captions: impl IntoIterator<Item = Caption>) -> Self {
        self.row_captions = captions.into_iter().map(Into::into).collect();
        self
    }

    /// Adds the tiles of a batch, (N, height, width, channels) bytes in one slice.
    ///
    /// # Errors
    /// [`Error::Picture`] where the slice is no whole number of tiles.
    pub fn push(&mut self, pixels: &[u8]) -> Result<()> {
        let tile = self.height as usize * self.width as usize * self.channels;
        if !pixels.len().is_multiple_of(tile) {
            return Err(Error::Picture {
                expected: format!("a multiple of {tile} bytes"),
                found: pixels.len().to_string(),
            });
        }
        self.tiles.extend(pixels.chunks_exact(tile).map(<[u8]>::to_vec));
        Ok(())
    }

    /// Leaves a place empty.
    pub fn skip(&mut self) {
        self.tiles.push(Vec::new());
    }

    /// Draws it.
    pub fn render(&self) -> Picture {
        let rows = self.tiles.len().div_ceil(self.columns).max(1) as u32;
        let columns = self.columns as u32;
        let widest = |captions: &[String]| captions.iter().map(|caption| text::width(caption, CAPTION_SIZE)).max();
        let left = MARGIN + widest(&self.row_captions).map_or(0, |width| width + 10);
        let title_height = if self.title.is_some() { TITLE_SIZE + 12 } else { 0 };
        let caption_height = if self.column_captions.is_empty() { 0 } else { CAPTION_SIZE + 8 };
        let top = MARGIN + title_height + caption_height;
        let grid_width = columns * (self.width + GAP) - GAP;
        let title_width = self.title.as_deref().map_or(0, |title| text::width(title, TITLE_SIZE));
        let width = (left + grid_width).max(MARGIN + title_width) + MARGIN;
        let height = top + rows * (self.height + GAP) - GAP + MARGIN;

        let mut raster = RgbImage::from_pixel(width, height, PAPER);
        let place = |index: u32, length: u32| index * (length + GAP);
        for (index, tile) in self.tiles.iter().enumerate() {
            let x = left + place(index as u32 % columns, self.width);
            let y = top + place(index as u32 / columns, self.height);
            self.paste(&mut raster, x, y, tile);
        }
        text::draw(&mut raster, |area| {
            let write = |words: &str, size: u32, color: RGBColor, at: (u32, u32), pos: Pos| {
                let style = (text::FONT, f64::from(size)).into_font().color(&color).pos(pos);
                // Drawing into memory has no way to fail.
                let _ = area.draw_text(words, &style, (at.0 as i32, at.1 as i32));
            };
            if let Some(title) = &self.title {
                write(title, TITLE_SIZE, text::INK, (MARGIN, MARGIN), Pos::new(HPos::Left, VPos::Top));
            }
            for (column, caption) in (0..columns).zip(&self.column_captions) {
                let at = (left + place(column, self.width) + self.width / 2, top - 6);
                let caption = text::fit(caption, CAPTION_SIZE, self.width + GAP);
                write(&caption, CAPTION_SIZE, text::INK, at, Pos::new(HPos::Center, VPos::Bottom));
            }
            for (row, caption) in (0..rows).zip(&self.row_captions) {
                let at = (left - 10, top + place(row, self.height) + self.height / 2);
                write(caption, CAPTION_SIZE, text::INK, at, Pos::new(HPos::Right, VPos::Center));
            }
        });
        Picture { raster }
    }

    fn paste(&self, raster: &mut RgbImage, left: u32, top: u32, tile: &[u8]) {
        let mut pixels = tile.chunks_exact(self.channels);
        for y in 0..self.height {
            for x in 0..self.width {
                let pixel = match pixels.next() {
                    Some(&[grey]) => Rgb([grey; 3]),
                    Some(&[red, green, blue]) => Rgb([red, green, blue]),
                    _ => EMPTY,
                };
                raster.put_pixel(left + x, top + y, pixel);
            }
        }
    }
}
