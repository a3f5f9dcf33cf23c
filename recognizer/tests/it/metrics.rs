use nets::chance::Chance;
use proptest::prelude::*;
use recognizer::metrics::classification::{inception_score, top1};
use recognizer::metrics::distribution::{Gaussian, frechet_distance, kernel_distance};
use recognizer::metrics::identity::{diversity, identity_kept, memorisation, new_identities, spread};
use recognizer::metrics::paired::{JudgedPair, bootstrap, mcnemar};
use recognizer::metrics::roc::{Scores, Threshold};
use recognizer::metrics::template::templates;
use recognizer::metrics::verification::{ScoredPair, Similarity, calls, verify};
use recognizer::metrics::{Features, MetricError};

type Folds = Vec<Vec<ScoredPair>>;

/// Ten folds of 300 genuine and 300 impostor pairs, scored by their place.
fn folds(score: impl Fn(bool, u64, u64) -> f64) -> Folds {
    (0..10)
        .map(|fold| {
            [true, false]
                .into_iter()
                .flat_map(|same| (0..300).map(move |row| (same, row)))
                .map(|(same, row)| ScoredPair { score: score(same, fold, row), same })
                .collect()
        })
        .collect()
}

fn accuracy(folds: &Folds) -> f64 {
    verify(folds).unwrap().accuracy
}

#[test]
fn verification_of_known_scores_is_as_expected() {
    assert_eq!(accuracy(&folds(|_, _, _| 0.3)), 0.5);
    assert_eq!(accuracy(&folds(|same, _, row| if same { 1.0 + row as f64 } else { -1.0 })), 1.0);
    assert_eq!(accuracy(&folds(|same, _, row| if same { -1.0 - row as f64 } else { 1.0 })), 0.5);
    let missed = folds(|same, _, row| match same {
        true if row < 30 => -5.0,
        true => 1.0,
        false => 0.0,
    });
    let verification = verify(&missed).unwrap();
    assert!((verification.accuracy - 0.95).abs() < 1e-12);
    assert!(verification.standard_error < 1e-12);
    assert!(verification.folds.iter().all(|fold| fold.threshold == 0.5));
}

#[test]
fn verification_of_two_normals_two_apart_is_84_percent() {
    let chance = Chance::new(11, "scores");
    let normal =
        |same, fold, row| chance.at(fold, 2 * row + u64::from(same)).normal() + 2.0 * f64::from(u8::from(same));
    let verification = verify(&folds(normal)).unwrap();
    assert!((verification.accuracy - 0.841).abs() < 0.01, "{}", verification.accuracy);
    assert!((0.001..0.01).contains(&verification.standard_error));
    // Phi(-1) errors on either side.
    let scores = folds(normal);
    let roc = Scores::of_pairs(scores.iter().flatten()).unwrap();
    assert!((roc.equal_error_rate() - 0.1587).abs() < 0.01);
    assert!((roc.area_under_curve() - 0.9214).abs() < 0.01);
}

#[test]
fn the_calls_of_a_verification_average_to_its_accuracy() {
    let chance = Chance::new(12, "scores");
    let scores =
        folds(|same, fold, row| chance.at(fold, 2 * row + u64::from(same)).unit() + f64::from(u8::from(same)) / 4.0);
    let verification = verify(&scores).unwrap();
    let calls = calls(&scores, &verification).unwrap();
    let share = calls.iter().filter(|&&right| right).count() as f64 / calls.len() as f64;
    assert!((share - verification.accuracy).abs() < 1e-12);
}

