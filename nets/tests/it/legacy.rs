//! Files that PyTorch itself wrote (`nets/reference/make.py`), whole, cut and changed.

use crate::formula::{CLASSES, fnv1a, grey_images, variable};
use crate::reference::{OUTPUT_LIMIT, Reference};
use candle_core::{DType, Device, Tensor};
use nets::legacy::{Classifier, LegacyError, from_bytes, import_light_cnn, read};
use nets::{LightCnn, LightCnnConfig, LightCnnKind, Parameters, Width};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const KINDS: [LightCnnKind; 3] = [LightCnnKind::Nine, LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2];
const SMALL: [&str; 2] = ["small.pth.tar", "small.zip.pth"];

fn reference(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "reference", "legacy", name].iter().collect()
}

#[derive(serde::Deserialize)]
struct Head {
    payloads: Vec<String>,
    fnv1a: String,
}

/// The file that PyTorch wrote: its head as kept, its weights by formula.
fn published(kind: LightCnnKind) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let heads: BTreeMap<String, Head> = serde_json::from_slice(&std::fs::read(reference("heads.json"))?)?;
    let head = &heads[&kind.to_string()];
    let case = format!("{kind}-tiny");
    // The network knows the shapes; PyTorch's layout is channels first.
    let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    LightCnn::new(&LightCnnConfig { kind, width: Width::Tiny, classes: CLASSES }, parameters.var_builder())?;
    let dims: BTreeMap<String, Vec<usize>> =
        parameters.vars().into_iter().map(|(name, var)| (name, var.dims().to_vec())).collect();
    let mut bytes = std::fs::read(reference(&format!("{kind}.head")))?;
    for name in &head.payloads {
        let tensor = variable(&case, name, &dims[name], DType::F32)?;
        let tensor = match name.as_str() {
            "fc1.filter.weight" | "fc.filter.weight" | "fc.weight" => {
                tensor.reshape((tensor.dim(0)?, 8, 8, ()))?.permute((0, 3, 1, 2))?
            }
            _ if tensor.rank() == 4 => tensor.permute((0, 3, 1, 2))?,
            _ => tensor,
        };
        bytes.extend((tensor.elem_count() as u64).to_le_bytes());
        bytes.extend(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().flat_map(f32::to_le_bytes));
    }
    assert_eq!(format!("{:016x}", fnv1a(&bytes)), head.fnv1a, "the file of {kind} as PyTorch wrote it");
    Ok(bytes)
}

fn network(config: &LightCnnConfig, tensors: &BTreeMap<String, Tensor>) -> candle_core::Result<LightCnn> {
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    let net = LightCnn::new(config, parameters.var_builder())?;
    parameters.load(tensors)?;
    Ok(net)
}

#[test]
fn published_recognizers_give_the_features_they_gave_in_pytorch() -> Outcome {
    let expected = Reference::open()?;
    for (kind, count) in KINDS.into_iter().zip([22, 62, 61]) {
        let state = from_bytes(&published(kind)?, "published.pth.tar")?;
        assert_eq!(state.len(), count);
        assert!(state.keys().all(|name| name.starts_with("module.")));
        let (config, tensors) = import_light_cnn(&state, Classifier::Keep)?;
        assert_eq!(config, LightCnnConfig { kind, width: Width::Tiny, classes: CLASSES });
        let net = network(&config, &tensors)?;
        let feature = net.features(&grey_images(&format!("{kind}-tiny"), 2, DType::F32)?)?;
        for (output, found) in [("logits", net.classify(&feature)?), ("feature", feature)] {
            let distance = expected.distance(&format!("{kind}-tiny/{output}"), &found, OUTPUT_LIMIT)?;
            assert!(distance <= 1e-5, "{kind} {output}: {distance:e}");
        }
    }
    Ok(())
}

