//! What the detector saw: photographs with boxes and landmarks, beside the aligned faces.

use std::path::Path;

use command::picture::Grid;
use dataset::align::{Outcome, Record, Summary, read_photograph};
use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};
use nets::mtcnn::Face;

use crate::Failure;

const ROWS: usize = 12;
/// Of them without a face or with several, where there are so many.
const TROUBLED: usize = 4;
/// Side of a tile, in pixels.
const TILE: u32 = 256;
/// How far around its box the taken face is shown, as a share of the box.
const AROUND: f32 = 0.4;

const TAKEN: Rgb<u8> = Rgb([40, 220, 90]);
const OTHER: Rgb<u8> = Rgb([255, 150, 40]);
const LANDMARK: Rgb<u8> = Rgb([255, 60, 60]);

/// Draws up to 12 photographs, a row each: the whole, the taken face, the aligned one.
pub(crate) fn save(
    input: &Path,
    output: &Path,
    summary: &Summary,
    max_pixels: u64,
    path: &Path,
) -> Result<(), Failure> {
    let rows = choose(&summary.records);
    let mut grid = Grid::new(TILE as usize, 3, 3)?
        .title(format!("{}: {} photographs, {} aligned", input.display(), summary.photographs, summary.aligned))
        .column_captions(["photograph", "landmarks", "aligned"])
        .row_captions(rows.iter().map(|record| format!("{} ({})", record.path, told(record))));
    for record in &rows {
        for tile in tiles(input, output, record, max_pixels)? {
            match tile {
                Some(tile) => grid.push(&tile)?,
                None => grid.skip(),
            }
        }
    }
    Ok(grid.render().save(path)?)
}

/// Up to a third in trouble, the rest aligned with one face, each evenly spread, in the order of paths.
fn choose(records: &[Record]) -> Vec<&Record> {
    let readable = records.iter().filter(|record| !matches!(record.outcome, Outcome::Unreadable { .. }));
    let (fine, troubled): (Vec<&Record>, Vec<&Record>) =
        readable.partition(|record| matches!(&record.outcome, Outcome::Aligned(face) if face.good == 1));
    let most_troubled = TROUBLED.max(ROWS.saturating_sub(fine.len()));
    let spread = |records: &[&'_ Record], most: usize| -> Vec<usize> {
        let shown = records.len().min(most);
        (0..shown).map(|nth| nth * records.len() / shown).collect()
    };
    let chosen_troubled = spread(&troubled, most_troubled);
    let chosen_fine = spread(&fine, ROWS - chosen_troubled.len());
    let mut rows: Vec<&Record> = chosen_troubled.iter().map(|&at| troubled[at]).collect();
    rows.extend(chosen_fine.iter().map(|&at| fine[at]));
    rows
}

fn told(record: &Record) -> String {
    match &record.outcome {
        Outcome::Aligned(face) if face.good > 1 => format!("{} faces", face.good),
        Outcome::Aligned(face) => format!("{:.1} %", 100.0 * face.faces[face.taken].probability),
        Outcome::NoFace { faces } if faces.is_empty() => "no face".to_owned(),
        Outcome::NoFace { faces } => format!("no face, {} doubtful", faces.len()),
        Outcome::Unreadable { .. } => "unreadable".to_owned(),
    }
}