proptest! {
    #[test]
    fn verification_depends_on_the_order_of_scores_only(seed: u64, steepness in 0.1f64..3.0) {
        // Every score occurs in every fold, so no held-out score falls between two neighbours.
        let chance = Chance::new(seed, "scores");
        let level = |same: bool, fold, row: u64| match row {
            0..8 => row as f64 - 4.0,
            _ => chance.at(fold, 2 * row + u64::from(same)).below(6) as f64 - if same { 2.0 } else { 4.0 },
        };
        let plain = verify(&folds(level)).unwrap();
        let bent = verify(&folds(|same, fold, row| (steepness * level(same, fold, row)).exp())).unwrap();
        prop_assert_eq!(plain.accuracy, bent.accuracy);
        prop_assert_eq!(plain.standard_error, bent.standard_error);
    }

    #[test]
    fn inception_scores_lie_between_one_and_the_number_of_classes(rows in prop::collection::vec(prop::collection::vec(0.001f64..1.0, 5), 1..20)) {
        let rows: Vec<Vec<f64>> = rows.iter().map(|row| {
            let sum: f64 = row.iter().sum();
            row.iter().map(|value| value / sum).collect()
        }).collect();
        let score = inception_score(rows.iter().map(Vec::as_slice)).unwrap();
        prop_assert!((1.0 - 1e-9..=5.0 + 1e-9).contains(&score), "{}", score);
    }

    #[test]
    fn the_area_under_the_curve_counts_won_comparisons(
        genuine in prop::collection::vec(0u8..20, 1..40),
        impostor in prop::collection::vec(0u8..20, 1..40),
    ) {
        let won: f64 = genuine.iter().flat_map(|g| impostor.iter().map(move |i| match g.cmp(i) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })).sum();
        let expected = won / (genuine.len() * impostor.len()) as f64;
        let scores = |values: Vec<u8>| values.into_iter().map(f64::from).collect();
        let area = Scores::new(scores(genuine), scores(impostor)).unwrap().area_under_curve();
        prop_assert!((area - expected).abs() < 1e-12);
    }
}

#[test]
fn acceptance_takes_the_smallest_threshold_that_keeps_the_bound() {
    let scores = Scores::new(vec![0.9, 0.8, 0.4], vec![0.7, 0.3, 0.2, 0.1]).unwrap();
    let quarter = scores.acceptance(0.25);
    assert_eq!(quarter.true_accept_rate, 1.0);
    assert!(quarter.threshold > 0.3 && quarter.threshold <= 0.4);
    assert_eq!(quarter.impostors_allowed, 1);
    let none = scores.acceptance(0.0);
    assert_eq!(none.true_accept_rate, 2.0 / 3.0);
    assert!(none.threshold > 0.7 && none.threshold < 0.7 + 1e-12);
    assert_eq!(scores.acceptance(1.0).true_accept_rate, 1.0);
    // Tied impostors are let in together or not at all.
    let tied = Scores::new(vec![0.5, 0.2], vec![0.5, 0.5, 0.1, 0.1]).unwrap();
    assert_eq!(tied.acceptance(0.25).true_accept_rate, 0.0);
    assert_eq!(tied.acceptance(0.5).true_accept_rate, 1.0);
}

proptest! {
    #[test]
    fn a_threshold_that_holds_few_scores_is_the_one_of_all(
        scores in prop::collection::vec(-1.0f64..1.0, 1..400), rate in 0.0f64..0.3, part in 1usize..50,
    ) {
        let all = Scores::new(vec![0.0], scores.clone()).unwrap().acceptance(rate);
        let mut threshold = Threshold::new(scores.len(), rate);
        scores.chunks(part).for_each(|part| threshold.extend(part.iter().copied()));
        prop_assert_eq!(threshold.value(), Some(all.threshold));
    }
}

#[test]
fn templates_find_their_people_only_if_they_are_nearest_to_themselves() {
    // Two of three people lie where they should, the third where the first does.
    let centres = Features::from_values(vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0], 2).unwrap();
    let images = Features::from_values(vec![2.0, 0.1, 3.0, -0.1, 0.0, 1.0, 0.1, 5.0, 1.0, 0.0], 2).unwrap();
    let judged = |count| templates((&images, &[0, 0, 1, 1, 2]), &centres, count).unwrap();
    let one = judged(1).unwrap();
    assert_eq!((one.images, one.identities, one.rank1), (1, 3, 2.0 / 3.0));
    let two = judged(2).unwrap();
    assert_eq!((two.identities, two.rank1), (2, 1.0));
    // Two impostors can't tell a rate.
    assert!(two.verification.is_empty() && two.identification.is_empty());
    assert_eq!(judged(3), None);
}

