use std::fs;

use dataset::Error;

use crate::shelf::{Shelf, open, picture, reasons, smooth};

#[test]
fn a_tar_and_its_folder_are_the_same_set() {
    let shelf = Shelf::with_two_people();
    shelf.put("README.md", b"about");
    shelf.put("anna/notes.txt", b"about");
    shelf.put("carl/cut.jpg", b"\xff\xd8\xff");
    fs::create_dir_all(shelf.root().join("nobody/2019")).unwrap();
    let folder = shelf.open().unwrap();
    assert_eq!(folder.report().without_images, ["carl", "nobody"]);
    for prefix in ["", ".", "faces-train", "./deep/er"] {
        let tar = open(&shelf.tar(prefix)).unwrap();
        assert_eq!(tar.digest(), folder.digest(), "{prefix}");
        assert_eq!(tar.report(), folder.report(), "{prefix}");
        assert_eq!(tar.identities(), folder.identities());
        for image in 0..folder.len() {
            assert_eq!(tar.read(image).unwrap(), folder.read(image).unwrap());
        }
    }
}

#[test]
fn eight_folders_around_a_set_are_looked_through_and_no_more() {
    let shelf = Shelf::with_two_people();
    assert_eq!(open(&shelf.tar("1/2/3/4/5/6/7/8")).unwrap().len(), 5);
    let deeper = open(&shelf.tar(&"a/".repeat(2000))).unwrap_err().to_string();
    assert!(deeper.contains("deep"), "{deeper}");
}

#[test]
fn a_tar_that_is_cut_short_is_refused_not_used_in_part() {
    let shelf = Shelf::with_two_people();
    let path = shelf.tar("faces");
    let bytes = fs::read(&path).unwrap();
    let refused = |length: usize| {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, Error::TarCutShort { .. }), "{length} of {}: {error}", bytes.len());
    };
    // Two blocks of zeros end it; headers, contents and what fills them up are whole blocks too.
    let contents = bytes.len() - 1024;
    (512..=contents).step_by(512).for_each(refused);
    [513, contents / 2 + 1, contents - 1, contents + 1, contents + 511].into_iter().for_each(refused);
    for longer in [contents + 512, bytes.len(), bytes.len() + 512] {
        let whole: Vec<u8> = bytes.iter().copied().chain([0; 512]).take(longer).collect();
        fs::write(&path, whole).unwrap();
        assert_eq!(open(&path).unwrap().len(), 5, "the second block may be absent, and others may follow");
    }
    fs::write(&path, [&bytes[..], &bytes[..]].concat()).unwrap();
    assert_eq!(open(&path).unwrap().len(), 5, "what follows the end is not looked at");
}

#[test]
fn in_a_tar_the_last_of_two_equal_paths_counts_and_links_are_followed_or_set_aside() {
    let shelf = Shelf::new();
    fs::create_dir_all(shelf.root()).unwrap();
    let path = shelf.beside("links.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
    let mut append = |name: &str, bytes: &[u8], link: Option<(tar::EntryType, &str)>| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        match link {
            Some((kind, target)) => {
                header.set_entry_type(kind);
                tar.append_link(&mut header, name, target).unwrap();
            }
            None => tar.append_data(&mut header, name, bytes).unwrap(),
        }
    };
    append("anna/1.png", &picture("x.png", 1), None);
    append("anna/1.png", &picture("x.png", 2), None);
    append("bob/1.png", &[], Some((tar::EntryType::Link, "anna/1.png")));
    append("bob/2.png", &[], Some((tar::EntryType::Symlink, "/etc/passwd")));
    tar.finish().unwrap();
    drop(tar);
    let set = open(&path).unwrap();
    assert_eq!(set.len(), 2);
    assert_eq!(set.read(0).unwrap(), smooth(3, 2).to_grey());
    assert_eq!(set.read(1).unwrap(), set.read(0).unwrap());
    assert_eq!(reasons(&set)[0].0, "bob/2.png");
}
