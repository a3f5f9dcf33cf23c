use crate::fixture::{Running, read, settings, try_connect};
use client::StreamSettings;
use client::spec::{
    Augmentation, Before, Blending, ByLoss, Channels, Filter, Latent, Mix, MixPoint, Sampling, Schedule, Shape, Spec,
};
use proptest::option;
use proptest::prelude::*;
use proto::v1;
use recognizer::{Batch, BatchSource, Source};

fn sampling() -> impl Strategy<Value = Sampling> {
    prop_oneof![
        Just(Sampling::ByImage),
        Just(Sampling::ByIdentity),
        (1u32.., 1u32..).prop_map(|(identities, images)| Sampling::PerBatch { identities, images }),
        prop::collection::vec(0.0f64..1e9, 1..5).prop_map(Sampling::Weighted),
        (1u32.., 1u32.., 1u32.., 1u32..).prop_map(|(identities, images, neighbours, group)| {
            Sampling::Neighbours { identities, images, neighbours, group }
        }),
        (0.1f64..4.0, 0.01f64..1.0, 1.0f64..32.0, 1u32.., any::<bool>()).prop_map(
            |(power, floor, cap, interval, image)| {
                let before = if image { Before::ByImage } else { Before::ByIdentity };
                Sampling::ByLoss(ByLoss { power, floor, cap, interval, before })
            }
        ),
    ]
}

fn latent() -> impl Strategy<Value = Latent> {
    prop_oneof![
        (0.1f64..5.0).prop_map(|truncation| Latent::Prior { truncation }),
        (0.0f64..10.0).prop_map(|scale| Latent::Jitter { scale }),
    ]
}

prop_compose! {
    fn mix()(real in 0.0f64..1e6, existing in 0.0f64..1.0, blended in 1e-300f64..1.0) -> Mix {
        Mix { real, existing, blended }
    }
}

prop_compose! {
    fn schedule()(points in prop::collection::btree_map(1u64..1 << 22, mix(), 0..5), linear: bool) -> Schedule {
        let points = points.into_iter().map(|(index, mix)| MixPoint { index, mix }).collect();
        Schedule::new(points, if linear { Shape::Linear } else { Shape::Steps }).unwrap()
    }
}

prop_compose! {
    /// With every default written out, as a header has it.
    pub(crate) fn spec()(
        (seed, batch_size) in (any::<u64>(), 1u32..1024),
        mix in mix(),
        schedule in schedule(),
        sampling in sampling(),
        (count, parents, alpha, max_weight, blending_seed) in
            (1u32.., 2u32..6, 0.01f64..1000.0, 0.01f64..1.0, any::<u64>()),
        latent in latent(),
        augmented: bool,
        grey: bool,
        (guarded, spread, centres) in (0.0f64..1.0, 0.0f64..2.0, option::of("[0-9a-f]{64}")),
        filter in option::of((-1.0f64..1.0, 0u32..5)),
    ) -> Spec {
        Spec {
            schedule,
            sampling,
            blending: Blending {
                count: Some(count),
                parents,
                alpha,
                max_weight,
                seed: Some(blending_seed),
                max_similarity: guarded,
                spread,
            },
            latent,
            augmentation: if augmented { Augmentation::Standard } else { Augmentation::Off },
            channels: Some(if grey { Channels::Grey } else { Channels::Rgb }),
            centres,
            filter: filter.map(|(min_similarity, max_retries)| Filter { min_similarity, max_retries }),
            ..Spec::new(seed, batch_size, mix)
        }
    }
}

proptest! {
    #[test]
    fn a_spec_comes_back_from_a_checkpoint_and_from_the_wire_to_the_last_bit(spec in spec()) {
        let text = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Spec>(&text).unwrap(), &spec);
        prop_assert_eq!(&Spec::try_from(v1::StreamSpec::from(&spec)).unwrap(), &spec);
    }

    #[test]
    fn only_defaults_may_be_filled_in(spec in spec(), count in option::of(Just(3u32))) {
        let asked = Spec { blending: Blending { count, ..spec.blending.clone() }, channels: None, ..spec.clone() };
        let differs = count.is_some_and(|count| Some(count) != spec.blending.count);
        prop_assert_eq!(asked.difference(&spec).is_some(), differs);
        let other = Spec { seed: !spec.seed, ..spec.clone() };
        prop_assert_eq!(other.difference(&spec).unwrap().setting, "seed");
    }

    #[test]
    fn a_mix_is_read_as_it_is_written(mix in mix()) {
        prop_assert_eq!(mix.to_string().parse(), Ok(mix));
        let point = MixPoint { index: 7, mix };
        prop_assert_eq!(point.to_string().parse(), Ok(point));
    }

    #[test]
    fn a_spec_of_a_time_without_schedules_is_that_of_a_mix_that_stays(spec in spec()) {
        let mut old = serde_json::to_value(&spec).unwrap();
        old.as_object_mut().unwrap().remove("schedule");
        let read: Spec = serde_json::from_value(old).unwrap();
        prop_assert_eq!(read, Spec { schedule: Schedule::default(), ..spec });
    }
}

