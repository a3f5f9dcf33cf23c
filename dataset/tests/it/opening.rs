use std::fs;

use dataset::{Dataset, Error, Flaw, OpenOptions, Reason};

use crate::shelf::{Shelf, open, picture, reasons};

fn message(error: &Error) -> String {
    error.to_string()
}

#[test]
fn identities_are_classes_in_the_order_of_their_names() {
    let set = Shelf::with_two_people().open().unwrap();
    let names: Vec<_> = set.identities().iter().map(|one| (one.name.as_str(), one.first_image, one.images)).collect();
    assert_eq!(names, [("anna", 0, 3), ("bob", 3, 2)]);
    let places: Vec<_> = (0..set.len()).map(|image| (set.image_identity(image), set.image_path(image))).collect();
    assert_eq!(places[2..4], [(0, "anna/anna_0003.jpg"), (1, "bob/bob_0001.png")]);
    assert_eq!(set.report(), &dataset::Report { colour_images: 5, ..Default::default() });
}

#[test]
fn names_that_sort_around_the_slash_keep_their_images_together() {
    let shelf = Shelf::new();
    for (index, path) in ["a/1.png", "a b/1.png", "a!/1.png", "a0/1.png"].into_iter().enumerate() {
        shelf.put(path, &picture(path, index as u8));
    }
    let set = shelf.open().unwrap();
    let names: Vec<_> = set.identities().iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["a", "a b", "a!", "a0"]);
    assert!((0..4).all(|image| set.image_path(image).starts_with(&format!("{}/", names[image]))));
}

#[test]
fn the_digest_is_what_b3sum_says() {
    let shelf = Shelf::with_two_people();
    let set = shelf.open().unwrap();
    let lines: String = (0..set.len())
        .map(|image| {
            let path = set.image_path(image);
            format!("{}  {path}\n", blake3::hash(&fs::read(shelf.root().join(path)).unwrap()).to_hex())
        })
        .collect();
    assert_eq!(set.digest(), blake3::hash(lines.as_bytes()).to_hex().as_str());
}

#[test]
fn the_digest_follows_contents_and_names_but_not_what_is_set_aside() {
    let shelf = Shelf::with_two_people();
    let before = shelf.open().unwrap().digest().to_owned();
    shelf.put("anna/notes.txt", b"not a face");
    shelf.put(".DS_Store", b"hidden");
    assert_eq!(shelf.open().unwrap().digest(), before);
    shelf.put("anna/anna_0001.png", &picture("x.png", 77));
    let changed = shelf.open().unwrap().digest().to_owned();
    assert_ne!(changed, before);
    fs::rename(shelf.root().join("bob"), shelf.root().join("bert")).unwrap();
    assert_ne!(shelf.open().unwrap().digest(), changed);
}

#[test]
fn one_folder_around_everything_is_looked_through() {
    let shelf = Shelf::with_two_people();
    shelf.put("anna/notes.txt", b"about");
    shelf.put("anna/circle/old.png", &picture("x.png", 1));
    fs::create_dir(shelf.root().join("nobody")).unwrap();
    let inner = shelf.open().unwrap();
    let wrapped = open(shelf.root().parent().unwrap()).unwrap();
    assert_eq!((wrapped.digest(), wrapped.report()), (inner.digest(), inner.report()));
    assert_eq!(wrapped.report().without_images, ["nobody"]);
}

#[test]
fn hidden_foreign_nested_and_stray_files_are_nobodys_faces() {
    let shelf = Shelf::with_two_people();
    for hidden in [".DS_Store", "anna/._anna_0001.png", "anna/Thumbs.db", "__MACOSX/anna/1.png", ".git/config"] {
        shelf.put(hidden, &picture("x.png", 1));
    }
    shelf.put("README.md", b"about");
    shelf.put("stray.png", &picture("x.png", 1));
    shelf.put("anna/notes.txt", b"about");
    shelf.put("anna/2019/old.png", &picture("x.png", 1));
    fs::create_dir(shelf.root().join("nobody")).unwrap();
    let set = shelf.open().unwrap();
    assert_eq!(set.len(), 5);
    let report = set.report();
    let kinds: Vec<_> = report.set_aside.iter().map(|aside| (aside.path.as_str(), &aside.reason)).collect();
    assert_eq!(
        kinds,
        [
            ("README.md", &Reason::Foreign),
            ("anna/2019/old.png", &Reason::Nested),
            ("anna/notes.txt", &Reason::Foreign),
            ("stray.png", &Reason::OutsideIdentity),
        ]
    );
    assert!(report.hidden >= 5, "{report:?}");
    assert_eq!(report.without_images, ["nobody"]);
}

