//! From the bytes of a JPEG or PNG file to an [`Image`], or to a [`Photograph`] of any size.
//!
//! Every file passes two checks: [`inspect`](header::inspect) walks its structure when the set is
//! opened, cheaply, and finds other formats, other sizes and files that are cut short; [`decode`]
//! unpacks the pixels when the image is read. A picture of another size is never unpacked: the first
//! check refuses it, and the decoders are held to the same size, so no file can make them allocate
//! more than a 128 x 128 picture and its colour profile need. A photograph is held in the same way to
//! the size that its structure names, which the caller bounds.

mod header;
mod photograph;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, Limits};
use nets::pixels::{IMAGE_SIZE, luma};
use serde::Serialize;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

pub(crate) use header::{Adobe, Format, Header, inspect};
pub(crate) use photograph::{LARGEST_PHOTOGRAPH, Photograph};

use crate::image::{Image, grey};

/// Larger files are refused unread: a 128 x 128 picture of 16-bit RGBA takes 128 KiB unpacked.
pub(crate) const LARGEST_FILE: u64 = 16 << 20;

/// What a picture and its colour profile may take unpacked, in bytes: eight for each pixel, and profiles of
/// printers take half a megabyte.
const LARGEST_UNPACKED: u64 = 2 << 20;

/// What keeps a file from being a usable image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "flaw")]
#[non_exhaustive]
pub enum Flaw {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Text, archives and whatever else lies in folders.
    #[error("it is not an image")]
    NotAnImage,
    /// A picture, but in a format this project doesn't read.
    #[error("expected JPEG or PNG, found {format}")]
    Unsupported {
        /// Name of the format.
        format: String,
    },
    /// The end is missing: a download or copy that broke off.
    #[error("the file is cut short")]
    CutShort,
    /// The picture has another size.
    #[error("expected {IMAGE_SIZE}x{IMAGE_SIZE} pixels, found {width}x{height}; align the faces first")]
    Size {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// The file is far larger than an image of this size can be.
    #[error("expected at most {most} bytes for one image, found {bytes}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The bound.
        most: u64,
    },
    /// A photograph has more pixels than the command was told to take.
    #[error("expected at most {most} pixels, found {width}x{height}; raise --max-megapixels, or make it smaller")]
    TooManyPixels {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// The bound.
        most: u64,
    },
    /// Structure or compressed data are damaged.
    #[error("its data are damaged: {detail}")]
    Damaged {
        /// The decoder's words.
        detail: String,
    },
}

/// Decodes a whole file into 1 or 3 channels, turned upright as its EXIF orientation says.
///
/// Transparent pixels are laid over black. 16-bit values are rounded to 8 bits once, after the
/// conversion to grey. CMYK becomes RGB by the simple product of ink and black.
pub(crate) fn decode(file: &[u8], channels: usize) -> Result<Image, Flaw> {
    let header = inspect(file)?;
    let most = Most { width: IMAGE_SIZE, height: IMAGE_SIZE, bytes: LARGEST_UNPACKED };
    let (stored, pixels) = unpack(file, &header, channels, most)?;
    let image = Image::new(stored, pixels).ok_or_else(wrong_count)?.into_channels(channels);
    if header.orientation == Orientation::NoTransforms {
        return Ok(image);
    }
    Ok(turn_upright(image, header.orientation))
}

/// What a decoder may unpack.
#[derive(Clone, Copy)]
struct Most {
    width: usize,
    height: usize,
    bytes: u64,
}

/// Grey (1) or RGB (3) pixels as they are stored; `channels` says for which of them what is deeper or
/// transparent is rounded.
fn unpack(file: &[u8], header: &Header, channels: usize, most: Most) -> Result<(usize, Vec<u8>), Flaw> {
    match header.format {
        Format::Jpeg => unpack_jpeg(file, header, most),
        Format::Png => unpack_png(file, channels, most),
    }
}

fn wrong_count() -> Flaw {
    Flaw::Damaged { detail: "the decoder returned another number of pixels".into() }
}