#[test]
fn equal_error_rates_of_known_scores_are_as_expected() {
    let rate = |genuine: &[f64], impostor: &[f64]| {
        Scores::new(genuine.to_vec(), impostor.to_vec()).unwrap().equal_error_rate()
    };
    assert_eq!(rate(&[2.0, 3.0], &[0.0, 1.0]), 0.0);
    assert_eq!(rate(&[0.0, 1.0], &[2.0, 3.0]), 1.0);
    assert_eq!(rate(&[0.5, 0.5], &[0.5, 0.5]), 0.5);
    assert_eq!(rate(&[0.9, 0.8, 0.7, 0.1], &[0.75, 0.3, 0.2, 0.0]), 0.25);
}

#[test]
fn inception_scores_of_known_rows_are_as_expected() {
    let score = |rows: &[&[f64]]| inception_score(rows.iter().copied()).unwrap();
    let one_hot: Vec<Vec<f64>> =
        (0..4).map(|hot| (0..4).map(|class| f64::from(u8::from(hot == class))).collect()).collect();
    let one_hot: Vec<&[f64]> = one_hot.iter().map(Vec::as_slice).collect();
    assert!((score(&one_hot) - 4.0).abs() < 1e-12);
    assert!((score(&[&[0.2, 0.8], &[0.2, 0.8]]) - 1.0).abs() < 1e-12);
    assert!((score(&[&[0.9, 0.1], &[0.1, 0.9]]) - 1.4449348).abs() < 1e-6);
    assert!((score(&[&[0.7, 0.2, 0.1], &[0.1, 0.8, 0.1], &[0.2, 0.2, 0.6]]) - 1.3339551).abs() < 1e-6);
}

#[test]
fn frechet_distances_of_known_sets_are_as_expected() {
    let gaussian = |mean, variance| Gaussian {
        mean: nalgebra::DVector::from_element(1, mean),
        covariance: nalgebra::DMatrix::from_element(1, 1, variance),
    };
    let distance = gaussian(0.0, 1.0).frechet_distance(&gaussian(3.0, 4.0)).unwrap();
    assert!((distance - 10.0).abs() < 1e-12);

    let features = random_features(400, 24, "here");
    let trace = Gaussian::of(&features).unwrap().covariance.trace();
    assert!(frechet_distance(&features, &features).unwrap().abs() < 1e-6 * trace);
    // A shift by one in every dimension.
    let shifted: Vec<f32> = features.values().iter().map(|value| value + 1.0).collect();
    let shifted = Features::from_values(shifted, 24).unwrap();
    assert!((frechet_distance(&features, &shifted).unwrap() - 24.0).abs() < 1e-3);
    // Rank-deficient covariances (fewer rows than dimensions) have a distance too.
    let few = random_features(8, 24, "few");
    assert!(frechet_distance(&few, &few).unwrap().abs() < 1e-5 * trace);
}

#[test]
fn kernel_distances_of_known_sets_are_as_expected() {
    let low = Features::from_values(vec![0.0, 0.0, 1.0, 0.0], 2).unwrap();
    let high = Features::from_values(vec![0.0, 2.0, 1.0, 2.0], 2).unwrap();
    assert!((kernel_distance(&low, &high).unwrap() - 24.8125).abs() < 1e-12);
    assert!((kernel_distance(&low, &low).unwrap() + 1.1875).abs() < 1e-12);
}

#[test]
fn top1_counts_rows_whose_largest_value_is_the_label() {
    let rows: [&[f32]; 4] = [&[0.1, 0.9], &[0.9, 0.1], &[0.5, 0.5], &[0.0, 1.0]];
    assert_eq!(top1(rows.into_iter(), &[1, 0, 0, 0]).unwrap(), 0.75);
    let none: [&[f32]; 0] = [];
    assert!(matches!(top1(none.into_iter(), &[]), Err(MetricError::TooFew { .. })));
    assert!(matches!(top1([&[f32::NAN][..]].into_iter(), &[0]), Err(MetricError::NotFinite { .. })));
}

