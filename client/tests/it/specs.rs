use client::spec::{Augmentation, Blending, Channels, Filter, Latent, Mix, Sampling, Spec};
use proptest::option;
use proptest::prelude::*;
use proto::v1;

fn sampling() -> impl Strategy<Value = Sampling> {
    prop_oneof![
        Just(Sampling::ByImage),
        Just(Sampling::ByIdentity),
        (1u32.., 1u32..).prop_map(|(identities, images)| Sampling::PerBatch { identities, images }),
        prop::collection::vec(0.0f64..1e9, 1..5).prop_map(Sampling::Weighted),
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
    /// With every default written out, as a header has it.
    pub(crate) fn spec()(
        (seed, batch_size) in (any::<u64>(), 1u32..1024),
        mix in mix(),
        sampling in sampling(),
        (count, parents, alpha, max_weight, blending_seed) in
            (1u32.., 2u32..6, 0.01f64..1000.0, 0.01f64..1.0, any::<u64>()),
        latent in latent(),
        augmented: bool,
        grey: bool,
        (guarded, centres) in (0.0f64..1.0, option::of("[0-9a-f]{64}")),
        filter in option::of((-1.0f64..1.0, 0u32..5)),
    ) -> Spec {
        Spec {
            sampling,
            blending: Blending { count: Some(count), parents, alpha, max_weight, seed: Some(blending_seed), max_similarity: guarded },
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
    }
}

#[test]
fn a_place_that_was_kept_before_there_were_guards_is_still_read() {
    let spec = Spec::new(7, 64, Mix { real: 1.0, existing: 1.0, blended: 1.0 });
    let mut kept = serde_json::to_value(&spec).unwrap();
    for later in ["centres", "filter"] {
        assert!(kept.as_object_mut().unwrap().remove(later).is_some());
    }
    assert!(kept["blending"].as_object_mut().unwrap().remove("max_similarity").is_some());
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
