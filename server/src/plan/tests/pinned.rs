//! Plans as they were recorded, one for each rule.

use super::*;

/// Everything about rows that a batch depends on, as one digest.
fn digest(rows: &[Row]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |number: u32| {
        hasher.update(&number.to_le_bytes());
    };
    for row in rows {
        let image = row.image.unwrap_or(u32::MAX);
        [row.number, row.source.number() as u32, row.label, image, row.parents.len() as u32]
            .into_iter()
            .for_each(&mut add);
        for parent in &row.parents {
            [parent.identity, parent.weight.to_bits()].into_iter().for_each(&mut add);
        }
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[test]
fn the_plan_never_changes() {
    // Recorded streams of the past depend on these very choices; a change needs a new VERSION.
    const COUNTS: [u32; 6] = [4, 1, 3, 2, 5, 2];
    let of = |counts: &[u32], change: &dyn Fn(&mut Spec)| {
        let mut spec = spec(12, [0.5, 0.3, 0.2]);
        spec.blending.parents = 3;
        change(&mut spec);
        let planner = planner(spec, counts);
        let rows: Vec<Row> = [0, 1, 1000].into_iter().flat_map(|index| planner.rows(index, 0..12)).collect();
        digest(&rows)
    };
    let near = |spec: &mut Spec| {
        spec.sampling = Sampling::Neighbours { identities: 4, images: 3, neighbours: 3, group: 2 };
    };
    let per_batch = |spec: &mut Spec| spec.sampling = Sampling::PerBatch { identities: 4, images: 3 };
    let found = [
        ("by image", of(&COUNTS, &|_| {})),
        ("by identity", of(&COUNTS, &|spec| spec.sampling = Sampling::ByIdentity)),
        ("per batch", of(&COUNTS, &per_batch)),
        ("weighted", of(&COUNTS, &|spec| spec.sampling = Sampling::Weighted(vec![1.0, 2.0, 0.0, 4.0, 0.5, 1.0]))),
        ("jitter", of(&COUNTS, &|spec| spec.latent = Latent::Jitter { scale: 1.0 })),
        ("narrow cap", of(&COUNTS, &|spec| (spec.blending.alpha, spec.blending.max_weight) = (0.01, 0.34))),
        ("holes", of(&[4, 1, 0, 2, 5, 2], &|_| {})),
        ("holes, per batch", of(&[4, 1, 0, 2, 5, 2], &per_batch)),
        ("guard", of(&COUNTS, &|spec| (spec.blending.count, spec.blending.max_similarity) = (50, 0.8))),
        (
            "guard, spread",
            of(&COUNTS, &|spec| {
                (spec.blending.count, spec.blending.alpha) = (50, 20.0);
                (spec.blending.max_similarity, spec.blending.spread) = (0.63, 1.0);
            }),
        ),
        ("steps, ended", of(&COUNTS, &|spec| spec.schedule = odd_schedule(Shape::Steps, 999))),
        ("linear", of(&COUNTS, &|spec| spec.schedule = odd_schedule(Shape::Linear, 5000))),
        ("neighbours", of(&COUNTS, &near)),
        ("holes, neighbours", of(&[4, 1, 0, 2, 5, 2], &near)),
    ];
    let found: Vec<(&str, &str)> = found.iter().map(|(rule, digest)| (*rule, digest.as_str())).collect();
    assert_eq!((VERSION, &found[..]), (2, &PINNED[..]), "the plan changed: raise VERSION if this is meant");
}

/// To and fro, up to an index before or after those that are recorded.
fn odd_schedule(shape: Shape, last: u64) -> Schedule {
    let at = |index, [real, existing, blended]: [f64; 3]| Point { index, mix: Mix { real, existing, blended } };
    let points = vec![at(1, [0.3, 0.3, 0.7]), at(500, [1.0, 0.0, 0.1]), at(last, [0.1, 0.7, 0.2])];
    Schedule { points, shape }
}

const PINNED: [(&str, &str); 14] = [
    ("by image", "69f28d0a97b99b8f"),
    ("by identity", "fd63406bae121e15"),
    ("per batch", "45c56234cda3fe3c"),
    ("weighted", "fca5215d57e193a5"),
    ("jitter", "7a54741bd890bf98"),
    ("narrow cap", "c0e2981639d74a3b"),
    ("holes", "f83030308f29de0e"),
    ("holes, per batch", "a8d8adbfe6ad4ac4"),
    ("guard", "d39feec83c0cdd1e"),
    ("guard, spread", "c12c71f4591f7f4d"),
    ("steps, ended", "367456d59a6189e0"),
    ("linear", "20a35b6529eaa822"),
    ("neighbours", "7ebbaba3a51f71d1"),
    ("holes, neighbours", "6af39957d7bc281a"),
];
