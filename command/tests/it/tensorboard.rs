//! Event files, read back by an own reader. TensorBoard itself reads them too; that was tried by
//! hand with version 2.21.

use std::fs;
use std::path::PathBuf;

use command::tensorboard::{Content, What, Writer, read};

fn event_file(directory: &std::path::Path) -> PathBuf {
    fs::read_dir(directory).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn scalars_and_pictures_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), 100).unwrap();
    writer.scalars(128, [("loss/kl", 0.5), ("rate", f64::NAN)]).unwrap();
    writer.image(256, "grid", 3, 2, vec![1, 2, 3]).unwrap();
    let events = read(&event_file(directory.path())).unwrap();
    assert_eq!(events[0].what, Some(What::FileVersion("brain.Event:2".to_owned())));
    assert!(matches!(&events[1].what, Some(What::SessionLog(log)) if log.status == 1));
    assert_eq!(events.iter().map(|event| event.step).collect::<Vec<_>>(), [0, 100, 128, 256]);
    let Some(What::Summary(scalars)) = &events[2].what else { panic!("expected a summary") };
    assert_eq!(scalars.value[0].tag, "loss/kl");
    assert_eq!(scalars.value[0].content, Some(Content::Scalar(0.5)));
    assert!(matches!(scalars.value[1].content, Some(Content::Scalar(figure)) if figure.is_nan()));
    let Some(What::Summary(images)) = &events[3].what else { panic!("expected a summary") };
    assert!(matches!(&images.value[0].content, Some(Content::Image(image)) if (image.width, image.height) == (3, 2)));
}

#[test]
fn the_framing_is_the_one_that_others_write() {
    // Every event file that TensorFlow writes starts with these twelve bytes: the length 24 of its
    // version record, and the masked checksum of that length.
    let directory = tempfile::tempdir().unwrap();
    Writer::create(directory.path(), 0).unwrap();
    let bytes = fs::read(event_file(directory.path())).unwrap();
    assert_eq!(bytes[..12], [0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
}

#[test]
fn a_record_that_is_cut_short_is_left_out_and_a_flipped_bit_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), 0).unwrap();
    writer.scalars(1, [("loss", 1.0)]).unwrap();
    let path = event_file(directory.path());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(read(&path).unwrap().len(), 2);
    for position in [0, 10, 20, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[position] ^= 1;
        fs::write(&path, bytes).unwrap();
        let text = read(&path).unwrap_err().to_string();
        assert!(text.contains("expected matching checksums"), "{text}");
    }
}

#[test]
fn two_starts_within_a_second_write_two_files_in_order() {
    let directory = tempfile::tempdir().unwrap();
    for first_step in [0, 11, 22] {
        Writer::create(directory.path(), first_step).unwrap();
    }
    let mut files: Vec<PathBuf> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.iter().map(|file| read(file).unwrap()[1].step).collect::<Vec<_>>(), [0, 11, 22]);
}
