use recognizer::{Batch, Mixture, Part, Source};

fn parts(parts: &[(u32, f32)]) -> Vec<Part> {
    parts.iter().map(|&(class, weight)| Part { class, weight }).collect()
}

fn batch() -> Batch {
    Batch {
        index: 3,
        rows: 2,
        channels: 1,
        pixels: vec![0; 2 * 128 * 128].into(),
        labels: vec![0, 4],
        sources: vec![Source::Real, Source::Blended],
        mixtures: vec![Mixture { row: 1, parts: parts(&[(4, 0.75), (2, 0.25)]) }],
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
    let mixed = |mixtures: &[(u32, &[(u32, f32)])]| {
        let mixtures = mixtures.iter().map(|&(row, of)| Mixture { row, parts: parts(of) }).collect();
        refusal(Batch { mixtures, ..batch() }, 5)
    };
    let whole: &[(u32, f32)] = &[(0, 1.0)];
    assert!(mixed(&[(2, whole)]).ends_with("expected mixtures of ascending rows below 2, found row 2"));
    assert!(mixed(&[(1, whole), (1, whole)]).ends_with("expected mixtures of ascending rows below 2, found row 1"));
    assert!(mixed(&[(0, &[(5, 1.0)])]).ends_with("row 0: expected classes below 5, found 5"));
    let sum = "row 0: expected weights of at least 0 that sum to 1, found a sum of ";
    for wrong in [&[][..], &[(0, 0.5)], &[(0, 1.5), (1, -0.5)], &[(0, f32::NAN)]] {
        assert!(mixed(&[(0, wrong)]).contains(sum), "{wrong:?}");
    }
}
