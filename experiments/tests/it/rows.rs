//! The batches of arms, and trainings that stop on their way.

use crate::world;
use command::Interrupt;
use experiments::jobs::{Arm, GeneratorJob, Job, Variant};
use experiments::rows::{Maker, Recipe, Rows, Supply, Whom};
use experiments::world::{Part, World};
use experiments::{Error, Experiment};
use recognizer::flags::LossName;
use recognizer::{Batch, BatchSource, Labels, Source};
use std::collections::BTreeMap;

/// A generator of the world's people that has hardly learned anything.
fn maker(world: &World, settings: &experiments::Settings) -> Maker {
    let interrupt = Interrupt::new();
    let job = settings.generator_job(Variant::Cvae, Part::Training).unwrap();
    world::trainings(settings, world, &interrupt).generator(&job).unwrap()
}

fn recipe(share: f64, whom: Whom, supply: Supply) -> Recipe {
    Recipe { share, whom, supply, ..Recipe::real(8, 3, 0.2) }
}

fn batches(rows: &mut Rows, count: usize) -> Vec<Batch> {
    (0..count)
        .map(|_| {
            let batch = rows.next().unwrap();
            batch.check(rows.classes()).unwrap();
            batch
        })
        .collect()
}

#[test]
fn batches_are_what_their_recipe_says() {
    let place = tempfile::tempdir().unwrap();
    let settings = world::settings(place.path(), &[]);
    let world = world::open(&settings);
    let maker = maker(&world, &settings);
    let rows = |share, whom, supply| {
        Rows::new(world.training.clone(), Some(maker.clone()), recipe(share, whom, supply)).unwrap()
    };

    // The share is kept exactly over all batches, also where it is no whole row of each.
    let blended_by = |labels, spread| Whom::Blended { people: 5, labels, spread };
    let blended = blended_by(Labels::Hard, 0.0);
    let mut stream = rows(0.3, blended, Supply::Online);
    assert_eq!(stream.classes(), 4 + 5);
    let made = batches(&mut stream, 10);
    let sources: Vec<Source> = made.iter().flat_map(|batch| batch.sources.clone()).collect();
    assert_eq!(sources.iter().filter(|source| **source == Source::Blended).count(), 24);
    // Blended people stand behind the data's, take turns, and real rows show the data's.
    let mut turns = BTreeMap::<u32, usize>::new();
    for (batch, row) in made.iter().flat_map(|batch| (0..8).map(move |row| (batch, row))) {
        let label = batch.labels[row];
        assert_eq!(batch.sources[row] == Source::Blended, label >= 4);
        *turns.entry(label).or_default() += usize::from(label >= 4);
    }
    let blended_turns: Vec<usize> = (4..9).map(|label| turns[&label]).collect();
    assert_eq!((blended_turns.iter().sum::<usize>(), blended_turns.iter().max()), (24, Some(&5)));
    // Blended people have no names.
    assert_eq!(stream.class_names().len(), 4);

    // Resumed anywhere, it gives the same bytes.
    let mut again = rows(0.3, blended, Supply::Online);
    batches(&mut again, 4);
    let place = again.place();
    let mut resumed = rows(0.3, blended, Supply::Online);
    resumed.resume(&place).unwrap();
    assert_eq!(batches(&mut resumed, 6), made[4..]);
    let refused = rows(0.4, blended, Supply::Online).resume(&place).unwrap_err().to_string();
    assert!(refused.starts_with("can't go on in this stream: expected a place in the stream"), "{refused}");

    // Learned as their parents, they are the same images under no classes of their own.
    let mut soft = rows(0.3, blended_by(Labels::Soft, 0.0), Supply::Online);
    assert_eq!(soft.classes(), 4);
    for (soft, hard) in batches(&mut soft, 10).iter().zip(&made) {
        assert_eq!((&soft.pixels, &soft.sources), (&hard.pixels, &hard.sources));
        let blended: Vec<u32> = (0..8).filter(|&row| hard.sources[row as usize] == Source::Blended).collect();
        assert_eq!(soft.mixtures.iter().map(|mixture| mixture.row).collect::<Vec<_>>(), blended);
        for mixture in &soft.mixtures {
            assert_eq!(mixture.parts.len(), 3);
            assert!(mixture.parts.is_sorted_by(|heavy, light| heavy.weight >= light.weight));
            assert_eq!(soft.labels[mixture.row as usize], mixture.parts[0].class);
        }
    }
    assert!(made.iter().all(|batch| batch.mixtures.is_empty()));

    // Led away from the average person they are others; real people are who they were.
    let mut spread = rows(0.3, blended_by(Labels::Hard, 1.0), Supply::Online);
    for (spread, made) in batches(&mut spread, 2).iter().zip(&made) {
        let image = |batch: &Batch, row: usize| batch.pixels.slice(row * (1 << 14)..(row + 1) * (1 << 14));
        for row in 0..8 {
            assert_eq!(image(spread, row) == image(made, row), made.sources[row] == Source::Real);
        }
    }

    let Err(refused) = Rows::new(world.training.clone(), None, recipe(0.5, Whom::Existing, Supply::Online)) else {
        panic!("generated rows of nobody");
    };
    assert!(refused.to_string().contains("expected a generator of the data's people"), "{refused}");
}