#[test]
fn a_published_classifier_is_discarded_only_when_asked() -> Outcome {
    for kind in KINDS {
        let mut state = from_bytes(&published(kind)?, "published.pth.tar")?;
        let replace = |state: &_| import_light_cnn(state, Classifier::Replace { classes: 9, seed: 4 });
        let (config, tensors) = replace(&state)?;
        assert_eq!((config.classes, tensors["fc2.weight"].dims()), (9, &[9, 256][..]));
        network(&config, &tensors)?;
        let (_, kept) = import_light_cnn(&state, Classifier::Keep)?;
        for (name, tensor) in kept.iter().filter(|(name, _)| !name.starts_with("fc2.")) {
            let (a, b) = (tensor.flatten_all()?.to_vec1::<f32>()?, tensors[name].flatten_all()?.to_vec1::<f32>()?);
            assert_eq!(a, b, "{name}");
        }
        // A file that never had one needs a new one.
        state.retain(|name, _| !name.contains("fc2"));
        replace(&state)?;
        let error = import_light_cnn(&state, Classifier::Keep).unwrap_err().to_string();
        assert!(error.contains("no tensor `fc2.weight`"), "{error}");
    }
    Ok(())
}

#[test]
fn a_dictionary_of_another_network_is_refused_by_name() -> Outcome {
    let state = from_bytes(&published(LightCnnKind::Nine)?, "published.pth.tar")?;
    let refusal = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut state = state.clone();
        change(&mut state);
        let error = import_light_cnn(&state, Classifier::Keep).map(drop).expect_err("not a LightCNN-9");
        assert!(matches!(error, LegacyError::Network { .. }));
        error.to_string()
    };
    let numbers = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).expect("zeros");
    let cases: [(String, &str); 6] = [
        (refusal(&|state| drop(state.remove("module.features.4.conv.filter.bias"))), "no tensor `features.4.conv."),
        (refusal(&|state| drop(state.insert("module.more".into(), numbers(&[1])))), "a tensor `more`, which no"),
        (refusal(&|state| drop(state.insert("fc2.bias".into(), numbers(&[5])))), "two tensors named `fc2.bias`"),
        (
            refusal(&|state| drop(state.insert("module.fc2.bias".into(), numbers(&[6])))),
            "fc2.bias: expected shape [5], found [6]",
        ),
        (
            refusal(&|state| drop(state.insert("module.features.0.filter.weight".into(), numbers(&[94, 1, 5, 5])))),
            "94 filters in `features.0.filter.weight`, where a lightcnn-9 has 96, 24 or 12",
        ),
        (refusal(&|state| state.clear()), "no tensor `fc1.filter.weight`, `fc.filter.weight` or `fc.weight`"),
    ];
    for (error, expected) in cases {
        assert!(error.contains(expected), "{error}");
    }
    // An empty tensor takes no memory, whatever its rows: they must not be taken for identities.
    for dims in [&[1 << 44, 0][..], &[1 << 44, 0, 3], &[300]] {
        let error = refusal(&|state| drop(state.insert("module.fc2.weight".into(), numbers(dims))));
        assert!(error.contains("where a lightcnn-9 has [classes, 256]"), "{error}");
    }
    let infinite = (numbers(&[5]) + f64::INFINITY)?;
    let error = refusal(&|state| drop(state.insert("module.fc2.bias".into(), infinite.clone())));
    assert!(error.contains("a value in `fc2.bias` that is not finite"), "{error}");
    Ok(())
}

