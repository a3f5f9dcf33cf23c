//! Archives and images as files, made and put right.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use png::{BitDepth, ColorType};

const SIDE: u32 = 128;
const BLOCK: usize = 512;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A tar of files.
pub(super) fn archive_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, *bytes).expect("an archive in memory");
    }
    archive.into_inner().expect("an archive in memory")
}

/// The archive with every header's sum put right.
pub(super) fn with_sums(archive: &[u8]) -> Vec<u8> {
    let (mut archive, mut at) = (archive.to_vec(), 0);
    while let Some(block) = archive.get_mut(at..at + BLOCK) {
        if block.iter().all(|&byte| byte == 0) {
            break;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = tar::Header::from_byte_slice(block).entry_size().unwrap_or(0);
        let contents = usize::try_from(size).unwrap_or(usize::MAX).checked_next_multiple_of(BLOCK);
        at = contents.unwrap_or(usize::MAX).saturating_add(at).saturating_add(BLOCK).min(archive.len());
    }
    archive
}

/// A PNG with every chunk's sum put right; anything else as it is.
pub(crate) fn with_checks(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let mut at = if file.starts_with(SIGNATURE) { SIGNATURE.len() } else { file.len() };
    while let Some(length) = file.get(at..).and_then(<[u8]>::first_chunk) {
        let end = at.saturating_add(8).saturating_add(u32::from_be_bytes(*length) as usize);
        let Some(sum) = file.get(at + 4..end).map(crc32) else { break };
        if let Some(place) = file.get_mut(end..end + 4) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
        at = end + 4;
    }
    file
}

/// The cyclic redundancy check of PNG and zip.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { 0xedb8_8320 ^ sum >> 1 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| step(sum)))
}

/// Images of both formats, of every kind of pixel that PNG knows.
pub fn images() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for (kind, channels) in [(ExtendedColorType::L8, 1), (ExtendedColorType::Rgb8, 3)] {
        let mut file = Vec::new();
        let pixels: Vec<u8> = (0..SIDE * SIDE * channels).map(|n| (n / 512) as u8).collect();
        JpegEncoder::new_with_quality(&mut file, 5).write_image(&pixels, SIDE, SIDE, kind).expect("a JPEG in memory");
        files.push(file);
    }
    let kinds = [
        (ColorType::Grayscale, BitDepth::One, 1),
        (ColorType::Grayscale, BitDepth::Sixteen, 16),
        (ColorType::GrayscaleAlpha, BitDepth::Eight, 16),
        (ColorType::Indexed, BitDepth::Two, 2),
        (ColorType::Rgb, BitDepth::Eight, 24),
        (ColorType::Rgba, BitDepth::Sixteen, 64),
    ];
    files.extend(kinds.map(|(colour, depth, bits)| png_of(colour, depth, bits)));
    files
}

fn png_of(colour: ColorType, depth: BitDepth, bits: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SIDE, SIDE);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == ColorType::Indexed {
        encoder.set_palette([0, 0, 0, 80, 90, 100, 160, 170, 180, 250, 240, 230].as_slice());
        encoder.set_trns([0, 255].as_slice());
    }
    let pixels: Vec<u8> = (0..SIDE * SIDE * bits / 8).map(|n| (n / 1024) as u8).collect();
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels)).expect("a PNG in memory");
    file
}

/// Sets with everything that a tar may hold beside plain files.
pub fn archives() -> Vec<Vec<u8>> {
    let face = png_of(ColorType::Grayscale, BitDepth::One, 1);
    let pairs = b"1\t1\na\t1\t2\na\t1\tb\t1\n";
    let plain: Vec<(&str, &[u8])> =
        vec![("a/a_0001.png", &face), ("a/a_0002.png", &face), ("b/1.png", &face), ("pairs.txt", pairs)];
    let wrapped: Vec<(String, &[u8])> =
        plain.iter().map(|(name, file)| (format!("./faces/set/{name}"), *file)).collect();
    let wrapped: Vec<(&str, &[u8])> = wrapped.iter().map(|(name, file)| (name.as_str(), *file)).collect();
    vec![archive_of(&plain), archive_of(&wrapped), special(&face)]
}

fn special(face: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let header = |kind: tar::EntryType, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header
    };
    let long = format!("a/{}.png", "n".repeat(120));
    let outcome = (|| {
        archive.append_pax_extensions([("comment", &b"none"[..]), ("path", b"a/pax.png")])?;
        archive.append_data(&mut header(tar::EntryType::Regular, face.len()), "a/short.png", face)?;
        archive.append_data(&mut header(tar::EntryType::Regular, face.len()), &long, face)?;
        archive.append_link(&mut header(tar::EntryType::Link, 0), "b/hard.png", &long)?;
        archive.append_link(&mut header(tar::EntryType::Symlink, 0), "b/soft.png", "../a")?;
        archive.append_data(&mut header(tar::EntryType::Directory, 0), "c/", &[][..])?;
        archive.append_data(&mut header(tar::EntryType::Fifo, 0), "c/fifo", &[][..])
    })();
    outcome.expect("an archive in memory");
    archive.into_inner().expect("an archive in memory")
}