#[test]
fn trainings_of_one_name_are_one_training() {
    let place = tempfile::tempdir().unwrap();
    let settings = world::settings(place.path(), &[]);
    let world = world::open(&settings);
    let mut known = BTreeMap::new();
    for experiment in Experiment::ALL {
        for job in experiment.jobs(&settings, &world).unwrap() {
            let found = format!("{job:?}");
            let first = known.entry(job.name().to_owned()).or_insert_with(|| found.clone());
            assert_eq!(*first, found);
        }
    }
}

#[test]
fn settings_of_ones_own_change_the_generators_that_they_concern() {
    let place = tempfile::tempdir().unwrap();
    let jobs = |set: &str| {
        let settings = world::settings(place.path(), &["--generator-preset", "modern", "--generator-set", set]);
        Variant::ALL.map(|variant| settings.generator_job(variant, Part::Training).unwrap())
    };
    let (usual, own) = (jobs("batch=8"), jobs("batch=8,lambda-kl=0.5,lambda-id=0.1"));
    let [ours, without_identity, _, cvae] = &own;
    assert!([ours, without_identity, cvae].iter().all(|job| job.settings.lambda_kl == 0.5));
    assert_eq!([ours, without_identity, cvae].map(|job| job.settings.lambda_id), [0.1, 0.0, 0.0]);
    assert!(own.iter().chain(&usual).all(|job| job.settings.batch == 8));
    let fingerprints = |jobs: [GeneratorJob; 4]| jobs.map(|job| Job::Generator(job).fingerprint());
    let (usual, own) = (fingerprints(usual), fingerprints(own));
    assert!(usual.iter().zip(&own).all(|(usual, own)| usual != own));
}

#[test]
fn a_training_that_was_stopped_ends_as_one_that_was_not() {
    let (stopped, undisturbed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let digest = |place: &std::path::Path, stop: bool| {
        let settings = world::settings(place, &[]);
        let world = world::open(&settings);
        let arm = Arm::existing(0.5);
        let job = settings.arm_job(arm, LossName::Softmax, 1, Part::Training).unwrap();
        if stop {
            let interrupt = Interrupt::new();
            interrupt.request();
            let error = world::trainings(&settings, &world, &interrupt).recognizer(&job).err().unwrap();
            assert!(matches!(error, Error::Interrupted(_) | Error::Gan(_)), "{error}");
            // As a kill leaves a training that had just begun.
            std::fs::create_dir_all(place.join("trainings").join(&job.name).join("samples")).unwrap();
        }
        let interrupt = Interrupt::new();
        let trainings = world::trainings(&settings, &world, &interrupt);
        trainings.recognizer(&job).unwrap();
        let names: Vec<String> = trainings.records().into_iter().map(|record| record.name).collect();
        assert_eq!(names, ["identity-network", "generator-ours", job.name.as_str()]);
        trainings.digest(&job.name)
    };
    assert_eq!(digest(stopped.path(), true), digest(undisturbed.path(), false));
}
