//! The structure of a file, walked without unpacking a pixel.

use image::metadata::Orientation;
use nets::pixels::IMAGE_SIZE;

use super::Flaw;

/// Formats that are read. The content decides, never the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
}

/// What the structure of a usable file says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) format: Format,
    /// Components as stored: 1 grey, 3 colour, 4 CMYK (JPEG) or with alpha (PNG).
    pub(crate) components: u8,
    /// Whether the file holds more than grey.
    pub(crate) colour: bool,
    /// What a JPEG's Adobe marker says, if it carries one.
    pub(crate) adobe: Option<Adobe>,
    pub(crate) orientation: Orientation,
}

/// How the components of a JPEG were made: the number at the end of Adobe's marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Adobe(u8);

impl Adobe {
    /// Four components, the three inks as luma and chroma; what Photoshop writes for CMYK.
    pub(crate) const LUMA_CHROMA_BLACK: Self = Self(2);
}

/// Checks that a file is a whole JPEG or PNG of 128 x 128 pixels.
pub(crate) fn inspect(file: &[u8]) -> Result<Header, Flaw> {
    let (header, width, height) = structure(file)?;
    if (width, height) != (IMAGE_SIZE as u32, IMAGE_SIZE as u32) {
        return Err(Flaw::Size { width, height });
    }
    Ok(header)
}

/// Checks that a file is a whole JPEG or PNG, and says its width and height as stored.
pub(super) fn structure(file: &[u8]) -> Result<(Header, u32, u32), Flaw> {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
    const JPEG: &[u8] = b"\xff\xd8\xff";
    if file.is_empty() {
        return Err(Flaw::Empty);
    }
    if file.starts_with(JPEG) {
        inspect_jpeg(file)
    } else if file.starts_with(PNG) {
        inspect_png(&file[PNG.len()..])
    } else if PNG.starts_with(file) || JPEG.starts_with(file) {
        Err(Flaw::CutShort)
    } else {
        Err(other_format(file))
    }
}

fn inspect_jpeg(file: &[u8]) -> Result<(Header, u32, u32), Flaw> {
    let mut header = Header {
        format: Format::Jpeg,
        components: 0,
        colour: false,
        adobe: None,
        orientation: Orientation::NoTransforms,
    };
    let mut size = None;
    let mut rest = &file[2..];
    loop {
        // Between segments only markers are expected; decoders skip stray bytes, so this does.
        let start = rest.iter().position(|&byte| byte == 0xff).ok_or(Flaw::CutShort)?;
        rest = &rest[start..];
        let code = rest.iter().position(|&byte| byte != 0xff).ok_or(Flaw::CutShort)?;
        let marker = rest[code];
        rest = &rest[code + 1..];
        match marker {
            0xd9 => break,
            // Stuffed zeros and restart markers are part of the compressed data.
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let [high, low, ..] = *rest else { return Err(Flaw::CutShort) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Err(Flaw::Damaged { detail: "a segment of impossible length".into() });
        }
        let segment = rest.get(2..length).ok_or(Flaw::CutShort)?;
        match marker {
            // Baseline, extended and progressive, Huffman coded; C4, C8 and CC are no frames.
            0xc0..=0xc2 => {
                let [precision, h1, h0, w1, w0, components, ..] = *segment else { return Err(Flaw::CutShort) };
                // Of two frames a decoder may believe the one and a check the other.
                if size.is_some() {
                    return Err(Flaw::Damaged { detail: "a JPEG with a second frame".into() });
                }
                if precision != 8 {
                    return Err(Flaw::Unsupported { format: format!("a JPEG of {precision} bits") });
                }
                header.components = components;
                header.colour = components >= 3;
                size = Some((u32::from(u16::from_be_bytes([w1, w0])), u32::from(u16::from_be_bytes([h1, h0]))));
            }
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Err(Flaw::Unsupported { format: "a lossless, hierarchical or arithmetic JPEG".into() });
            }
            0xe1 => {
                if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                    header.orientation = orientation(exif);
                }
            }
            0xee if segment.starts_with(b"Adobe") => header.adobe = segment.get(11).copied().map(Adobe),
            _ => {}
        }
        rest = &rest[length..];
    }
    match (size, header.components) {
        (None, _) => Err(Flaw::Damaged { detail: "a JPEG without a frame".into() }),
        (Some((width, height)), 1 | 3 | 4) => Ok((header, width, height)),
        (_, components) => Err(Flaw::Unsupported { format: format!("a JPEG of {components} components") }),
    }
}

fn inspect_png(mut rest: &[u8]) -> Result<(Header, u32, u32), Flaw> {
    let mut header = Header {
        format: Format::Png,
        components: 0,
        colour: false,
        adobe: None,
        orientation: Orientation::NoTransforms,
    };
    let mut size = None;
    loop {
        let [l3, l2, l1, l0, t3, t2, t1, t0, ..] = *rest else { return Err(Flaw::CutShort) };
        let length = u32::from_be_bytes([l3, l2, l1, l0]) as usize;
        // Length, type, data, checksum.
        let data = rest.get(8..8 + length).ok_or(Flaw::CutShort)?;
        let next = rest.get(8 + length + 4..).ok_or(Flaw::CutShort)?;
        match &[t3, t2, t1, t0] {
            b"IHDR" => {
                let [w3, w2, w1, w0, h3, h2, h1, h0, _depth, kind, ..] = *data else { return Err(Flaw::CutShort) };
                header.components = match kind {
                    0 => 1,
                    4 => 2,
                    6 => 4,
                    _ => 3,
                };
                header.colour = header.components >= 3;
                size = Some((u32::from_be_bytes([w3, w2, w1, w0]), u32::from_be_bytes([h3, h2, h1, h0])));
            }
            b"eXIf" => header.orientation = orientation(data),
            b"IEND" => break,
            _ => {}
        }
        rest = next;
    }
    let (width, height) = size.ok_or_else(|| Flaw::Damaged { detail: "a PNG without a header".into() })?;
    Ok((header, width, height))
}

/// Nonsense in EXIF data means upright: cameras and editors write much nonsense there.
fn orientation(exif: &[u8]) -> Orientation {
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
}

fn other_format(file: &[u8]) -> Flaw {
    let format = match file {
        [b'G', b'I', b'F', b'8', ..] => "GIF",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "WebP",
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => "BMP",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "TIFF",
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', ..] => "AVIF",
        [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e', ..]
        | [_, _, _, _, b'f', b't', b'y', b'p', b'm', b'i', b'f', ..] => "HEIF",
        [b'P', b'1'..=b'6', b'\n' | b' ' | b'\r' | b'\t', ..] => "PNM",
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => "JPEG XL",
        [0, 0, 0, 12, b'j', b'P', ..] => "JPEG 2000",
        _ => return Flaw::NotAnImage,
    };
    Flaw::Unsupported { format: format.into() }
}
