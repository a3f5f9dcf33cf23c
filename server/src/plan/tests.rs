mod neighbours;
mod pinned;

use super::{spec::*, *};
use dataset::blended::label::reach;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn spec(batch_size: u32, mix: [f64; 3]) -> Spec {
    let [real, existing, blended] = mix;
    Spec {
        seed: 7,
        batch_size,
        mix: Mix { real, existing, blended },
        schedule: Schedule::default(),
        sampling: Sampling::ByImage,
        blending: BlendingSpec {
            count: 10,
            parents: 2,
            alpha: 1.0,
            max_weight: 0.8,
            seed: 7,
            max_similarity: 0.0,
            spread: 0.0,
        },
        latent: Latent::Prior { truncation: 0.0 },
        augmented: true,
        channels: 1,
        centres: None,
        filter: None,
    }
}

fn planner(spec: Spec, counts: &[u32]) -> Planner {
    let catalogue = Arc::new(Catalogue::new(counts.iter().copied()));
    let centres = spec.asks_who_is_near().then(|| centres(counts.len() as u64));
    spec.check(&catalogue, centres.as_ref(), 1, true).expect("a good spec");
    Planner::new(Arc::new(spec), catalogue, centres)
}

/// Centres all about, each with something of its own.
fn centres(people: u64) -> Arc<Centres> {
    alike(people, 0.3)
}

/// Centres that have so much in common.
fn alike(people: u64, common: f64) -> Arc<Centres> {
    let chance = Chance::new(1, "centres of a test");
    let centre = |person: u64| {
        let mut draws = chance.at(person, 0);
        (0..nets::FEATURE).map(move |_| (draws.normal() + common) as f32)
    };
    Arc::new(Centres::new((0..people).flat_map(centre).collect()))
}

/// Rows of one source in batches `0..batches`.
fn rows_of(planner: &Planner, source: Source, batches: u64) -> Vec<Row> {
    let all = 0..planner.spec().batch_size;
    (0..batches).flat_map(|index| planner.rows(index, all.clone())).filter(|row| row.source == source).collect()
}

fn counts_of(values: impl Iterator<Item = u32>) -> BTreeMap<u32, usize> {
    values.fold(BTreeMap::new(), |mut counts, value| {
        *counts.entry(value).or_default() += 1;
        counts
    })
}

/// Catalogues with holes, but never without any image.
fn catalogues() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..6, 2..12).prop_filter("needs two people", |c| c.iter().filter(|&&n| n > 0).count() > 1)
}

fn samplings() -> impl Strategy<Value = u8> {
    0u8..4
}

fn sampling(kind: u8, counts: &[u32], batch_size: u32) -> Sampling {
    match kind {
        0 => Sampling::ByImage,
        1 => Sampling::ByIdentity,
        2 => Sampling::PerBatch { identities: 2, images: batch_size / 2 },
        _ => Sampling::Weighted(counts.iter().map(|&count| f64::from(count)).collect()),
    }
}