#[test]
fn a_change_of_the_mix_that_no_stream_can_have_is_refused() {
    let refusal = |text: &str| text.parse::<MixPoint>().unwrap_err();
    assert_eq!(refusal("real=1"), r#"expected INDEX:SOURCE=WEIGHT[,SOURCE=WEIGHT], found "real=1""#);
    assert_eq!(refusal("0:real=1"), r#"expected the index of a batch from 1 to 4194304, found "0""#);
    assert_eq!(refusal("5:real=0"), "expected weights with a sum above 0, found 0");
    let at = |index| MixPoint { index, mix: Mix { real: 1.0, existing: 0.0, blended: 0.0 } };
    let refusal = |points| Schedule::new(points, Shape::Steps).unwrap_err();
    let expected = "expected changes of the mix in order of batches, found one at 5, then one at 5";
    assert_eq!(refusal(vec![at(5), at(5)]), expected);
    assert_eq!(refusal((1..=65).map(at).collect()), "expected at most 64 changes of the mix, found 65");
}

#[test]
fn a_scheduled_stream_is_sent_as_asked_and_goes_on_from_any_of_its_places() {
    let server = Running::ordinary();
    let at = |index, real, blended| MixPoint { index, mix: Mix { real, existing: 0.0, blended } };
    let schedule = Schedule::new(vec![at(4, 0.5, 0.5), at(6, 0.0, 1.0)], Shape::Linear).unwrap();
    let settings = || {
        let usual = settings(&[server.url()], 7);
        let mix = Mix { real: 1.0, existing: 0.0, blended: 0.0 };
        StreamSettings { spec: Spec { mix, schedule: schedule.clone(), ..usual.spec.clone() }, ..usual }
    };
    let mut source = try_connect(settings()).unwrap();
    assert_eq!(source.classes(), 6 + 6);
    let (mut places, mut later) = (Vec::new(), Vec::new());
    let batches: Vec<_> = (0..10)
        .map(|_| {
            places.push(source.place());
            later.push(source.place_later());
            read(&mut source, 1).remove(0)
        })
        .collect();
    let blended = |batch: &Batch| batch.sources.iter().filter(|&&source| source == Source::Blended).count();
    assert_eq!(batches.iter().map(blended).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 6, 8, 8, 8, 8]);
    assert_eq!(later.iter().map(|place| place()).collect::<Vec<_>>(), places);
    for (nth, place) in places.iter().enumerate() {
        let mut again = try_connect(settings()).unwrap();
        again.resume(place).unwrap();
        assert_eq!(read(&mut again, 1)[0], batches[nth]);
    }
    let mut without = try_connect(StreamSettings { spec: crate::fixture::spec(7), ..settings() }).unwrap();
    let error = without.resume(&places[3]).unwrap_err().to_string();
    assert!(error.contains("expected mix"), "{error}");
}

#[test]
fn a_place_that_was_kept_before_there_were_guards_is_still_read() {
    let spec = Spec::new(7, 64, Mix { real: 1.0, existing: 1.0, blended: 1.0 });
    let mut kept = serde_json::to_value(&spec).unwrap();
    for later in ["centres", "filter"] {
        assert!(kept.as_object_mut().unwrap().remove(later).is_some());
    }
    for later in ["max_similarity", "spread"] {
        assert!(kept["blending"].as_object_mut().unwrap().remove(later).is_some());
    }
    assert_eq!(serde_json::from_value::<Spec>(kept).unwrap(), spec);
    let other = Spec { filter: Some(Filter { min_similarity: 0.5, max_retries: 1 }), ..spec.clone() };
    assert_eq!(spec.difference(&other).unwrap().setting, "filter");
}

#[test]
fn a_mix_that_no_batch_can_have_is_refused() {
    let refusal = |text: &str| text.parse::<Mix>().unwrap_err();
    assert_eq!("real=2".parse(), Ok(Mix { real: 2.0, existing: 0.0, blended: 0.0 }));
    assert_eq!(refusal("real"), r#"expected SOURCE=WEIGHT[,SOURCE=WEIGHT], found "real""#);
    assert_eq!(refusal("fake=1"), r#"expected real, existing or blended, found "fake""#);
    assert_eq!(refusal("real=-1"), r#"expected a weight of at least 0 for real, found "-1""#);
    assert_eq!(refusal("real=nan"), r#"expected a weight of at least 0 for real, found "nan""#);
    assert_eq!(refusal("real=1,real=1"), "expected each source once, found real twice");
    assert_eq!(refusal("real=0,blended=0"), "expected weights with a sum above 0, found 0");
}
