use candle_core::{Device, Tensor};
use nets::gradient_check::{check_gradients, random};
use proptest::prelude::*;
use recognizer::train::centre_loss::Centres;
use recognizer::train::targets::Targets;
use recognizer::{Batch, Mixture, Part, Schedule, Source, TrainConfig};

fn tensor(rows: &[[f32; 2]]) -> Tensor {
    Tensor::from_slice(rows.as_flattened(), (rows.len(), 2), &Device::Cpu).unwrap()
}

fn values(centres: &Centres) -> Vec<Vec<f32>> {
    centres.to_tensor().unwrap().to_vec2().unwrap()
}

#[test]
fn centre_loss_of_known_features_is_as_expected() {
    let mut centres = Centres::new(2, 2);
    let feature = candle_core::Var::from_tensor(&tensor(&[[1.0, 0.0]])).unwrap();
    let loss = centres.loss(&feature, &Targets::hard(&[0])).unwrap();
    assert_eq!(loss.to_scalar::<f32>().unwrap(), 0.5);
    let gradient = loss.backward().unwrap().get(&feature).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(gradient, [[1.0, 0.0]]);
    centres.update(&feature, &Targets::hard(&[0]), 0.5).unwrap();
    assert_eq!(values(&centres), [[0.25, 0.0], [0.0, 0.0]]);
}

#[test]
fn the_gradient_of_centre_loss_is_that_of_differences() {
    let mut centres = Centres::new(3, 5);
    centres.update(&random(&[4, 5], 1).unwrap(), &Targets::hard(&[0, 1, 1, 2]), 0.5).unwrap();
    let labels = Targets::hard(&[2, 0, 1, 1, 0]);
    check_gradients(&[random(&[5, 5], 2).unwrap()], |inputs| centres.loss(&inputs[0], &labels)).unwrap();
}

#[test]
fn the_gradient_of_softmax_loss_is_that_of_differences() {
    for targets in [Targets::hard(&[2, 0, 1, 1]), mixed()] {
        check_gradients(&[random(&[4, 3], 3).unwrap()], |inputs| targets.cross_entropy(&inputs[0])).unwrap();
    }
}

/// Rows 1 and 3 of four are of several of three classes.
fn mixed() -> Targets {
    of(&[(1, &[(0, 0.625), (2, 0.375)]), (3, &[(1, 0.5), (0, 0.25), (2, 0.25)])])
}

/// Labels 2, 0, 1, 1 but for the rows that are of several classes.
fn of(mixtures: &[(u32, &[(u32, f32)])]) -> Targets {
    let part = |&(class, weight): &(u32, f32)| Part { class, weight };
    let mixture = |&(row, parts): &(u32, &[(u32, f32)])| Mixture { row, parts: parts.iter().map(part).collect() };
    let mixtures = mixtures.iter().map(mixture).collect();
    Targets::of(&Batch { rows: 4, labels: vec![2, 0, 1, 1], mixtures, ..Batch::default() })
}

#[test]
fn the_loss_of_a_mixture_is_the_mixture_of_the_losses() {
    let logits = random(&[4, 3], 5).unwrap();
    let loss = |targets: &Targets| targets.cross_entropy(&logits).unwrap().to_scalar::<f64>().unwrap();
    let hard = |labels: [u32; 4]| loss(&Targets::hard(&labels));
    let two = of(&[(1, &[(0, 0.625), (2, 0.375)])]);
    assert!((loss(&two) - 0.625 * hard([2, 0, 1, 1]) - 0.375 * hard([2, 2, 1, 1])).abs() < 1e-12);
    // One class whole is no mixture, beside others or alone.
    let one = of(&[(1, &[(0, 1.0), (2, 0.0)]), (3, &[(2, 0.0), (1, 1.0)])]);
    assert!((loss(&one) - hard([2, 0, 1, 1])).abs() < 1e-12);
    assert_eq!(of(&[(1, &[(0, 1.0)]), (3, &[(1, 1.0)])]), Targets::hard(&[2, 0, 1, 1]));
}