proptest! {
    #[test]
    fn the_ranks_of_any_world_share_one_batch(
        counts in catalogues(), kind in samplings(), half in 1u32..20, index: u32, world in 1u32..8,
    ) {
        let batch_size = half * 2;
        let mut spec = spec(batch_size, [1.0, 1.0, 0.0]);
        spec.sampling = sampling(kind, &counts, batch_size);
        let planner = planner(spec, &counts);
        let whole = planner.rows(index.into(), 0..batch_size);
        let world = world.min(batch_size);
        let shared: Vec<Row> = (0..world)
            .flat_map(|rank| planner.rows(index.into(), proto::rank_rows(batch_size, rank, world)))
            .collect();
        prop_assert_eq!(&whole, &shared);
        prop_assert!(whole.iter().enumerate().all(|(position, row)| row.number as usize == position));
    }

    #[test]
    fn every_label_is_that_of_its_image_or_its_parents(
        counts in catalogues(), kind in samplings(), half in 1u32..20, index: u64, jitter: bool,
    ) {
        prop_assume!(index < 1 << 63);
        let batch_size = half * 2;
        let mut spec = spec(batch_size, [1.0, 2.0, 0.0]);
        spec.sampling = sampling(kind, &counts, batch_size);
        if jitter {
            spec.latent = Latent::Jitter { scale: 1.0 };
        }
        let planner = planner(spec, &counts);
        let catalogue = Catalogue::new(counts.iter().copied());
        for row in planner.rows(index, 0..batch_size) {
            prop_assert!(counts[row.label as usize] > 0, "a row of an identity without images");
            if let Some(image) = row.image {
                prop_assert_eq!(catalogue.identity_of(image), row.label);
            }
            match row.source {
                Source::Real => prop_assert!(row.image.is_some() && row.parents.is_empty()),
                _ => {
                    prop_assert_eq!(&row.parents, &[Parent::alone(row.label)]);
                    prop_assert_eq!(row.image.is_some(), jitter);
                }
            }
        }
    }

    #[test]
    fn by_image_shows_each_image_once_in_every_round(counts in catalogues(), batch_size in 1u32..20) {
        let images: u32 = counts.iter().sum();
        let planner = planner(spec(batch_size, [1.0, 1.0, 0.0]), &counts);
        let shown = rows_of(&planner, Source::Real, u64::from(images.div_ceil(batch_size)) * 6);
        // The row order within a batch is shuffled, so rounds are compared by how often an image
        // was seen: never more than once apart.
        let counted = counts_of(shown.iter().filter_map(|row| row.image));
        prop_assert_eq!(counted.len() as u32, images);
        let spread = counted.values().max().unwrap() - counted.values().min().unwrap();
        prop_assert!(spread <= 1, "{counted:?}");
    }

    #[test]
    fn by_identity_shows_each_identity_and_its_images_equally_often(counts in catalogues(), batch_size in 1u32..20) {
        let mut spec = spec(batch_size, [3.0, 1.0, 0.0]);
        spec.sampling = Sampling::ByIdentity;
        let planner = planner(spec, &counts);
        for source in [Source::Real, Source::Existing] {
            let shown = rows_of(&planner, source, 120);
            let counted = counts_of(shown.iter().map(|row| row.label));
            let spread = counted.values().max().unwrap() - counted.values().min().unwrap();
            prop_assert!(spread <= 1, "{counted:?}");
        }
        let images = counts_of(rows_of(&planner, Source::Real, 120).iter().filter_map(|row| row.image));
        let catalogue = Catalogue::new(counts.iter().copied());
        for &identity in catalogue.present() {
            let seen: Vec<usize> = catalogue.images_of(identity).map(|image| *images.get(&image).unwrap_or(&0)).collect();
            prop_assert!(seen.iter().max().unwrap() - seen.iter().min().unwrap() <= 1, "{seen:?}");
        }
    }

    #[test]
    fn a_batch_per_identity_holds_p_identities_with_k_rows(
        p in 1u32..5, k in 1u32..6, people in 5usize..9, index in 0u64..1000,
    ) {
        let mut spec = spec(p * k, [1.0, 1.0, 0.0]);
        spec.sampling = Sampling::PerBatch { identities: p, images: k };
        let planner = planner(spec, &vec![6; people]);
        let rows = planner.rows(index, 0..p * k);
        let counted = counts_of(rows.iter().map(|row| row.label));
        prop_assert_eq!(counted.len() as u32, p);
        prop_assert!(counted.values().all(|&rows| rows == k as usize), "{counted:?}");
        let real: Vec<_> = rows.iter().filter(|row| row.source == Source::Real).map(|row| row.image).collect();
        prop_assert_eq!(real.iter().collect::<BTreeSet<_>>().len(), real.len(), "an image twice in one batch");
    }

    #[test]
    fn a_batch_per_identity_deals_blended_rows_evenly_to_as_few_people_as_hold_them(
        p in 2u32..5, k in 1u32..6, spare in 0u32..3, index in 0u64..1000, withheld: bool,
        real in 0u32..4, existing in 0u32..4, blended in 1u32..4,
    ) {
        let mut spec = spec(p * k, [real.into(), existing.into(), blended.into()]);
        spec.sampling = Sampling::PerBatch { identities: p, images: k };
        spec.blending.count = if withheld { 60 } else { p + spare };
        let mut counts = [6; 8];
        counts[3] = if withheld { 0 } else { 6 };
        let rows = planner(spec, &counts).rows(index, 0..p * k);
        prop_assert_eq!(rows.len() as u32, p * k);
        for is_blended in [false, true] {
            let counted = counts_of(
                rows.iter().filter(|row| (row.source == Source::Blended) == is_blended).map(|row| row.label),
            );
            let dealt = counted.values().sum::<usize>() as u32;
            prop_assert_eq!(counted.len() as u32, dealt.div_ceil(k));
            if let (Some(most), Some(fewest)) = (counted.values().max(), counted.values().min()) {
                prop_assert!(*most as u32 <= k && most - fewest <= 1, "{:?}", counted);
            }
        }
    }

    #[test]
    fn the_only_blended_person_that_can_be_shown_is_shown_always(seed: u64, index in 0u64..1000) {
        let mut spec = spec(8, [0.0, 0.0, 1.0]);
        spec.blending.seed = 3;
        let counts = [1, 1, 0, 0, 0, 0, 0, 0];
        let catalogue = Arc::new(Catalogue::new(counts));
        let people = Blending::new(&spec, catalogue.clone(), None);
        let both_present = |j: &u32| people.parents(*j).iter().all(|parent| parent.identity < 2);
        let only = (0..100).find(both_present).expect("one in 28 is");
        spec.blending.count = only + 1;
        spec.seed = seed;
        spec.check(&catalogue, None, 1, true).expect("it can be shown");
        let rows = Planner::new(Arc::new(spec), catalogue, None).rows(index, 0..8);
        prop_assert_eq!(rows.iter().map(|row| row.label).collect::<Vec<_>>(), vec![8 + only; 8]);
    }

    #[test]
    fn blended_people_have_different_parents_under_the_cap(
        seed: u64, j: u32, parents in 2u32..=5, people in 5u32..40,
        alpha in prop::sample::select(vec![0.01, 0.1, 1.0, 10.0]), slack in 0.001f64..1.0,
    ) {
        let least = 1.0 / f64::from(parents);
        let cap = least + slack * (1.0 - least);
        let mut spec = spec(4, [0.0, 0.0, 1.0]);
        spec.blending = BlendingSpec { count: 100, parents, alpha, max_weight: cap, seed, max_similarity: 0.0, spread: 0.0 };
        let blending = Blending::new(&spec, Arc::new(Catalogue::new(vec![1; people as usize])), None);
        let blend = blending.parents(j);
        prop_assert_eq!(blend.len() as u32, parents);
        prop_assert_eq!(blend.iter().map(|parent| parent.identity).collect::<BTreeSet<_>>().len() as u32, parents);
        prop_assert!(blend.iter().all(|parent| parent.identity < people && parent.weight >= 0.0));
        prop_assert!(f64::from(blend[0].weight) <= cap + 1e-6, "{blend:?} above {cap}");
        prop_assert!(blend.windows(2).all(|pair| pair[0].weight >= pair[1].weight));
        let sum: f32 = blend.iter().map(|parent| parent.weight).sum();
        prop_assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }

    #[test]
    fn a_blended_class_means_the_same_person_in_every_stream(seed: u64, other: u64, index in 0u64..1000) {
        let counts = [3; 9];
        let people = |stream_seed: u64, batch_size: u32| {
            let mut spec = spec(batch_size, [1.0, 1.0, 3.0]);
            (spec.seed, spec.blending.seed) = (stream_seed, 5);
            let planner = planner(spec, &counts);
            let rows = planner.rows(index, 0..batch_size).into_iter().filter(|row| row.source == Source::Blended);
            rows.map(|row| (row.label, row.parents)).collect::<Vec<_>>()
        };
        let mut by_class: BTreeMap<u32, Vec<Parent>> = BTreeMap::new();
        for (label, parents) in people(seed, 20).into_iter().chain(people(other, 33)) {
            prop_assert!((9..19).contains(&label));
            let first = by_class.entry(label).or_insert_with(|| parents.clone()).clone();
            prop_assert_eq!(first, parents);
        }
    }

    #[test]
    fn every_blended_person_appears_equally_often(batch_size in 1u32..20) {
        let planner = planner(spec(batch_size, [1.0, 0.0, 1.0]), &[3; 9]);
        let counted = counts_of(rows_of(&planner, Source::Blended, 100).iter().map(|row| row.label));
        let spread = counted.values().max().unwrap() - counted.values().min().unwrap();
        prop_assert!(spread <= 1, "{counted:?}");
    }

    #[test]
    fn a_blended_person_too_near_anybody_is_in_no_row_and_changes_no_other_blend(
        seed: u64, index in 0u64..1000, bound in 0.82f64..0.95, spread in 0.0f64..1.0, withheld: bool, per_batch: bool,
    ) {
        let mut spec = spec(12, [0.0, 1.0, 2.0]);
        (spec.seed, spec.blending.count) = (seed, 300);
        (spec.blending.max_similarity, spec.blending.spread) = (bound, spread);
        if per_batch {
            spec.sampling = Sampling::PerBatch { identities: 4, images: 3 };
        }
        let catalogue = Arc::new(Catalogue::new((0..40).map(|identity| if withheld && identity == 3 { 0 } else { 2 })));
        let centres = centres(40);
        spec.check(&catalogue, Some(&centres), 1, false).expect("enough can be shown");
        let unguarded = Blending::new(&spec, catalogue.clone(), None);
        let planner = Planner::new(Arc::new(spec), catalogue, Some(centres.clone()));
        let blended = |row: &Row| row.source == Source::Blended;
        for row in planner.rows(index, 0..12).into_iter().filter(blended) {
            prop_assert_eq!(&row.parents, &unguarded.parents(row.label - 40));
            let blend = centres.blend(&row.parents, reach(&row.parents, spread));
            prop_assert!(centres.iter().all(|centre| centres::cosine(&blend, centre) <= bound));
        }
        // Without what others have found out so far, the plan is the same.
        let fresh = Planner::new(planner.spec().clone(), planner.catalogue.clone(), Some(self::centres(40)));
        prop_assert_eq!(fresh.rows(index, 0..12), planner.rows(index, 0..12));
    }

    #[test]
    fn a_withheld_person_is_in_no_row_and_changes_no_other_blend(index in 0u64..200, per_batch: bool) {
        let mut spec = spec(16, [1.0, 1.0, 2.0]);
        spec.blending.count = 40;
        spec.latent = Latent::Jitter { scale: 1.0 };
        if per_batch {
            spec.sampling = Sampling::PerBatch { identities: 4, images: 4 };
        }
        let whole = planner(spec.clone(), &[3, 3, 3, 3, 3, 3]);
        let without = planner(spec, &[3, 3, 0, 3, 3, 3]);
        for row in without.rows(index, 0..16) {
            prop_assert!(row.label != 2 && row.parents.iter().all(|parent| parent.identity != 2));
            if row.source == Source::Blended {
                prop_assert_eq!(&row.parents, &whole.blending.parents(row.label - 6));
            }
        }
    }
}

