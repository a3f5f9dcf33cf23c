use recognizer::{Batch, Source};

fn batch() -> Batch {
    Batch {
        index: 3,
        rows: 2,
        channels: 1,
        pixels: vec![0; 2 * 128 * 128].into(),
        labels: vec![0, 4],
        sources: vec![Source::Real, Source::Blended],
    }
}

#[test]
fn a_batch_that_breaks_its_description_is_refused_in_one_sentence() {
    assert!(batch().check(5).is_ok());
    let refusal = |batch: Batch, classes| batch.check(classes).unwrap_err().to_string();
    assert_eq!(refusal(batch(), 4), "batch 3 is malformed: expected labels below 4, found 4");
    assert_eq!(
        refusal(Batch { channels: 3, ..batch() }, 5),
        "batch 3 is malformed: expected 98304 bytes of pixels, found 32768"
    );
    assert_eq!(
        refusal(Batch { labels: vec![1], ..batch() }, 5),
        "batch 3 is malformed: expected 2 labels and sources, found 1 and 2"
    );
    assert_eq!(refusal(Batch { rows: 0, ..batch() }, 5), "batch 3 is malformed: expected at least one row, found none");
    assert_eq!(refusal(Batch { channels: 2, ..batch() }, 5), "batch 3 is malformed: expected 1 or 3 channels, found 2");
}