/// The three tiles of a row; those that there is nothing for stay empty.
fn tiles(input: &Path, output: &Path, record: &Record, max_pixels: u64) -> Result<[Option<Vec<u8>>; 3], Failure> {
    let (faces, taken) = match &record.outcome {
        Outcome::Aligned(face) => (&face.faces, face.faces.get(face.taken)),
        Outcome::NoFace { faces } => (faces, None),
        Outcome::Unreadable { .. } => return Ok([None, None, None]),
    };
    // It was readable when it was aligned; one that has gone since leaves its row empty.
    let Ok((width, height, rgb)) = read_photograph(&input.join(&record.path), max_pixels) else {
        return Ok([None, None, None]);
    };
    let Some(photograph) = RgbImage::from_raw(width as u32, height as u32, rgb) else { return Ok([None, None, None]) };
    let whole = View::of(&photograph, [0.0, 0.0, width as f32, height as f32]);
    let overview = whole.map(|mut view| {
        for face in faces {
            view.draw(face, if Some(face) == taken { TAKEN } else { OTHER });
        }
        view.tile.into_raw()
    });
    let close = taken.and_then(|face| {
        let [x1, y1, x2, y2] = face.corners;
        let margin = AROUND * (x2 - x1).max(y2 - y1);
        let mut view = View::of(&photograph, [x1 - margin, y1 - margin, x2 + margin, y2 + margin])?;
        view.draw(face, TAKEN);
        Some(view.tile.into_raw())
    });
    let aligned = match &record.outcome {
        Outcome::Aligned(face) => {
            let (width, height, rgb) = read_photograph(&output.join(&face.out), max_pixels)?;
            RgbImage::from_raw(width as u32, height as u32, rgb)
                .map(|image| resize(&image, TILE, TILE, FilterType::Nearest).into_raw())
        }
        _ => None,
    };
    Ok([overview, close, aligned])
}

/// A part of a photograph in a tile, as large as fits, in its middle.
struct View {
    tile: RgbImage,
    left: f32,
    top: f32,
    scale: f32,
    /// Where the part's corner lies in the tile.
    margin: [i64; 2],
}

impl View {
    fn of(photograph: &RgbImage, [left, top, right, bottom]: [f32; 4]) -> Option<Self> {
        let (width, height) = photograph.dimensions();
        let (left, top) = (left.max(0.0).floor(), top.max(0.0).floor());
        let (right, bottom) = (right.min(width as f32), bottom.min(height as f32));
        if right - left < 1.0 || bottom - top < 1.0 {
            return None;
        }
        let (width, height) = ((right - left) as u32, (bottom - top) as u32);
        let part = image::imageops::crop_imm(photograph, left as u32, top as u32, width, height).to_image();
        let scale = TILE as f32 / width.max(height) as f32;
        let side = |length: u32| ((length as f32 * scale).round() as u32).clamp(1, TILE);
        let part = resize(&part, side(width), side(height), FilterType::Triangle);
        let margin = [i64::from((TILE - part.width()) / 2), i64::from((TILE - part.height()) / 2)];
        let mut tile = RgbImage::from_pixel(TILE, TILE, Rgb([255; 3]));
        image::imageops::replace(&mut tile, &part, margin[0], margin[1]);
        Some(Self { tile, left, top, scale, margin })
    }

    fn draw(&mut self, face: &Face, colour: Rgb<u8>) {
        let [x1, y1, x2, y2] = face.corners;
        let [(x1, y1), (x2, y2)] = [self.at(x1, y1), self.at(x2, y2)];
        for thickness in 0..2 {
            let (x1, y1, x2, y2) = (x1 - thickness, y1 - thickness, x2 + thickness, y2 + thickness);
            (x1.max(0)..=x2.min(TILE.into())).for_each(|x| [y1, y2].into_iter().for_each(|y| self.dot(x, y, colour)));
            (y1.max(0)..=y2.min(TILE.into())).for_each(|y| [x1, x2].into_iter().for_each(|x| self.dot(x, y, colour)));
        }
        for [x, y] in face.landmarks {
            let (x, y) = self.at(x, y);
            for down in -2..=2i64 {
                for across in -2..=2i64 {
                    if down * down + across * across <= 5 {
                        self.dot(x + across, y + down, LANDMARK);
                    }
                }
            }
        }
    }

    /// Where a point of the photograph lies in the tile.
    fn at(&self, x: f32, y: f32) -> (i64, i64) {
        let place = |at: f32, first: f32, margin: i64| ((at + 0.5 - first) * self.scale).floor() as i64 + margin;
        (place(x, self.left, self.margin[0]), place(y, self.top, self.margin[1]))
    }

    fn dot(&mut self, x: i64, y: i64, colour: Rgb<u8>) {
        if let (Ok(x @ 0..TILE), Ok(y @ 0..TILE)) = (u32::try_from(x), u32::try_from(y)) {
            self.tile.put_pixel(x, y, colour);
        }
    }
}