/// Real rows alone, then half and half, then blended rows alone.
fn schedule(shape: Shape) -> Schedule {
    let at = |index, [real, existing, blended]: [f64; 3]| Point { index, mix: Mix { real, existing, blended } };
    Schedule { points: vec![at(10, [1.0, 1.0, 0.0]), at(20, [0.0, 0.0, 2.0])], shape }
}

proptest! {
    #[test]
    fn each_image_is_shown_once_in_every_round_whatever_the_schedule(
        counts in catalogues(), batch_size in 1u32..20, linear: bool,
    ) {
        let images: u32 = counts.iter().sum();
        let mut spec = spec(batch_size, [1.0, 0.0, 0.0]);
        spec.schedule = schedule(if linear { Shape::Linear } else { Shape::Steps });
        // Real rows to the end, so that rounds go on.
        spec.schedule.points[1].mix.real = 1.0;
        let catalogue = Arc::new(Catalogue::new(counts.iter().copied()));
        prop_assume!(spec.check(&catalogue, None, 1, true).is_ok());
        let planner = Planner::new(Arc::new(spec), catalogue, None);
        let shown = rows_of(&planner, Source::Real, 40);
        let counted = counts_of(shown.iter().filter_map(|row| row.image));
        let seen = |image| counted.get(&image).copied().unwrap_or(0);
        let (most, least) = ((0..images).map(seen).max().unwrap(), (0..images).map(seen).min().unwrap());
        prop_assert!(most - least <= 1, "{counted:?}");
    }

    #[test]
    fn a_class_is_the_same_person_whatever_the_mix_the_schedule_and_the_sampling(
        kind in samplings(), real in 0u32..3, existing in 0u32..3, scheduled: bool, withheld: bool, index in 0u64..40,
    ) {
        // Identity i is class i, blended identity j is class C + j, holes or not.
        let mut counts = [3; 9];
        counts[4] = if withheld { 0 } else { 3 };
        let mut spec = spec(12, [real.into(), existing.into(), 1.0]);
        spec.blending.count = 40;
        spec.sampling = sampling(kind, &counts, 12);
        if scheduled {
            spec.schedule = schedule(Shape::Linear);
        }
        let planner = planner(spec, &counts);
        prop_assert_eq!(planner.classes(), 9 + 40);
        let catalogue = Catalogue::new(counts);
        for row in planner.rows(index, 0..12) {
            match row.source {
                Source::Real => prop_assert_eq!(row.label, catalogue.identity_of(row.image.unwrap())),
                Source::Existing => prop_assert_eq!(&row.parents, &[Parent::alone(row.label)]),
                Source::Blended => prop_assert_eq!(&row.parents, &planner.blending.parents(row.label - 9)),
            }
        }
    }
}

