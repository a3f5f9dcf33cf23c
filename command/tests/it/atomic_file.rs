//! Files that are either whole or not there.

use std::fs;
use std::io::{self, Write};

use command::atomic_file::{write_atomically, write_new_atomically};

fn names(directory: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_written_file_replaces_the_old_one_and_can_be_read_by_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.bin");
    for content in ["old", "new"] {
        write_atomically(&path, |file| file.write_all(content.as_bytes())).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    assert_eq!(names(directory.path()), ["a.bin"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let plain = directory.path().join("plain");
        fs::write(&plain, "").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}

#[test]
fn of_several_that_write_a_new_file_at_once_one_does_and_the_others_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.bin");
    let write = |content: String| write_new_atomically(&path, |file| file.write_all(content.as_bytes())).unwrap();
    let written: Vec<bool> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|nth| scope.spawn(move || write(format!("content {nth}")))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(written.iter().filter(|written| **written).count(), 1);
    let first = written.iter().position(|written| *written).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("content {first}"));
    assert_eq!(names(directory.path()), ["a.bin"]);
}

#[test]
fn a_full_disk_leaves_the_old_file_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.bin");
    fs::write(&path, "old").unwrap();
    let error = write_atomically(&path, |file| {
        file.write_all(b"half of the n")?;
        Err(io::ErrorKind::StorageFull.into())
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot write {}: the disk is full; free some space and resume; earlier files are untouched",
            path.display()
        )
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(directory.path()), ["a.bin"]);
}

#[test]
fn a_directory_that_is_absent_is_one_sentence() {
    let error = write_atomically("/absent/a.bin", |_| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "cannot write /absent/a.bin: no such file or directory; earlier files are untouched");
}

#[test]
#[cfg(unix)]
fn a_link_and_a_device_stay_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("target"), "old").unwrap();
    std::os::unix::fs::symlink("target", at("link")).unwrap();
    write_atomically(at("link"), |file| file.write_all(b"new")).unwrap();
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(at("target")).unwrap(), "new");

    std::os::unix::fs::symlink("/dev/null", at("nowhere")).unwrap();
    write_atomically(at("nowhere"), |file| file.write_all(b"new")).unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    assert_eq!(names(directory.path()), ["link", "nowhere", "target"]);
}
