use candle_core::{DType, Device};
use nets::chance::Chance;
use nets::{LightCnn, LightCnnConfig, LightCnnKind, Parameters, Width};
use recognizer::generated::{Labelled, Report, answers, judge, judge_new, known_classes};
use recognizer::metrics::Features;
use recognizer::{Card, Recognizer};

const CLASSES: u64 = 6;

/// An untrained recognizer: these tests give it features, not images.
fn recognizer() -> Recognizer {
    let config = LightCnnConfig { kind: LightCnnKind::Nine, width: Width::Tiny, classes: CLASSES as usize };
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    LightCnn::new(&config, parameters.var_builder()).unwrap();
    let class_names = (0..CLASSES).map(|class| format!("person_{class}")).collect();
    let card = Card { config, class_names, dataset: None, images_seen: 0 };
    Recognizer::new(card, parameters.tensors().unwrap(), &Device::Cpu).unwrap()
}

/// Features around one direction for each class, `noise` apart; `purpose` tells sets apart.
fn people(rows_each: u64, noise: f64, purpose: &str) -> Labelled {
    let mut features = Features::new(256);
    let mut labels = Vec::new();
    for row in 0..rows_each * CLASSES {
        let class = row % CLASSES;
        let mut centre = Chance::new(1, "centre").at(class, 0);
        let mut draws = Chance::new(1, purpose).at(row, 0);
        let feature: Vec<f32> = (0..256).map(|_| (centre.normal() + noise * draws.normal()) as f32).collect();
        features.extend(&feature).unwrap();
        labels.push(class as u32);
    }
    Labelled::new(features, labels).unwrap()
}

fn report(generated: &Labelled) -> Report {
    let recognizer = recognizer();
    let names: Vec<String> = recognizer.card.class_names.clone();
    let known = known_classes(&recognizer, names.iter().map(String::as_str));
    judge(&recognizer, &known, generated, &people(40, 0.5, "reference"), &people(20, 0.5, "held out")).unwrap()
}

#[test]
fn images_like_the_real_ones_score_like_held_out_ones() {
    let report = report(&people(20, 0.5, "generated"));
    assert_eq!(report.generated.answers.images, 120);
    assert!((report.generated.identity.own_cosine - report.held_out.identity.own_cosine).abs() < 0.02);
    assert_eq!(report.generated.identity.consistency, 1.0);
    assert!((report.diversity.spread_ratio - 1.0).abs() < 0.1);
    assert!((report.memorisation.ratio - 1.0).abs() < 0.1);
    assert!((report.generated.frechet_distance / report.held_out.frechet_distance - 1.0).abs() < 0.1);
}

#[test]
fn collapse_copies_and_strangers_each_show() {
    let collapsed = report(&people(20, 0.02, "generated"));
    assert!(collapsed.diversity.spread_ratio < 0.2);
    let copies = report(&people(20, 0.5, "reference"));
    assert!(copies.memorisation.ratio < 1e-6);
    let people = people(20, 0.5, "generated");
    let shifted = people.labels().iter().map(|label| (label + 1) % CLASSES as u32).collect();
    let strangers = report(&Labelled::new(people.features().clone(), shifted).unwrap());
    assert!(strangers.generated.identity.margin < -0.3 && strangers.generated.identity.consistency < 0.01);
}

#[test]
fn only_identities_that_the_recognizer_knows_count_in_top1() {
    let recognizer = recognizer();
    let people = people(3, 0.5, "generated");
    let strangers = known_classes(&recognizer, ["nobody"; CLASSES as usize].into_iter());
    assert_eq!(answers(&recognizer, &people, &strangers).unwrap().top1, None);
    let known = known_classes(&recognizer, ["person_2", "nobody"].into_iter());
    assert_eq!(known, [Some(2), None]);
    assert!(answers(&recognizer, &people, &known).unwrap().top1.is_some());
}

#[test]
fn halves_share_every_identity_and_no_image() {
    let people = people(4, 0.5, "reference");
    let (one, other) = people.halves().unwrap();
    assert_eq!((one.labels().len(), other.labels().len()), (12, 12));
    for class in 0..CLASSES as u32 {
        assert_eq!(one.labels().iter().filter(|&&label| label == class).count(), 2);
    }
    assert!(one.features().rows().all(|row| other.features().rows().all(|other| other != row)));
}

#[test]
fn images_find_their_classes_among_other_names() {
    let names = ["a", "b", "c"].map(String::from);
    let set = Labelled::new(Features::from_values(vec![1.0, 2.0, 3.0], 1).unwrap(), vec![0, 1, 2]).unwrap();
    let renamed = set.renamed(&names, &["c", "d", "a"].map(String::from)).unwrap();
    assert_eq!(renamed.labels(), [2, 0]);
    assert_eq!(renamed.features().values(), [1.0, 3.0]);
    assert!(set.strangers(&names, &[]).unwrap().labels().is_empty(), "one image agrees with nothing");
    let twice = Labelled::new(Features::from_values(vec![1.0, 2.0, 3.0], 1).unwrap(), vec![0, 1, 1]).unwrap();
    assert_eq!(twice.strangers(&names, &["a"].map(String::from)).unwrap().features().values(), [2.0, 3.0]);
}

#[test]
fn a_person_without_images_changes_no_figure() {
    let recognizer = recognizer();
    let (made, reference, held_out) =
        (people(20, 0.5, "generated"), people(40, 0.5, "reference"), people(20, 0.5, "held out"));
    let judged = |classes: usize| judge(&recognizer, &vec![None; classes], &made, &reference, &held_out).unwrap();
    assert_eq!(judged(CLASSES as usize), judged(CLASSES as usize + 3));
}

#[test]
fn templates_of_more_images_find_their_person_better() {
    let report = report(&people(20, 3.0, "generated"));
    let rank1: Vec<(usize, f64)> =
        report.generated.templates.iter().map(|templates| (templates.images, templates.rank1)).collect();
    assert_eq!(rank1.iter().map(|&(images, _)| images).collect::<Vec<_>>(), [1, 5, 20]);
    assert!(rank1[2].1 >= rank1[0].1 && rank1[2].1 == 1.0, "{rank1:?}");
}

#[test]
fn new_people_are_told_from_copies_of_known_ones() {
    let reference = people(40, 0.5, "reference");
    let classes = CLASSES as usize;
    let copies = judge_new(&people(5, 0.5, "copies"), &reference, classes).unwrap();
    assert_eq!((copies.new.distinct, copies.new.identities), (0.0, classes));
    let mut features = Features::new(256);
    for row in 0..8u64 {
        let (mut person, mut draws) = (Chance::new(2, "new").at(row % 2, 0), Chance::new(2, "rows").at(row, 0));
        let feature: Vec<f32> = (0..256).map(|_| (person.normal() + 0.5 * draws.normal()) as f32).collect();
        features.extend(&feature).unwrap();
    }
    let new = Labelled::new(features, (0..8).map(|row| row % 2).collect()).unwrap();
    let judged = judge_new(&new, &reference, classes).unwrap();
    assert_eq!((judged.new.distinct, judged.new.apart, judged.new.identities), (1.0, 1.0, 2));
    assert!(judged.new.consistency > 0.6, "{}", judged.new.consistency);
    // Beside as many real people.
    assert_eq!((judged.real_people, judged.real_apart), (2, Some(1.0)));
}