#[test]
fn a_schedule_leads_from_one_mix_to_another() {
    let of = |shape, index| {
        let mut spec = spec(16, [1.0, 0.0, 0.0]);
        spec.schedule = schedule(shape);
        let planner = planner(spec, &[3; 9]);
        assert_eq!(planner.classes(), 9 + 10);
        let rows = planner.rows(index, 0..16);
        [Source::Real, Source::Existing, Source::Blended].map(|s| rows.iter().filter(|row| row.source == s).count())
    };
    for (index, expected) in [(0, [16, 0, 0]), (9, [16, 0, 0]), (10, [8, 8, 0]), (19, [8, 8, 0]), (20, [0, 0, 16])] {
        assert_eq!(of(Shape::Steps, index), expected);
    }
    for (index, expected) in [(0, [16, 0, 0]), (5, [12, 4, 0]), (10, [8, 8, 0]), (15, [4, 4, 8]), (1 << 60, [0, 0, 16])]
    {
        assert_eq!(of(Shape::Linear, index), expected);
    }
}

fn by_loss(before: Before) -> Sampling {
    Sampling::ByLoss(ByLoss { power: 1.0, floor: 0.25, cap: 4.0, interval: 1, before })
}

#[test]
fn a_sampling_table_chooses_identities_in_proportion_and_before_it_they_are_chosen_as_asked() {
    let counts = [2, 3, 0, 2];
    let mut asked = spec(100, [1.0, 1.0, 0.0]);
    let rows = |sampling: Sampling, table: Option<&Table>| {
        let asked = Spec { sampling, ..asked.clone() };
        let planner = planner(asked, &counts);
        (0..40).flat_map(|index| planner.rows_by(table, index, 0..100)).collect::<Vec<Row>>()
    };
    assert_eq!(rows(by_loss(Before::ByIdentity), None), rows(Sampling::ByIdentity, None));
    assert_eq!(rows(by_loss(Before::ByImage), None), rows(Sampling::ByImage, None));
    let catalogue = Catalogue::new(counts);
    let table = Table::new(vec![512, 2048, 0, 512], &catalogue);
    assert_eq!(rows(Sampling::ByImage, Some(&table)), rows(Sampling::ByImage, None), "others don't heed it");
    let shown = rows(by_loss(Before::ByIdentity), Some(&table));
    for source in [Source::Real, Source::Existing] {
        let counted = counts_of(shown.iter().filter(|row| row.source == source).map(|row| row.label));
        let share = |identity| counted[&identity] as f64 / 2000.0;
        assert_eq!(counted.len(), 3);
        assert!((share(1) - 0.667).abs() < 0.04 && (share(0) - 0.167).abs() < 0.04, "{counted:?}");
    }
    // Ranks share it as any batch.
    asked.sampling = by_loss(Before::ByImage);
    let planner = planner(asked, &counts);
    let parts = [planner.rows_by(Some(&table), 9, 0..37), planner.rows_by(Some(&table), 9, 37..100)].concat();
    assert_eq!(parts, planner.rows_by(Some(&table), 9, 0..100));
}