#[test]
fn identity_figures_tell_the_right_person_from_the_wrong() {
    let real = Features::from_values(vec![3.0, 0.0, 1.0, 0.1, 0.0, 5.0, 0.1, 1.0], 2).unwrap();
    let centres = real.class_centres(&[0, 0, 1, 1], 2).unwrap();
    let right = identity_kept(&real, &[0, 0, 1, 1], &centres, 0.9).unwrap();
    let wrong = identity_kept(&real, &[1, 1, 0, 0], &centres, 0.9).unwrap();
    assert!(right.own_cosine > 0.99 && right.margin > 0.8 && right.consistency == 1.0, "{right:?}");
    assert!(wrong.own_cosine < 0.2 && wrong.margin < -0.8 && wrong.consistency == 0.0, "{wrong:?}");
    let unknown = identity_kept(&real, &[0, 0, 1, 7], &centres, 0.9).unwrap_err();
    assert_eq!(unknown.to_string(), "identity kept expected classes below 2, found 7");
}

#[test]
fn diversity_is_one_against_itself_and_zero_for_collapse() {
    let real = random_features(40, 8, "real");
    let labels: Vec<u32> = (0..40).map(|row| row / 10).collect();
    let same = diversity((&real, &labels), (&real, &labels)).unwrap();
    assert!((same.spread_ratio - 1.0).abs() < 1e-12 && (same.distance_ratio - 1.0).abs() < 1e-12);
    assert_eq!(same.identities, 4);
    let first: Vec<f32> = (0..40).flat_map(|row| real.rows().nth(row / 10 * 10).unwrap().to_vec()).collect();
    let collapsed = Features::from_values(first, 8).unwrap();
    let none = diversity((&collapsed, &labels), (&real, &labels)).unwrap();
    assert!(none.spread_ratio < 1e-6 && none.distance_ratio < 1e-6, "{none:?}");
}

#[test]
fn pairwise_distances_and_spread_around_the_mean_are_one_thing() {
    // (1 / n^2) sum_ij |f_i - f_j|^2 = 2 (1 / n) sum_i |f_i - mean|^2: why centre loss can stand
    // in for any loss that draws the images of a class together.
    let rows = random_features(30, 16, "rows").normalized();
    let pairs: f64 = rows
        .rows()
        .flat_map(|left| rows.rows().map(move |right| Similarity::Euclidean.score(left, right).powi(2)))
        .sum::<f64>()
        / 900.0;
    assert!((pairs - 2.0 * spread(&rows).powi(2)).abs() < 1e-6);
}

#[test]
fn copies_of_training_images_are_noticed() {
    let training = random_features(50, 8, "training");
    let held_out = random_features(50, 8, "held out");
    let fresh = memorisation(&random_features(50, 8, "fresh"), &held_out, &training).unwrap();
    assert!((0.7..1.4).contains(&fresh.ratio), "{fresh:?}");
    assert!(memorisation(&training, &held_out, &training).unwrap().ratio < 1e-6);
}

#[test]
fn new_identities_must_be_distinct_apart_and_consistent() {
    let existing = Features::from_values(vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0], 3).unwrap();
    let new = [[0.1, 0.0, 1.0], [0.0, 0.1, 1.0]]; // between nobody
    let like_the_first = [[1.0, 0.1, 0.0], [1.0, 0.0, 0.1]];
    let like_the_new = [[0.1, 0.1, 1.0], [0.2, 0.0, 1.0]];
    let judged = |people: &[[[f32; 3]; 2]]| {
        let labels: Vec<u32> = (2..2 + people.len() as u32).flat_map(|person| [person; 2]).collect();
        let images = Features::from_values(people.iter().flatten().flatten().copied().collect(), 3).unwrap();
        new_identities((&images, &labels), &existing, 0.5).unwrap()
    };
    let figures = judged(&[new, like_the_first]);
    assert_eq!((figures.distinct, figures.apart, figures.identities), (0.5, 1.0, 2));
    assert!(figures.consistency > 0.95);
    let figures = judged(&[new, like_the_first, like_the_new, [[-1.0, 0.0, 0.0], [-1.0, 0.1, 0.0]]]);
    assert_eq!((figures.distinct, figures.apart, figures.identities), (0.75, 0.5, 4));
}