#[test]
fn every_number_type_and_view_is_read_from_both_containers() -> Outcome {
    for file in SMALL {
        let tensors = read(&reference(file))?;
        let types = [
            ("float", DType::F32, vec![3, 4]),
            ("transposed", DType::F32, vec![4, 3]),
            ("part", DType::F32, vec![2, 2]),
            ("same", DType::F32, vec![4]),
            ("double", DType::F64, vec![2]),
            ("half", DType::F16, vec![2]),
            ("bfloat", DType::BF16, vec![2]),
            ("long", DType::I64, vec![2]),
            ("byte", DType::U8, vec![2]),
            ("scalar", DType::F64, vec![]),
            ("empty", DType::F64, vec![0, 3]),
            ("parameter", DType::F32, vec![2]),
        ];
        assert_eq!(tensors.len(), types.len(), "{file}");
        for (name, dtype, dims) in types {
            assert_eq!((tensors[name].dtype(), tensors[name].dims()), (dtype, &dims[..]), "{name} of {file}");
        }
        let values = |name: &str| tensors[name].to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        assert_eq!(values("float")?, (0..12).map(|i| f64::from(i) / 8.0).collect::<Vec<_>>());
        assert_eq!(values("transposed")?[..4], [100.0, 104.0, 108.0, 101.0]);
        assert_eq!(values("part")?, [6.0, 7.0, 10.0, 11.0]);
        assert_eq!(values("same")?, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(values("double")?, [0.1, -2.5e300]);
        assert_eq!(values("half")?, [1.5, -0.25]);
        assert_eq!(values("bfloat")?, [3.0, -0.5]);
        assert_eq!(tensors["long"].to_vec1::<i64>()?, [7, -9]);
        assert_eq!(tensors["byte"].to_vec1::<u8>()?, [0, 255]);
        assert_eq!(values("scalar")?, [2.5]);
        assert_eq!(values("parameter")?, [4.0, 5.0]);
    }
    Ok(())
}

#[test]
fn a_missing_and_a_foreign_file_get_one_sentence() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.pth.tar");
    assert!(matches!(read(&path), Err(LegacyError::Read { .. })));
    for (bytes, expected) in [
        (&b""[..], "neither of the two containers that torch.save writes"),
        (b"\x89PNG\r\n\x1a\n and so on", "neither of the two containers that torch.save writes"),
        (b"PK\x03\x04 and no more", "a broken zip archive"),
    ] {
        std::fs::write(&path, bytes)?;
        let error = read(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()) && error.contains(expected), "{error}");
    }
    Ok(())
}

#[test]
fn every_cut_of_a_file_is_refused() -> Outcome {
    for file in SMALL {
        let bytes = std::fs::read(reference(file))?;
        for len in 0..bytes.len() {
            assert!(from_bytes(&bytes[..len], file).is_err(), "{file} cut to {len} of {}", bytes.len());
        }
    }
    // The old container has an end, and nothing may follow it.
    let mut longer = std::fs::read(reference(SMALL[0]))?;
    longer.push(0);
    let error = from_bytes(&longer, "longer").unwrap_err().to_string();
    assert!(error.contains("1 bytes behind the last storage"), "{error}");
    Ok(())
}

#[test]
fn an_empty_tensor_of_boundless_extent_is_refused() -> Outcome {
    let bytes = std::fs::read(reference(SMALL[0]))?;
    // Shape (0, 3) with strides (3, 1), as the file has it, and (0, n, n, n) with strides of ones.
    let (found, one, largest) = (b"K\x00K\x03\x86qaK\x03K\x01\x86qb", b"K\x01", b"J\xff\xff\xff\x7f");
    let at = bytes.windows(found.len()).position(|window| window == found).ok_or("no empty tensor")?;
    let dims = [b"(K\x00", &largest.repeat(3)[..], b"tqa"].concat();
    let strides = [b"(", &one.repeat(4)[..], b"tqb"].concat();
    let changed = [&bytes[..at], &dims, &strides, &bytes[at + found.len()..]].concat();
    let error = from_bytes(&changed, "boundless").unwrap_err().to_string();
    assert!(error.contains("a tensor of no valid layout as `empty`"), "{error}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_bytes_never_panic_and_never_invent_memory(
        old: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = std::fs::read(reference(SMALL[usize::from(!old)])).expect("a reference file");
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(tensors) = from_bytes(&bytes, "changed") {
            let values: usize = tensors.values().map(Tensor::elem_count).sum();
            prop_assert!(values <= bytes.len());
        }
    }

    #[test]
    fn noise_behind_a_true_beginning_never_panics(old: bool, noise in prop::collection::vec(any::<u8>(), 0..300), keep in 0usize..1500) {
        let mut bytes = std::fs::read(reference(SMALL[usize::from(!old)])).expect("a reference file");
        bytes.truncate(keep);
        bytes.extend(noise);
        prop_assert!(from_bytes(&bytes, "noise").is_err());
    }
}