#[test]
fn a_guard_that_leaves_too_few_is_refused_and_what_it_passes_over_is_counted() {
    let catalogue = Arc::new(Catalogue::new([2; 40]));
    let mut spec = spec(12, [0.0, 0.0, 1.0]);
    (spec.blending.count, spec.blending.max_similarity) = (300, 0.5);
    let error = spec.check(&catalogue, Some(&centres(40)), 1, false).unwrap_err();
    assert!(
        matches!(&error, SpecError::Unsuited(sentence) if sentence.contains("similarity of at most 0.5")),
        "{error}"
    );
    assert!(spec.check(&catalogue, None, 1, false).is_err());
    let mut passed_over = |bound: f64| {
        spec.blending.max_similarity = bound;
        let planner = Planner::new(Arc::new(spec.clone()), catalogue.clone(), Some(centres(40)));
        (0..25).for_each(|index| drop(planner.rows(index, 0..12)));
        (planner.take_passed_over(), planner.take_passed_over())
    };
    let (narrow, wide, any) = (passed_over(0.8), passed_over(0.9), passed_over(1.0));
    assert!(narrow.0 > wide.0 && wide.0 > 0, "{narrow:?} {wide:?}");
    assert_eq!((any, narrow.1, wide.1), ((0, 0), 0, 0));
}

