use image::{DynamicImage, ImageBuffer, ImageFormat};
use proptest::prelude::*;

use crate::shelf::{Shelf, open_rgb, picture, smooth};

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut file = Vec::new();
    image.into().write_to(&mut std::io::Cursor::new(&mut file), ImageFormat::Png).unwrap();
    file
}

fn decode(file: &[u8]) -> (dataset::Image, dataset::Image) {
    let shelf = Shelf::new();
    shelf.put("a/1", file);
    (shelf.open().unwrap().read(0).unwrap(), open_rgb(&shelf.root()).read(0).unwrap())
}

#[test]
fn png_keeps_every_byte_in_grey_and_rgb() {
    let (grey, rgb) = decode(&smooth(3, 7).to_png());
    assert_eq!(rgb, smooth(3, 7));
    assert_eq!(grey, smooth(3, 7).to_grey());
    let (grey, rgb) = decode(&smooth(1, 7).to_png());
    assert_eq!(grey, smooth(1, 7));
    assert_eq!(rgb, smooth(1, 7).into_channels(3));
}

#[test]
fn jpeg_is_close_to_what_was_encoded() {
    let (_, rgb) = decode(&smooth(1, 3).to_jpeg(95));
    let worst = rgb.to_grey().pixels().iter().zip(smooth(1, 3).pixels()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst < Some(8), "{worst:?}");
}

#[test]
fn grey_rounds_true_ties_to_even() {
    // 0.299 R + 0.587 G + 0.114 B, in thousandths, against exact integers.
    let mut image = smooth(3, 0).into_pixels();
    for (index, pixel) in image.chunks_exact_mut(3).enumerate() {
        pixel.copy_from_slice(&[(index * 7) as u8, (index * 13 / 3) as u8, (index / 5) as u8]);
    }
    let rgb = dataset::Image::new(3, image).unwrap();
    for (pixel, &grey) in rgb.pixels().chunks_exact(3).zip(rgb.to_grey().pixels()) {
        let thousandths = 299 * u32::from(pixel[0]) + 587 * u32::from(pixel[1]) + 114 * u32::from(pixel[2]);
        let (whole, rest) = (thousandths / 1000, thousandths % 1000);
        let expected = whole + u32::from(rest > 500 || (rest == 500 && whole % 2 == 1));
        assert_eq!(u32::from(grey), expected, "{pixel:?}");
    }
}

#[test]
fn sixteen_bits_round_to_eight() {
    let deep = ImageBuffer::from_fn(128, 128, |x, y| image::Rgb([(x * 512) as u16, (y * 515) as u16, 65535]));
    let (_, rgb) = decode(&png(DynamicImage::ImageRgb16(deep.clone())));
    for (pixel, expected) in rgb.pixels().chunks_exact(3).zip(deep.pixels()) {
        for (&byte, &value) in pixel.iter().zip(&expected.0) {
            assert_eq!(byte, (f64::from(value) / 257.0).round() as u8);
        }
    }
    let grey = ImageBuffer::from_fn(128, 128, |x, _| image::Luma([(x * 516) as u16]));
    let (one, _) = decode(&png(DynamicImage::ImageLuma16(grey)));
    assert_eq!(one.pixels()[127], (127.0f64 * 516.0 / 257.0).round() as u8);
}

#[test]
fn transparency_is_laid_over_black() {
    let image = ImageBuffer::from_fn(128, 128, |x, _| image::Rgba([200, 100, 50, if x < 64 { 255 } else { 0 }]));
    let (_, rgb) = decode(&png(DynamicImage::ImageRgba8(image)));
    assert_eq!(rgb.pixels()[..3], [200, 100, 50]);
    assert_eq!(rgb.pixels()[127 * 3..][..3], [0, 0, 0]);
    let half = ImageBuffer::from_pixel(128, 128, image::LumaA([200, 128]));
    let (grey, _) = decode(&png(DynamicImage::ImageLumaA8(half)));
    assert_eq!(grey.pixels()[0], 100);
}

#[test]
fn palettes_become_colours() {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 128, 128);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(vec![0, 0, 0, 255, 0, 0, 0, 255, 0, 10, 20, 30]);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0b00_01_10_11; 128 * 32]).unwrap();
    writer.finish().unwrap();
    let (_, rgb) = decode(&file);
    assert_eq!(rgb.pixels()[..12], [0, 0, 0, 255, 0, 0, 0, 255, 0, 10, 20, 30]);
}

/// An APP1 segment that says how the camera was held.
pub(crate) fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut segment = b"\xff\xe1".to_vec();
    segment.extend((tiff.len() as u16 + 8).to_be_bytes());
    segment.extend(b"Exif\0\0");
    segment.extend(tiff);
    segment
}

#[test]
fn exif_orientation_turns_the_picture_upright() {
    let stored = smooth(1, 0).to_jpeg(95);
    let (plain, _) = decode(&stored);
    let at = |image: &dataset::Image, x: usize, y: usize| image.pixels()[y * 128 + x];
    // Where the pixel that is shown at (5, 100) is stored, by EXIF's definition.
    let sources = [
        (1, (5, 100)),
        (2, (122, 100)),
        (3, (122, 27)),
        (4, (5, 27)),
        (5, (100, 5)),
        (6, (100, 122)),
        (7, (27, 122)),
        (8, (27, 5)),
    ];
    for (orientation, (x, y)) in sources {
        let file = [&stored[..2], &exif(orientation), &stored[2..]].concat();
        let (turned, _) = decode(&file);
        assert_eq!(at(&turned, 5, 100), at(&plain, x, y), "orientation {orientation}");
    }
    let (nonsense, _) = decode(&[&stored[..2], &exif(77), &stored[2..]].concat());
    assert_eq!(nonsense, plain);
}