fn unpack_jpeg(file: &[u8], header: &Header, most: Most) -> Result<(usize, Vec<u8>), Flaw> {
    // Strict, because the lenient mode paints over damaged data with grey and says nothing.
    let out = match header.components {
        1 => ColorSpace::Luma,
        // Of luma, chroma and black the decoder itself makes the product below.
        4 if header.adobe != Some(Adobe::LUMA_CHROMA_BLACK) => ColorSpace::CMYK,
        _ => ColorSpace::RGB,
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(most.width)
        .set_max_height(most.height)
        .jpeg_set_out_colorspace(out);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(file), options);
    let mut pixels = decoder.decode().map_err(|error| Flaw::Damaged { detail: error.to_string() })?;
    if out == ColorSpace::CMYK {
        // Adobe's programs store ink inverted, and say so by their marker.
        let inverted = header.adobe.is_some();
        let light = |ink: u8| if inverted { u32::from(ink) } else { 255 - u32::from(ink) };
        pixels = pixels
            .chunks_exact(4)
            .flat_map(|cmyk| [0, 1, 2].map(|ink| ((light(cmyk[ink]) * light(cmyk[3]) + 127) / 255) as u8))
            .collect();
    }
    Ok((if out == ColorSpace::Luma { 1 } else { 3 }, pixels))
}

fn unpack_png(file: &[u8], channels: usize, most: Most) -> Result<(usize, Vec<u8>), Flaw> {
    let damaged = |error: image::ImageError| Flaw::Damaged { detail: error.to_string() };
    let mut limits = Limits::default();
    limits.max_image_width = Some(most.width as u32);
    limits.max_image_height = Some(most.height as u32);
    limits.max_alloc = Some(most.bytes);
    let mut decoder =
        image::codecs::png::PngDecoder::with_limits(std::io::Cursor::new(file), limits.clone()).map_err(damaged)?;
    decoder.set_limits(limits).map_err(damaged)?;
    Ok(match DynamicImage::from_decoder(decoder).map_err(damaged)? {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => from_deep(image.pixels().map(|p| ([p[0]; 3], p[1])), 255.0, channels),
        DynamicImage::ImageRgba8(image) => {
            from_deep(image.pixels().map(|p| ([p[0], p[1], p[2]], p[3])), 255.0, channels)
        }
        DynamicImage::ImageLuma16(image) => from_deep(image.pixels().map(|p| ([p[0]; 3], u16::MAX)), 65535.0, channels),
        DynamicImage::ImageLumaA16(image) => from_deep(image.pixels().map(|p| ([p[0]; 3], p[1])), 65535.0, channels),
        DynamicImage::ImageRgb16(image) => {
            from_deep(image.pixels().map(|p| ([p[0], p[1], p[2]], u16::MAX)), 65535.0, channels)
        }
        DynamicImage::ImageRgba16(image) => {
            from_deep(image.pixels().map(|p| ([p[0], p[1], p[2]], p[3])), 65535.0, channels)
        }
        _ => return Err(Flaw::Unsupported { format: "a PNG of unknown pixel type".into() }),
    })
}

/// Pixels with alpha or 16 bits: over black, to grey if asked, then rounded once.
fn from_deep<T: Into<f64>>(
    pixels: impl Iterator<Item = ([T; 3], T)>,
    largest: f64,
    channels: usize,
) -> (usize, Vec<u8>) {
    let mut bytes = Vec::with_capacity(pixels.size_hint().0 * channels);
    for (rgb, alpha) in pixels {
        let opacity = alpha.into() / largest;
        let rgb = rgb.map(|value| value.into() * opacity * (255.0 / largest));
        if channels == 3 {
            bytes.extend(rgb.map(|value| value.round_ties_even() as u8));
        } else if rgb.iter().all(|value| value.fract() == 0.0) {
            bytes.push(grey(rgb.map(|value| value as u8)));
        } else {
            bytes.push(luma(rgb).round_ties_even() as u8);
        }
    }
    (channels, bytes)
}

fn turn_upright(image: Image, orientation: Orientation) -> Image {
    let size = IMAGE_SIZE as u32;
    let channels = image.channels;
    let mut turned = match channels {
        1 => image::GrayImage::from_raw(size, size, image.pixels).map(DynamicImage::ImageLuma8),
        _ => image::RgbImage::from_raw(size, size, image.pixels).map(DynamicImage::ImageRgb8),
    }
    .expect("an image holds as many bytes as its size says; anything else is a bug");
    turned.apply_orientation(orientation);
    Image { channels, pixels: turned.into_bytes() }
}
