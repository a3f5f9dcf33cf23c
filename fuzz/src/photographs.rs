//! What `faces align` reads: photographs, the wheel with the detector's weights, and what an earlier run wrote
//! of itself.

use crate::{faces, scratch, weights};
use candle_core::{DType, Device};
use dataset::align::{AlignOptions, Plan, read_photograph};
use nets::{
    Parameters,
    mtcnn::{Mtcnn, MtcnnError},
};
use std::{
    io::{Cursor, Write},
    path::Path,
};
use zip::write::SimpleFileOptions;

/// Pixels that a photograph may have here.
const MAX_PIXELS: u64 = 1 << 20;

/// A photograph, with the sums of a PNG put right.
pub fn photograph(input: &[u8]) -> bool {
    let folder = scratch::folder();
    let path = folder.path().join("photograph");
    std::fs::write(&path, faces::with_checks(input)).expect("a file can be written");
    let Ok((width, height, pixels)) = read_photograph(&path, MAX_PIXELS) else { return false };
    assert!((width * height) as u64 <= MAX_PIXELS, "{width} x {height} pixels");
    assert_eq!(pixels.len(), width * height * 3);
    true
}

/// Small ones, and one that a camera turned.
pub fn photographs() -> Vec<Vec<u8>> {
    let mut files = faces::images();
    // Little-endian EXIF with one entry: orientation, a short, 6.
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let turned = files.iter().find(|file| file.starts_with(b"\xff\xd8")).map(|jpeg| {
        let (start, rest) = jpeg.split_at(2);
        [start, b"\xff\xe1", &length, exif, rest].concat()
    });
    files.extend(turned);
    files
}

/// A wheel. Weights of other networks count: they were read.
pub fn wheel(input: &[u8]) -> bool {
    let folder = scratch::folder();
    let path = folder.path().join("package.whl");
    std::fs::write(&path, input).expect("a file can be written");
    matches!(Mtcnn::open(&path, &Device::Cpu), Ok(_) | Err(MtcnnError::Network { .. }))
}

/// Archives with files of PyTorch where the weights belong.
pub fn wheels() -> Vec<Vec<u8>> {
    let wheel = |file: &Vec<u8>, method| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        for name in ["pnet", "rnet", "onet"] {
            archive.start_file(format!("facenet_pytorch/data/{name}.pt"), options).expect("an archive in memory");
            archive.write_all(file).expect("an archive in memory");
        }
        archive.finish().expect("an archive in memory").into_inner()
    };
    let methods = [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated];
    let files = weights::legacies();
    files.iter().flat_map(|file| methods.map(|method| wheel(file, method))).collect()
}

/// A journal in the folder of aligned faces, from which the next run goes on.
pub fn alignment(input: &[u8]) -> bool {
    let folder = scratch::folder();
    let (photographs, aligned) = (folder.path().join("in"), folder.path().join("out"));
    write_photographs(&photographs);
    std::fs::create_dir(&aligned).expect("a folder can be made");
    std::fs::write(aligned.join("alignment.jsonl"), input).expect("a file can be written");
    let Ok(plan) = Plan::new(&photographs, &aligned, &AlignOptions::default(), "weights") else { return false };
    assert!(plan.left() + plan.done() <= 2, "there are two photographs");
    true
}

/// What a run over two files that are no photographs writes, whole and cut short.
pub fn alignments() -> Vec<Vec<u8>> {
    let folder = scratch::folder();
    let (photographs, aligned) = (folder.path().join("in"), folder.path().join("out"));
    write_photographs(&photographs);
    let plan = Plan::new(&photographs, &aligned, &AlignOptions::default(), "weights").expect("two files to align");
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    let mtcnn = Mtcnn::new(parameters.var_builder()).expect("networks of random weights");
    plan.run(&mtcnn, |_| true).expect("nothing to detect");
    let journal = std::fs::read(aligned.join("alignment.jsonl")).expect("a journal was written");
    let face = r#"{"corners":[1,2,3,4],"probability":0.9,"landmarks":[[1,2],[3,4],[5,6],[7,8],[9,10]]}"#;
    let line = format!(
        "{{\"path\":\"c.jpg\",\"bytes\":9,\"modified\":1,\"outcome\":\"aligned\",\"out\":\"c.png\",\"taken\":0,\"good\":1,\
         \"scale\":0.5,\"degrees\":1.5,\"outside\":0.0,\"faces\":[{face}]}}\n"
    );
    let longer = [&journal[..], line.as_bytes()].concat();
    vec![journal.clone(), longer, journal[..journal.len() - 9].to_vec()]
}

fn write_photographs(folder: &Path) {
    std::fs::create_dir_all(folder.join("b")).expect("a folder can be made");
    for name in ["a.jpg", "b/b.png"] {
        std::fs::write(folder.join(name), b"no photograph").expect("a file can be written");
    }
}