#[test]
fn both_ends_and_the_labels_know_the_same_spreads() {
    assert_eq!(dataset::blended::label::SPREADS, 0.0..=proto::limits::MAX_SPREAD);
}

#[test]
fn the_guard_looks_at_blended_people_where_a_spread_leads_them_and_keeps_its_verdicts_apart() {
    let catalogue = Arc::new(Catalogue::new([2; 40]));
    let mut spec = spec(12, [0.0, 0.0, 1.0]);
    (spec.blending.count, spec.blending.parents) = (100, 3);
    (spec.blending.alpha, spec.blending.max_similarity) = (20.0, 0.83);
    let mut shown = |spread: f64, centres: Arc<Centres>| -> Vec<bool> {
        spec.blending.spread = spread;
        let blending = Blending::new(&spec, catalogue.clone(), Some(centres));
        (0..100).map(|j| blending.can_show(j)).collect()
    };
    // The cosine of two people is a half, so that even mixtures have 0.82 to their parents, and led away 0.79.
    let shared = alike(40, 1.0);
    let [plain, led] = [0.0, 1.0].map(|spread| shown(spread, shared.clone()));
    let count = |shown: &[bool]| shown.iter().filter(|&&shown| shown).count();
    assert!(count(&plain) + 20 < count(&led), "{} {}", count(&plain), count(&led));
    assert_eq!([plain, led], [0.0, 1.0].map(|spread| shown(spread, alike(40, 1.0))));
}

