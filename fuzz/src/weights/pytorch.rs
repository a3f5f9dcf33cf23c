//! PyTorch's two containers, and the pickles in them.

use nets::legacy::{Classifier, from_bytes, import_light_cnn};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

/// A file, whichever container it is.
pub fn legacy(input: &[u8]) -> bool {
    let Ok(tensors) = from_bytes(input, "the input") else { return false };
    let _ = import_light_cnn(&tensors, Classifier::Keep);
    true
}

/// A pickle, as the object of a file in either container, with one storage of sixteen numbers beside it.
pub fn pickle(input: &[u8]) -> bool {
    let (zipped, row) = (legacy(&zipped(input)), legacy(&row(input)));
    zipped && row
}

/// Files as PyTorch itself wrote them (`nets/reference/make.py`), and as the functions below do.
pub fn legacies() -> Vec<Vec<u8>> {
    let mut files = vec![
        include_bytes!("../../../nets/reference/legacy/small.pth.tar").to_vec(),
        include_bytes!("../../../nets/reference/legacy/small.zip.pth").to_vec(),
        include_bytes!("../../../nets/reference/legacy/lightcnn-9.head").to_vec(),
    ];
    files.extend(pickles().iter().flat_map(|pickle| [zipped(pickle), row(pickle)]));
    files
}

/// Dictionaries of one tensor: plain, and as a parameter in a `state_dict`.
pub fn pickles() -> Vec<Vec<u8>> {
    let storage = b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x10tQ";
    let layout = b"K\x02K\x02K\x03\x86K\x04K\x01\x86";
    let tail = b"\x89ccollections\nOrderedDict\n)R";
    let tensor = [&b"ctorch._utils\n_rebuild_tensor_v2\nq\x01"[..], storage, layout, tail, b"tRq\x02"].concat();
    let old = [&b"ctorch._utils\n_rebuild_tensor\n"[..], storage, layout, b"tR"].concat();
    let parameter =
        [&b"ctorch._utils\n_rebuild_parameter\n("[..], &tensor, b"\x88ccollections\nOrderedDict\n)RtR"].concat();
    let dictionary = |value: &[u8]| {
        [&b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\0\0\0w"[..], value, b"X\x01\0\0\0vh\x02u."].concat()
    };
    let state =
        [&b"\x80\x02}q\0(X\x0a\0\0\0state_dict}X\x01\0\0\0w"[..], &parameter, b"sX\x05\0\0\0epochJ\xff\0\0\0u."];
    vec![
        dictionary(&tensor),
        state.concat(),
        [&b"\x80\x02}U\x01w"[..], &old, b"s."].concat(),
        b"\x80\x02ccollections\nOrderedDict\nq\0]q\x01(]q\x02(U\x01aq\x03K\x01e]q\x04(U\x01bG\0\0\0\0\0\0\0\0ee\x85R."
            .to_vec(),
    ]
}

fn numbers() -> Vec<u8> {
    (0..16u8).flat_map(|number| f32::from(number).to_le_bytes()).collect()
}

/// In a zip archive whose sums are right.
fn zipped(pickle: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("it/data.pkl", pickle), ("it/byteorder", b"little"), ("it/data/0", &numbers())] {
        archive.start_file(name, options).expect("an archive in memory");
        archive.write_all(bytes).expect("an archive in memory");
    }
    archive.finish().expect("an archive in memory").into_inner()
}

/// In the row of pickles that came before.
fn row(pickle: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let (protocol, system, keys) = (b"\x80\x02M\xe9\x03.", b"\x80\x02}.", b"\x80\x02]X\x01\0\0\x000a.");
    [&magic[..], protocol, system, pickle, keys, &16u64.to_le_bytes(), &numbers()].concat()
}