/// A CMYK JPEG of one colour, written by hand: every block has the same four DC values.
/// `adobe` is the transform that Adobe's marker names: 0 plain inks, 2 luma, chroma and black.
fn cmyk_jpeg(inks: [u8; 4], adobe: Option<u8>) -> Vec<u8> {
    let mut file = b"\xff\xd8".to_vec();
    if let Some(transform) = adobe {
        file.extend(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0");
        file.push(transform);
    }
    // All quantizers 8: a DC coefficient then is the level itself.
    file.extend(b"\xff\xdb\0\x43\0");
    file.extend([8; 64]);
    file.extend(b"\xff\xc0\0\x14\x08\0\x80\0\x80\x04");
    (1..=4).for_each(|id| file.extend([id, 0x11, 0]));
    // DC: sizes 0 to 8 in four bits each; AC: only the end of block, one bit.
    file.extend(b"\xff\xc4\0\x1c\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0\x00\x01\x02\x03\x04\x05\x06\x07\x08");
    file.extend(b"\xff\xc4\0\x14\x10\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    file.extend(b"\xff\xda\0\x0e\x04\x01\0\x02\0\x03\0\x04\0\0\x3f\0");
    let mut bits: Vec<bool> = Vec::new();
    let mut push = |value: u32, count: u32| bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    for block in 0..256 {
        for ink in inks {
            let level = if block == 0 { i32::from(ink) - 128 } else { 0 };
            let size = 32 - level.unsigned_abs().leading_zeros();
            push(size, 4);
            push(if level < 0 { (level + (1 << size) - 1) as u32 } else { level as u32 }, size);
            push(0, 1);
        }
    }
    bits.resize(bits.len().next_multiple_of(8), true);
    for byte in bits.chunks(8) {
        let byte = byte.iter().fold(0u8, |byte, &bit| byte << 1 | u8::from(bit));
        file.push(byte);
        if byte == 0xff {
            file.push(0);
        }
    }
    file.extend(b"\xff\xd9");
    file
}

#[test]
fn cmyk_is_ink_and_adobes_is_inverted_ink() {
    for (components, adobe, expected) in [
        ([0, 128, 255, 0], None, [255, 127, 0]),
        ([255, 128, 0, 255], Some(0), [255, 128, 0]),
        ([255, 255, 255, 128], Some(0), [128, 128, 128]),
        // Luma and chroma of the inks' complement, as JFIF has them for RGB, and inverted black.
        ([0, 128, 128, 255], Some(2), [255, 255, 255]),
        ([255, 128, 128, 255], Some(2), [0, 0, 0]),
        ([0, 128, 128, 128], Some(2), [128, 128, 128]),
        ([104, 213, 54, 255], Some(2), [255, 128, 0]),
    ] {
        let (grey, rgb) = decode(&cmyk_jpeg(components, adobe));
        let pixel = &rgb.pixels()[..3];
        let near = pixel.iter().zip(expected).all(|(&found, expected)| found.abs_diff(expected) <= 2);
        assert!(near, "{components:?} {adobe:?}: expected {expected:?}, found {pixel:?}");
        assert_eq!(grey, rgb.to_grey());
    }
}

#[test]
fn a_second_frame_is_refused_whatever_its_size() {
    let stored = smooth(1, 0).to_jpeg(95);
    let frame = |side: u16| {
        let [high, low] = side.to_be_bytes();
        [0xff, 0xc0, 0, 11, 8, high, low, high, low, 1, 1, 0x11, 0]
    };
    for side in [8000, 128] {
        let shelf = Shelf::with_two_people();
        shelf.put("anna/two.jpg", &[&stored[..2], &frame(side), &stored[2..]].concat());
        let set = shelf.open().unwrap();
        let aside = &set.report().set_aside[0];
        assert!(aside.reason.to_string().contains("second frame"), "{aside:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_cut_of_an_image_is_noticed(share in 0.0f64..1.0, jpeg: bool) {
        let whole = picture(if jpeg { "x.jpg" } else { "x.png" }, 11);
        let cut = &whole[..(whole.len() as f64 * share) as usize];
        let shelf = Shelf::with_two_people();
        shelf.put("anna/cut", cut);
        prop_assert_eq!(shelf.open().unwrap().len(), 5);
    }

    #[test]
    fn no_damage_makes_the_decoder_panic(at in prop::collection::vec((0.0f64..1.0, any::<u8>()), 1..20), jpeg: bool) {
        let mut file = picture(if jpeg { "x.jpg" } else { "x.png" }, 11);
        for (share, byte) in at {
            let place = (file.len() as f64 * share) as usize;
            file[place] = byte;
        }
        let shelf = Shelf::with_two_people();
        shelf.put("anna/damaged", &file);
        let set = shelf.open().unwrap();
        for image in 0..set.len() {
            let _ = set.read(image);
        }
    }
}