#[test]
fn flawed_images_are_set_aside_with_their_reasons() {
    let shelf = Shelf::with_two_people();
    let jpeg = picture("x.jpg", 9);
    let png = picture("x.png", 9);
    shelf.put("carl/cut.jpg", &jpeg[..jpeg.len() / 2]);
    shelf.put("carl/cut.png", &png[..png.len() - 4]);
    shelf.put("carl/empty.jpg", b"");
    shelf.put("carl/gif.jpg", b"GIF89a and so on");
    shelf.put("carl/page.jpg", b"<html>404</html>");
    let mut large = Vec::new();
    image::RgbImage::new(250, 200).write_to(&mut std::io::Cursor::new(&mut large), image::ImageFormat::Png).unwrap();
    shelf.put("carl/large.png", &large);
    let set = shelf.open().unwrap();
    assert_eq!(set.identities().len(), 2, "carl has no usable image");
    assert_eq!(set.report().without_images, ["carl"]);
    let found = reasons(&set);
    let expected = [
        ("carl/cut.jpg", "cut short"),
        ("carl/cut.png", "cut short"),
        ("carl/empty.jpg", "empty"),
        ("carl/gif.jpg", "expected JPEG or PNG, found GIF"),
        ("carl/large.png", "expected 128x128 pixels, found 250x200"),
        ("carl/page.jpg", "not an image"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((path, reason), (at, part)) in found.iter().zip(expected) {
        assert!(*path == at && reason.contains(part), "{path}: {reason}");
    }
}

#[test]
fn the_content_decides_what_a_file_is() {
    let shelf = Shelf::new();
    shelf.put("anna/really-a-png.jpg", &picture("x.png", 3));
    shelf.put("anna/really-a-jpeg.png", &picture("x.jpg", 3));
    shelf.put("anna/no-ending", &picture("x.jpg", 4));
    let set = shelf.open().unwrap();
    assert_eq!(set.len(), 3);
    (0..3).for_each(|image| assert_eq!(set.read(image).unwrap().pixels().len(), 128 * 128));
}

#[test]
fn a_set_without_a_usable_image_says_what_it_holds() {
    let shelf = Shelf::new();
    fs::create_dir_all(shelf.root()).unwrap();
    let empty = message(&shelf.open().unwrap_err());
    assert!(empty.contains("it is empty") && empty.contains("a folder per identity"), "{empty}");
    let mut large = Vec::new();
    image::RgbImage::new(112, 112).write_to(&mut std::io::Cursor::new(&mut large), image::ImageFormat::Png).unwrap();
    shelf.put("anna/1.png", &large);
    shelf.put("bob/1.png", &large);
    let sizes = message(&shelf.open().unwrap_err());
    assert!(sizes.contains("2 x expected 128x128 pixels, found 112x112") && sizes.contains("anna/1.png"), "{sizes}");
}

#[test]
fn images_without_folders_are_refused_with_the_remedy() {
    let shelf = Shelf::new();
    shelf.put("1.png", &picture("x.png", 1));
    shelf.put("2.png", &picture("x.png", 2));
    let error = message(&shelf.open().unwrap_err());
    assert!(error.contains("beside the identity folders; move it into one"), "{error}");
}

#[test]
fn what_is_no_set_is_refused_in_one_sentence() {
    let shelf = Shelf::with_two_people();
    let expect = |name: &str, bytes: &[u8], part: &str| {
        let path = shelf.beside(name);
        fs::write(&path, bytes).unwrap();
        let error = message(&open(&path).unwrap_err());
        assert!(error.contains(part), "{error}");
    };
    let absent = message(&open(&shelf.beside("nowhere")).unwrap_err());
    assert!(absent.contains("no data set at") && absent.contains("nowhere"), "{absent}");
    expect("text.tar", b"hello", "expected a folder of folders, or a tar of one");
    expect("text2.tar", &[b'x'; 4096], "expected a folder of folders, or a tar of one");
    expect("set.tar.gz", &[0x1f, 0x8b, 8, 0], "compressed with gzip");
    expect("set.zip", b"PK\x03\x04", "compressed with zip");
    expect("empty.tar", &[], "expected a folder of folders, or a tar of one");
    expect("zeros.tar", &[0; 1024], "no usable image");
}

#[cfg(unix)]
#[test]
fn a_folder_that_can_not_be_entered_is_set_aside() {
    use std::os::unix::fs::PermissionsExt;
    let shelf = Shelf::with_two_people();
    shelf.put("carl/1.png", &picture("x.png", 9));
    let locked = shelf.root().join("carl");
    let allow = |mode| fs::set_permissions(&locked, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o000);
    if fs::read_dir(&locked).is_err() {
        let set = shelf.open().unwrap();
        assert_eq!(set.len(), 5);
        assert!(matches!(&reasons(&set)[..], [("carl", why)] if why.contains("can't be read")), "{:?}", reasons(&set));
    }
    allow(0o755);
}

#[cfg(unix)]
#[test]
fn links_in_folders_are_followed_and_circles_noticed() {
    use std::os::unix::fs::symlink;
    let shelf = Shelf::with_two_people();
    fs::create_dir(shelf.root().join("carl")).unwrap();
    symlink(shelf.root().join("anna/anna_0001.png"), shelf.root().join("carl/1.png")).unwrap();
    symlink(shelf.root(), shelf.root().join("carl/up")).unwrap();
    symlink("nowhere", shelf.root().join("carl/broken.png")).unwrap();
    symlink("/", shelf.root().join("carl/everything")).unwrap();
    let set = shelf.open().unwrap();
    assert_eq!(set.identities()[2].images, 1);
    assert_eq!(set.report().single_image, ["carl"]);
    let paths: Vec<_> = reasons(&set).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["carl/broken.png", "carl/everything", "carl/up"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_utf8_is_set_aside() {
    use std::os::unix::ffi::OsStrExt;
    let shelf = Shelf::with_two_people();
    let folder = shelf.root().join(std::ffi::OsStr::from_bytes(b"ren\xe9"));
    fs::create_dir(folder).unwrap();
    let expected = Reason::NotUtf8.to_string();
    let set = shelf.open().unwrap();
    assert_eq!(set.identities().len(), 2);
    assert_eq!(reasons(&set), [("ren\u{fffd}", expected.clone())]);

    // In a tar too, where a folder's name ends with a slash.
    let set = open(&shelf.tar("")).unwrap();
    assert_eq!(set.identities().len(), 2);
    assert!(matches!(&reasons(&set)[..], [(path, why)] if path.starts_with("ren\u{fffd}") && *why == expected));
}

#[test]
fn a_file_that_changes_later_is_noticed_when_read() {
    let shelf = Shelf::with_two_people();
    let set = shelf.open().unwrap();
    shelf.put("anna/anna_0001.png", &picture("x.png", 50));
    let error = message(&set.read(0).unwrap_err());
    assert!(error.contains("anna/anna_0001.png changed"), "{error}");
    fs::remove_file(shelf.root().join("anna/anna_0002.png")).unwrap();
    assert!(message(&set.read(1).unwrap_err()).contains("anna_0002.png"));
    assert!(matches!(set.read(5), Err(Error::OutOfRange { index: 5, len: 5 })));
}

#[test]
fn damaged_pixels_are_named_when_read_or_set_aside_when_all_is_decoded() {
    let shelf = Shelf::with_two_people();
    let mut png = picture("x.png", 5);
    let middle = png.len() / 2;
    png[middle] ^= 0x55;
    shelf.put("anna/damaged.png", &png);
    let set = shelf.open().unwrap();
    let index = (0..set.len()).find(|&image| set.image_path(image).contains("damaged")).unwrap();
    let error = message(&set.read(index).unwrap_err());
    assert!(error.contains("can't decode anna/damaged.png"), "{error}");
    let options = OpenOptions { decode_all: true, ..OpenOptions::default() };
    let checked = Dataset::open(shelf.root(), &options).unwrap();
    assert_eq!(checked.len(), 5);
    assert!(matches!(&checked.report().set_aside[0].reason, Reason::Flawed(Flaw::Damaged { .. })));
}

#[test]
fn a_withheld_identity_leaves_a_hole_so_that_classes_stay() {
    let shelf = Shelf::with_two_people();
    let withheld = |name: &str| OpenOptions { withheld: vec![name.into()], ..OpenOptions::default() };
    let set = Dataset::open(shelf.root(), &withheld("anna")).unwrap();
    assert_eq!(set.identities()[0].images, 0);
    assert_eq!((set.len(), set.image_identity(0), set.image_path(0)), (2, 1, "bob/bob_0001.png"));
    let error = Dataset::open(shelf.root(), &withheld("zoe")).unwrap_err();
    assert!(message(&error).contains("`zoe`"), "{error}");
}

#[test]
fn many_threads_read_at_once() {
    let shelf = Shelf::with_two_people();
    let set = open(&shelf.tar("faces")).unwrap();
    let alone: Vec<_> = (0..set.len()).map(|image| set.read(image).unwrap()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..40).for_each(|turn| assert_eq!(set.read(turn % 5).unwrap(), alone[turn % 5])));
        }
    });
}