#[test]
fn a_mixture_is_right_as_far_as_it_is_of_the_class_that_is_found() {
    let logits = tensor(&[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]);
    assert_eq!(Targets::hard(&[1, 1, 0, 1]).accuracy(&logits).unwrap(), 0.75);
    let mixed = of(&[(0, &[(1, 1.0)]), (1, &[(0, 0.75), (1, 0.25)]), (2, &[(0, 1.0)])]);
    assert_eq!(mixed.accuracy(&logits).unwrap(), (1.0 + 0.75 + 1.0 + 1.0) / 4.0);
}

#[test]
fn a_mixture_is_drawn_to_the_mixture_of_centres_and_moves_each_by_its_part() {
    let mut centres = Centres::new(3, 5);
    centres.update(&random(&[4, 5], 1).unwrap(), &Targets::hard(&[0, 1, 1, 2]), 0.5).unwrap();
    let features = random(&[4, 5], 2).unwrap();
    check_gradients(std::slice::from_ref(&features), |inputs| centres.loss(&inputs[0], &mixed())).unwrap();
    let loss = |targets: &Targets| centres.loss(&features, targets).unwrap().to_scalar::<f64>().unwrap();
    let one = of(&[(1, &[(0, 1.0), (2, 0.0)]), (3, &[(1, 1.0)])]);
    assert!((loss(&one) - loss(&Targets::hard(&[2, 0, 1, 1]))).abs() < 1e-12);

    let mut centres = Centres::new(3, 2);
    let half = of(&[(0, &[(0, 0.5), (2, 0.5)])]);
    centres.update(&tensor(&[[3.0, -6.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), &half, 0.5).unwrap();
    // 0.5 * 0.5 * f / (1 + 0.5) for class 2, and class 0, whose own row 1 lies at its centre, a half more.
    assert_eq!(values(&centres), [[0.3, -0.6], [0.0, 0.0], [0.5, -1.0]]);
}

#[test]
fn rows_count_by_their_weight_in_both_losses() {
    let (logits, features) = (random(&[4, 3], 5).unwrap(), random(&[4, 5], 6).unwrap());
    let sources = [Source::Real, Source::Existing, Source::Real, Source::Blended];
    let mut centres = Centres::new(3, 5);
    centres.update(&random(&[4, 5], 1).unwrap(), &Targets::hard(&[0, 1, 1, 2]), 0.5).unwrap();
    let value = |loss: candle_core::Result<Tensor>| loss.unwrap().to_scalar::<f64>().unwrap();
    let rows =
        |tensor: &Tensor, rows: &[u32]| tensor.index_select(&Tensor::new(rows, &Device::Cpu).unwrap(), 0).unwrap();
    let weighted = Targets::hard(&[2, 0, 1, 1]).weighted(&sources, 0.25);
    let (real, made) = (Targets::hard(&[2, 1]), Targets::hard(&[0, 1]));
    // Two rows at 1 and two at a quarter.
    let mean = |of_real: f64, of_made: f64| (2.0 * of_real + 0.5 * of_made) / 2.5;
    let softmax =
        mean(value(real.cross_entropy(&rows(&logits, &[0, 2]))), value(made.cross_entropy(&rows(&logits, &[1, 3]))));
    assert!((value(weighted.cross_entropy(&logits)) - softmax).abs() < 1e-12);
    let centre = mean(
        value(centres.loss(&rows(&features, &[0, 2]), &real)),
        value(centres.loss(&rows(&features, &[1, 3]), &made)),
    );
    assert!((value(centres.loss(&features, &weighted)) - centre).abs() < 1e-12);
    // Half a row moves a centre half as far: 0.5 * 0.5 * f / (1 + 0.5).
    let mut moved = Centres::new(1, 2);
    let half = Targets::hard(&[0]).weighted(&sources[1..2], 0.5);
    moved.update(&tensor(&[[3.0, -6.0]]), &half, 0.5).unwrap();
    assert_eq!(values(&moved), [[0.5, -1.0]]);
    check_gradients(&[logits], |inputs| weighted.cross_entropy(&inputs[0])).unwrap();
    check_gradients(&[features], |inputs| centres.loss(&inputs[0], &weighted)).unwrap();
    // All alike: the plain mean.
    assert_eq!(Targets::hard(&[1, 2]).weighted(&sources[..2], 1.0), Targets::hard(&[1, 2]));
}

#[test]
fn several_rows_of_a_class_move_its_centre_together() {
    let mut centres = Centres::new(1, 2);
    centres.update(&tensor(&[[3.0, 0.0], [0.0, 3.0]]), &Targets::hard(&[0, 0]), 0.5).unwrap();
    // Half of (3, 3) / (1 + 2).
    assert_eq!(values(&centres), [[0.5, 0.5]]);
}

#[test]
fn a_class_without_a_centre_is_refused() {
    let error = Centres::new(2, 2).loss(&tensor(&[[1.0, 0.0]]), &Targets::hard(&[2])).unwrap_err();
    assert!(error.to_string().contains("expected a class below 2, found 2"), "{error}");
}

proptest! {
    #[test]
    fn the_published_schedule_falls_every_ten_of_eighty_epochs(epoch in 0u64..80) {
        let config = published();
        let expected = 0.01 * 0.457305051927326f64.powi((epoch / 10) as i32);
        prop_assert!((config.learning_rate_at(epoch) / expected - 1.0).abs() < 1e-12);
    }
}

fn published() -> TrainConfig {
    let usual = TrainConfig::new(nets::LightCnnKind::Nine, nets::Width::Tiny, 80, 128);
    TrainConfig { schedule: Schedule::Published, warm_up: 0, ..usual }
}

#[test]
fn the_published_schedule_has_its_known_values() {
    let expected = [(0, 0.01), (9, 0.01), (10, 0.00457305), (40, 4.37345e-4), (79, 4.18256e-5)];
    for (epoch, rate) in expected {
        let found: f64 = published().learning_rate_at(epoch);
        assert!((found / rate - 1.0).abs() < 1e-5, "epoch {epoch}: {found}");
    }
}

#[test]
fn the_usual_schedule_rises_stays_and_drops_twice() {
    let config = TrainConfig::new(nets::LightCnnKind::Nine, nets::Width::Small, 100_000, 64);
    let rate = |seen| config.learning_rate_at(seen) / config.learning_rate;
    assert!(rate(0) > 0.0 && rate(0) < 1e-3);
    assert!((rate(2_499) - 0.5).abs() < 1e-12);
    assert_eq!([rate(5_000), rate(69_999)], [1.0, 1.0]);
    assert!((rate(70_000) - 0.1).abs() < 1e-12 && (rate(90_000) - 0.01).abs() < 1e-12);
}

#[test]
fn settings_that_cannot_train_are_refused_in_one_sentence() {
    let refusal = |config: TrainConfig| config.check().unwrap_err().to_string();
    assert_eq!(
        refusal(TrainConfig { learning_rate: 0.0, ..published() }),
        "expected a number above 0 as learning rate, found 0"
    );
    assert_eq!(
        refusal(TrainConfig { dropout: 1.0, ..published() }),
        "expected a number from 0 up to, not including, 1 as dropout, found 1"
    );
    assert_eq!(
        refusal(TrainConfig { generated_weight: 0.0, ..published() }),
        "expected a number from 0.001 to 1 as generated weight, found 0"
    );
    assert_eq!(refusal(TrainConfig { images: 0, ..published() }), "expected at least 1 as images, found 0");
    assert_eq!(refusal(TrainConfig { clip: f64::NAN, ..published() }), "expected 0 or more as clip, found NaN");
}
