use crate::faces;
use dataset::augment::{NONE, STANDARD};
use dataset::{Dataset, OpenOptions};
use recognizer::{Batch, BatchSource, FolderSettings, FolderSource};
use std::sync::Arc;

fn open(identities: u64, images: u64) -> (tempfile::TempDir, Arc<Dataset>) {
    let folder = tempfile::tempdir().unwrap();
    faces::write_folder(folder.path(), identities, images);
    let dataset = Dataset::open(folder.path(), &OpenOptions::default()).unwrap();
    (folder, Arc::new(dataset))
}

fn source(dataset: &Arc<Dataset>, batch_size: usize, seed: u64) -> FolderSource {
    FolderSource::new(dataset.clone(), FolderSettings { batch_size, seed, augmentation: STANDARD }).unwrap()
}

fn batches(source: &mut FolderSource, count: usize) -> Vec<Batch> {
    (0..count).map(|_| source.next().unwrap()).collect()
}

#[test]
fn every_image_comes_once_in_each_pass_and_passes_differ() {
    let (_folder, dataset) = open(4, 5);
    // 7 rows don't divide 20 images: batches lie across the ends of passes.
    let source = source(&dataset, 7, 3);
    let rows: Vec<usize> = (0..20).flat_map(|index| source.rows(index)).collect();
    let passes: Vec<Vec<usize>> = rows.chunks(20).map(<[usize]>::to_vec).collect();
    for pass in &passes {
        let mut sorted = pass.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
    }
    assert_ne!(passes[0], passes[1]);
}

#[test]
fn a_source_that_resumes_gives_what_an_undisturbed_one_gives() {
    let (_folder, dataset) = open(4, 5);
    let mut undisturbed = source(&dataset, 6, 3);
    let expected = batches(&mut undisturbed, 8);
    let mut first = source(&dataset, 6, 3);
    batches(&mut first, 5);
    let mut second = source(&dataset, 6, 3);
    second.resume(&first.place()).unwrap();
    assert_eq!(batches(&mut second, 3), expected[5..]);
    // Another seed is another stream; the same batch twice is not.
    assert_ne!(batches(&mut source(&dataset, 6, 4), 8), expected);
    assert!(expected.iter().all(|batch| batch.check(4).is_ok()));
}

#[test]
fn a_place_of_another_stream_is_refused() {
    let (_folder, dataset) = open(4, 5);
    let (_other_folder, other) = open(4, 4);
    let place = source(&dataset, 6, 3).place();
    let refusal = |mut source: FolderSource| source.resume(&place).unwrap_err().to_string();
    assert!(refusal(source(&other, 6, 3)).contains("expected the data set with digest"));
    assert!(refusal(source(&dataset, 6, 4)).contains("expected the settings"));
    let nonsense = source(&dataset, 6, 3).resume(&serde_json::json!({"next": -1})).unwrap_err().to_string();
    assert!(nonsense.starts_with("can't go on in this stream: expected a place in a folder"), "{nonsense}");
}

#[test]
fn rows_without_augmentation_are_the_images_themselves() {
    let (_folder, dataset) = open(4, 2);
    let settings = FolderSettings { batch_size: 8, seed: 1, augmentation: NONE };
    let mut source = FolderSource::new(dataset.clone(), settings).unwrap();
    let rows = source.rows(0);
    let batch = source.next().unwrap();
    for (row, &image) in rows.iter().enumerate() {
        let pixels = &batch.pixels[row * 16384..(row + 1) * 16384];
        assert_eq!(pixels, dataset.read(image).unwrap().pixels());
        assert_eq!(batch.labels[row] as usize, dataset.image_identity(image));
    }
}

#[test]
fn a_batch_of_no_rows_is_refused() {
    let (_folder, dataset) = open(4, 2);
    let settings = FolderSettings { batch_size: 0, seed: 1, augmentation: NONE };
    let error = FolderSource::new(dataset, settings).unwrap_err();
    assert_eq!(error.to_string(), "expected a batch of at least 1 row, found 0");
}