#[test]
fn ten_thousand_people_are_guarded_against_and_no_verdict_is_reached_twice() {
    let people = 10_000;
    let mut spec = spec(64, [1.0, 0.0, 1.0]);
    (spec.blending.count, spec.blending.max_similarity) = (people, 0.9);
    let (catalogue, centres) = (Arc::new(Catalogue::new(vec![1; people as usize])), centres(people.into()));
    let planner = |catalogue: &Arc<Catalogue>| {
        spec.check(catalogue, Some(&centres), 1, false).expect("enough can be shown");
        Planner::new(Arc::new(spec.clone()), catalogue.clone(), Some(centres.clone()))
    };
    let rows = planner(&catalogue).rows(5, 0..64);
    // Two hundred plans more take no two hundred times as long.
    let known = planner(&catalogue);
    (0..200).for_each(|_| assert_eq!(known.rows(5, 0..64), rows));
}

#[test]
fn weights_choose_identities_in_proportion() {
    let mut spec = spec(100, [1.0, 0.0, 0.0]);
    spec.sampling = Sampling::Weighted(vec![0.0, 1.0, 3.0]);
    let planner = planner(spec, &[2, 2, 2]);
    let counted = counts_of(rows_of(&planner, Source::Real, 40).iter().map(|row| row.label));
    assert_eq!(counted.get(&0), None);
    let share = counted[&2] as f64 / 4000.0;
    assert!((share - 0.75).abs() < 0.03, "{share}");
}

#[test]
fn sources_are_mixed_within_a_batch_and_two_seeds_differ() {
    let planner_of = |seed| {
        let mut spec = spec(64, [1.0, 1.0, 1.0]);
        spec.seed = seed;
        planner(spec, &[5; 8])
    };
    let rows = planner_of(1).rows(0, 0..64);
    assert!(rows.windows(2).filter(|pair| pair[0].source != pair[1].source).count() > 10);
    assert_ne!(rows, planner_of(2).rows(0, 0..64));
    assert_ne!(rows, planner_of(1).rows(1, 0..64));
}

