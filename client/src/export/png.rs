//! One row as a PNG file, and back to the same bytes. A file is held against what it must be before
//! anything of it is unpacked.

use nets::pixels::IMAGE_SIZE;
use png::{BitDepth, ColorType};
use std::io::Cursor;

/// A file of `IMAGE_SIZE` x `IMAGE_SIZE` pixels of 1 or 3 channels.
pub(super) fn encode(pixels: &[u8], channels: usize) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, IMAGE_SIZE as u32, IMAGE_SIZE as u32);
    encoder.set_color(colour(channels));
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file)
}

/// The pixels of a file that [`encode`] wrote, or that somebody rewrote without loss.
pub(super) fn decode(file: &[u8], channels: usize) -> Result<Vec<u8>, String> {
    let area = IMAGE_SIZE * IMAGE_SIZE * channels;
    let limits = png::Limits { bytes: 4 * area + (1 << 16) };
    let mut reader = png::Decoder::new_with_limits(Cursor::new(file), limits).read_info().map_err(damage)?;
    let info = reader.info();
    let found = (info.width, info.height, info.bit_depth, info.color_type);
    if found != (IMAGE_SIZE as u32, IMAGE_SIZE as u32, BitDepth::Eight, colour(channels)) {
        let (width, height, depth, colour) = found;
        let kind = if channels == 3 { "RGB" } else { "grey" };
        return Err(format!(
            "expected {IMAGE_SIZE} x {IMAGE_SIZE} pixels, 8 bits, {kind}, found {width} x {height}, {} bits, {colour:?}",
            depth as u8
        ));
    }
    let mut pixels = vec![0; area];
    reader.next_frame(&mut pixels).map_err(damage)?;
    Ok(pixels)
}

fn damage(error: png::DecodingError) -> String {
    format!("expected a PNG file as it was written, found a damaged one ({error})")
}

fn colour(channels: usize) -> ColorType {
    if channels == 3 { ColorType::Rgb } else { ColorType::Grayscale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_and_nothing_else_is_read() {
        for channels in [1, 3] {
            let pixels: Vec<u8> = (0..IMAGE_SIZE * IMAGE_SIZE * channels).map(|at| (at * 7 % 251) as u8).collect();
            let file = encode(&pixels, channels).unwrap();
            assert_eq!(decode(&file, channels), Ok(pixels));
            let error = decode(&file, 4 - channels).unwrap_err();
            assert!(error.starts_with("expected 128 x 128 pixels, 8 bits,"), "{error}");
            decode(&file[..file.len() / 2], channels).unwrap_err();
            decode(b"none", channels).unwrap_err();
        }
    }
}