#[test]
fn mcnemar_is_a_sign_test_on_the_disagreements() {
    let calls = |right: usize, wrong: usize| [vec![true; right], vec![false; wrong]].concat();
    let agree = mcnemar(&calls(5, 3), &calls(5, 3)).unwrap();
    assert_eq!((agree.only_first, agree.only_second, agree.p_value), (0, 0, 1.0));
    // 1 head in 6 tosses: 2 (1 + 6) / 64.
    let first = [true, false, false, false, false, false, true];
    let second = [false, true, true, true, true, true, true];
    let few = mcnemar(&first, &second).unwrap();
    assert_eq!((few.only_first, few.only_second), (1, 5));
    assert!((few.p_value - 14.0 / 64.0).abs() < 1e-12);
    // 2^-n of thousands of pairs underflows; the test must not.
    let many = mcnemar(&calls(3000, 3200), &[vec![false; 3000], vec![true; 3200]].concat()).unwrap();
    assert!((many.p_value - 0.0115).abs() < 5e-4, "{}", many.p_value);
}

#[test]
fn a_bootstrap_over_identities_is_less_sure_than_one_over_pairs() {
    // One person decides everything: with pairs alone the gain would look certain.
    let pairs: Vec<JudgedPair> = (0..20u32)
        .flat_map(|person| {
            (0..50).map(move |_| JudgedPair { identities: (person, person), first: false, second: person == 0 })
        })
        .collect();
    let pairs = [pairs];
    let difference = bootstrap(&pairs, 400, 5).unwrap();
    assert!((difference.mean - 0.05).abs() < 1e-12);
    assert!(difference.standard_error > 0.03, "{difference:?}");
    assert_eq!(difference.interval.0, 0.0);
    assert_eq!(bootstrap(&pairs, 400, 5).unwrap(), difference);
}

#[test]
fn repetitions_that_disagree_make_a_bootstrap_less_sure() {
    let training = |better: bool| -> Vec<JudgedPair> {
        (0..40).map(|person| JudgedPair { identities: (person, person), first: !better, second: better }).collect()
    };
    let agreed = bootstrap(&[training(true), training(true), training(true)], 400, 5).unwrap();
    assert_eq!((agreed.mean, agreed.interval), (1.0, (1.0, 1.0)));
    let split = bootstrap(&[training(true), training(true), training(false)], 400, 5).unwrap();
    assert!((split.mean - 1.0 / 3.0).abs() < 1e-12);
    assert!(split.interval.0 < 0.0 && split.interval.1 == 1.0, "{split:?}");
}

#[test]
fn what_cant_be_measured_is_refused_in_one_sentence() {
    let pair = |score| ScoredPair { score, same: true };
    let refusal = |folds: Folds| verify(&folds).unwrap_err().to_string();
    assert_eq!(refusal(vec![vec![pair(1.0)]]), "verification needs at least 2 folds, found 1");
    assert_eq!(refusal(vec![vec![pair(1.0)], vec![]]), "verification needs at least 1 pairs in each fold, found 0");
    assert_eq!(
        refusal(vec![vec![pair(1.0)], vec![pair(f64::NAN)]]),
        "verification needs finite values, found NaN at position 1"
    );
    let one = random_features(1, 4, "one");
    assert_eq!(
        kernel_distance(&one, &one).unwrap_err().to_string(),
        "a kernel distance needs at least 2 rows, found 1"
    );
    let two = random_features(2, 8, "two");
    assert_eq!(
        frechet_distance(&two, &random_features(2, 4, "two")).unwrap_err().to_string(),
        "a Frechet distance needs as many dimensions here as there, found 8 and 4"
    );
}

fn random_features(rows: u64, dimension: u64, purpose: &str) -> Features {
    let chance = Chance::new(1, purpose);
    let values = (0..rows).flat_map(|row| {
        let mut draws = chance.at(0, row);
        (0..dimension).map(move |_| draws.normal() as f32).collect::<Vec<_>>()
    });
    Features::from_values(values.collect(), dimension as usize).unwrap()
}