#[test]
fn what_no_stream_can_be_made_of_is_refused_with_a_sentence() {
    let catalogue = Arc::new(Catalogue::new([2, 2, 2]));
    let wrong = |change: &dyn Fn(&mut Spec)| {
        let mut spec = spec(8, [1.0, 1.0, 1.0]);
        change(&mut spec);
        spec.check(&catalogue, None, 1, false).expect_err("a wrong spec").to_string()
    };
    let at = |index| Point { index, mix: Mix { real: 1.0, existing: 0.0, blended: 0.0 } };
    // Of batches of eight.
    let near =
        |identities, neighbours, group| Sampling::Neighbours { identities, images: 8 / identities, neighbours, group };
    type Change<'a> = &'a dyn Fn(&mut Spec);
    const RULE: ByLoss = ByLoss { power: 1.0, floor: 0.25, cap: 4.0, interval: 1, before: Before::ByImage };
    let cases: [(Change<'_>, &str); 39] = [
        (&|s| s.batch_size = 0, "expected a batch size of 1 to 1024, found 0"),
        (&|s| s.batch_size = 1025, "found 1025"),
        (&|s| s.mix = Mix { real: 0.0, existing: 0.0, blended: 0.0 }, "a finite sum above zero"),
        (&|s| s.mix.real = -1.0, "found real=-1"),
        (&|s| s.mix.blended = f64::NAN, "found blended=NaN"),
        (&|s| s.mix = Mix { real: f64::MAX, existing: f64::MAX, blended: 0.0 }, "found inf"),
        (&|s| s.schedule.points = vec![at(0)], "at ascending indices from 1 to 4194304, found 0"),
        (&|s| s.schedule.points = vec![at(5), at(5)], "from 1 to 4194304, found 5"),
        (&|s| s.schedule.points = vec![at((1 << 22) + 1)], "found 4194305"),
        (&|s| s.schedule.points = (1..=65).map(at).collect(), "at most 64 points in the schedule of a mix, found 65"),
        (&|s| s.schedule.points = vec![Point { mix: Mix { real: -1.0, ..s.mix }, ..at(5) }], "found real=-1"),
        (&|s| s.blending.count = 0, "blended identities, found 0"),
        (&|s| s.blending.parents = 1, "expected 2 to 5 parents, found 1"),
        (&|s| s.blending.parents = 6, "expected 2 to 5 parents, found 6"),
        (&|s| s.blending.parents = 4, "as the dataset has identities (3), found 4"),
        (&|s| s.blending.alpha = 0.0, "alpha"),
        (&|s| s.blending.max_weight = 0.5, "above 1/2"),
        (&|s| s.blending.max_similarity = -0.5, "a largest similarity above 0 and at most 1, or 0 for any, found -0.5"),
        (&|s| s.blending.spread = 2.5, "expected a spread of 0 to 2, found 2.5"),
        (&|s| s.blending.spread = f64::NAN, "expected a spread of 0 to 2, found NaN"),
        (&|s| s.sampling = Sampling::PerBatch { identities: 3, images: 2 }, "found 3 x 2"),
        (&|s| s.sampling = Sampling::PerBatch { identities: 4, images: 2 }, "at most the dataset's 3"),
        (
            &|s| {
                s.blending.count = 1;
                s.sampling = Sampling::PerBatch { identities: 2, images: 4 };
            },
            "at most the 1 blended identities in a batch, found 2",
        ),
        (&|s| s.sampling = near(4, 1, 2), "at most the dataset's 3"),
        (&|s| s.sampling = near(2, 3, 2), "expected 1 to 2 neighbours to draw from, found 3"),
        (&|s| s.sampling = near(2, 0, 2), "found 0"),
        (&|s| s.sampling = near(2, 1, 3), "expected groups of 2 to 2 people, found 3"),
        (&|s| s.sampling = near(2, 1, 1), "found 1"),
        (&|s| s.sampling = near(2, 1, 2), "class centres are needed"),
        (&|s| s.sampling = Sampling::ByLoss(ByLoss { power: 5.0, ..RULE }), "above 0 to 4, found 5"),
        (&|s| s.sampling = Sampling::ByLoss(ByLoss { power: f64::NAN, ..RULE }), "found NaN"),
        (&|s| s.sampling = Sampling::ByLoss(ByLoss { floor: 1.5, ..RULE }), "a floor of 0.01 to 1, found 1.5"),
        (&|s| s.sampling = Sampling::ByLoss(ByLoss { cap: 33.0, ..RULE }), "a cap of 1 to 32, found 33"),
        (&|s| s.sampling = Sampling::Weighted(vec![1.0]), "each of the 3 identities, found 1"),
        (&|s| s.sampling = Sampling::Weighted(vec![0.0; 3]), "sum above zero"),
        (&|s| s.latent = Latent::Prior { truncation: 0.01 }, "at least 0.1, found 0.01"),
        (&|s| s.latent = Latent::Jitter { scale: 1.0 }, "needs an encoder"),
        (
            &|s| s.filter = Some(Filter { min_similarity: f64::NAN, max_retries: 4 }),
            "a least similarity of -1 to 1, found NaN",
        ),
        (&|s| s.filter = Some(Filter { min_similarity: 0.5, max_retries: 5 }), "at most 4 retries of a row, found 5"),
    ];
    for (change, expected) in cases {
        let found = wrong(change);
        assert!(found.contains(expected), "{found:?} doesn't say {expected:?}");
    }
}
