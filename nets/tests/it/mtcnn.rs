//! MTCNN against the Python package `facenet-pytorch` 2.6.0 (`nets/reference/mtcnn/make.py`), and its
//! weights from files, whole and wrong.

use crate::formula::{tensor, unit, variable, weights};
use crate::reference::{OUTPUT_LIMIT, Reference};
use candle_core::{DType, Device, Tensor};
use nets::mtcnn::{DetectorSettings, ONet, Overlap, PNet, RNet, Raster, Region, import, resample, suppress};
use nets::{Mtcnn, Parameters};
use std::collections::BTreeMap;
use std::path::Path;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn reference() -> candle_core::Result<Reference> {
    Reference::at("mtcnn/mtcnn.safetensors")
}

#[test]
fn the_three_networks_equal_the_packages() -> Outcome {
    let reference = reference()?;
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-11)] {
        let images =
            |stem: &str, dims: [usize; 4]| tensor(&unit(&format!("{stem}/x"), dims.iter().product()), &dims, dtype);
        let check = |name: &str, found: &Tensor| -> Outcome {
            let distance = reference.distance(name, found, OUTPUT_LIMIT)?;
            assert!(distance <= tolerance, "{name} in {dtype:?}: {distance:e} from the package's");
            Ok(())
        };
        let (probability, regression) = PNet::new(weights("pnet", dtype))?.forward(&images("pnet", [2, 27, 34, 3])?)?;
        assert_eq!(probability.dims(), [2, PNet::windows(27), PNet::windows(34)]);
        check("pnet/probability", &probability)?;
        check("pnet/regression", &regression)?;
        let (probability, regression) = RNet::new(weights("rnet", dtype))?.forward(&images("rnet", [3, 24, 24, 3])?)?;
        check("rnet/probability", &probability)?;
        check("rnet/regression", &regression)?;
        let onet = ONet::new(weights("onet", dtype))?;
        let (probability, regression, landmarks) = onet.forward(&images("onet", [2, 48, 48, 3])?)?;
        check("onet/probability", &probability)?;
        check("onet/regression", &regression)?;
        check("onet/landmarks", &landmarks)?;
    }
    Ok(())
}

/// Bytes by formula: squares of ten pixels under noise, HWC.
fn pixels(name: &str, height: usize, width: usize) -> Vec<u8> {
    let coarse = unit(&format!("{name}/coarse"), (height / 10) * (width / 10) * 3);
    let noise = unit(&format!("{name}/noise"), height * width * 3);
    let value = |(at, noise): (usize, f64)| {
        let (pixel, channel) = (at / 3, at % 3);
        let square = (pixel / width / 10) * (width / 10) + pixel % width / 10;
        (127.5 + 127.5 * (0.8 * coarse[square * 3 + channel] + 0.2 * noise)).floor() as u8
    };
    noise.into_iter().enumerate().map(value).collect()
}

#[test]
fn parts_in_another_size_equal_interpolation_by_area() -> Outcome {
    let (reference, rgb) = (reference()?, pixels("resample", 60, 80));
    let raster = Raster::new(&rgb, 80, 60).ok_or("a raster")?;
    for (name, region, [height, width]) in [
        ("smaller", raster.whole(), [37, 51]),
        ("larger", Region { left: 10, top: 7, right: 21, bottom: 29 }, [48, 48]),
        ("mixed", Region { left: 33, top: 0, right: 45, bottom: 60 }, [24, 24]),
    ] {
        let found = resample(raster, region, [height, width], 0..height);
        let found = Tensor::from_vec(found, (height, width, 3), &Device::Cpu)?;
        let distance = reference.distance(&format!("resample/{name}"), &found, OUTPUT_LIMIT)?;
        assert!(distance <= 1e-6, "{name}: {distance:e}");
    }
    Ok(())
}

#[test]
fn the_same_boxes_stay() -> Outcome {
    let reference = reference()?;
    let corners = reference.tensor("suppress/boxes").to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let probabilities = reference.tensor("suppress/probabilities").to_dtype(DType::F32)?.to_vec1::<f32>()?;
    let boxes: Vec<([f32; 4], f32)> =
        corners.iter().zip(probabilities).map(|(c, probability)| ([c[0], c[1], c[2], c[3]], probability)).collect();
    for (name, overlap, most) in [
        ("union-0.5", Overlap::OfUnion, 0.5),
        ("union-0.7", Overlap::OfUnion, 0.7),
        ("smaller-0.7", Overlap::OfSmaller, f64::from(0.7f32)),
    ] {
        let expected = reference.tensor(&format!("suppress/{name}")).to_vec1::<f64>()?;
        let found: Vec<f64> = suppress(&boxes, overlap, most).into_iter().map(|index| index as f64).collect();
        assert_eq!(found, expected, "{name}");
        assert!(expected.len() < boxes.len());
    }
    Ok(())
}

/// The cascade of the reference, its last layers a tenth of the formula's.
fn cascade() -> candle_core::Result<Mtcnn> {
    let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    let mtcnn = Mtcnn::new(parameters.var_builder())?;
    let values = parameters.vars().into_iter().map(|(name, var)| {
        let (stem, own) = name.split_once('.').expect("a network and a variable");
        let heads = ["conv4_", "dense5_1", "dense5_2", "dense6_"];
        let factor = if heads.iter().any(|head| own.starts_with(head)) { 0.1 } else { 1.0 };
        Ok((name.clone(), variable(stem, own, var.dims(), DType::F64)?.affine(factor, 0.0)?))
    });
    parameters.load(&values.collect::<candle_core::Result<BTreeMap<_, _>>>()?)?;
    Ok(mtcnn)
}

#[test]
fn the_whole_cascade_finds_what_the_package_finds() -> Outcome {
    let (reference, rgb) = (reference()?, pixels("cascade", 90, 120));
    let thresholds = reference.tensor("cascade/thresholds").to_dtype(DType::F32)?.to_vec1::<f32>()?;
    let settings =
        DetectorSettings { thresholds: [thresholds[0], thresholds[1], thresholds[2]], ..DetectorSettings::default() };
    let found = cascade()?.detect(Raster::new(&rgb, 120, 90).ok_or("a raster")?, &settings)?;
    let boxes = reference.tensor("cascade/boxes").to_vec2::<f64>()?;
    let landmarks = reference.tensor("cascade/landmarks").to_vec3::<f64>()?;
    assert_eq!(found.len(), boxes.len());
    for ((face, expected), landmarks) in found.iter().zip(boxes).zip(landmarks) {
        for (found, expected) in face.corners.iter().chain([&face.probability]).zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-2, "{found} and {expected}");
        }
        for (found, expected) in face.landmarks.iter().flatten().zip(landmarks.iter().flatten()) {
            assert!((f64::from(*found) - expected).abs() < 1e-2, "{found} and {expected}");
        }
    }
    Ok(())
}

#[test]
fn a_photograph_smaller_than_a_face_has_none() -> Outcome {
    let rgb = pixels("small", 10, 10);
    for (width, height) in [(10, 10), (10, 1), (1, 1)] {
        let raster = Raster::new(&rgb[..width * height * 3], width, height).ok_or("a raster")?;
        assert!(cascade()?.detect(raster, &DetectorSettings::default())?.is_empty());
    }
    Ok(())
}

#[test]
fn only_the_networks_own_tensors_are_taken() -> Outcome {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    RNet::new(parameters.var_builder())?;
    // In the package's layout.
    let state = parameters.tensors()?.into_iter().map(|(name, tensor)| {
        let tensor = if tensor.rank() == 4 { tensor.permute((0, 3, 1, 2))?.contiguous()? } else { tensor };
        Ok((name, tensor))
    });
    let state = state.collect::<candle_core::Result<BTreeMap<_, _>>>()?;
    assert_eq!(import("rnet", &state)?.len(), state.len());
    let refusal = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut state = state.clone();
        change(&mut state);
        import("rnet", &state).map(drop).expect_err("not an R-Net")
    };
    let nan = Tensor::new(&[f32::NAN; 28], &Device::Cpu)?;
    assert_eq!(refusal(&|state| drop(state.remove("prelu2.weight"))), "no tensor `prelu2.weight`");
    assert!(
        refusal(&|state| drop(state.insert("dense6_3.bias".into(), nan.clone()))).contains("`dense6_3.bias` too many")
    );
    assert!(refusal(&|state| drop(state.insert("conv1.bias".into(), nan.clone()))).contains("not finite"));
    assert!(
        refusal(&|state| drop(state.insert("conv2.bias".into(), nan.clone()))).contains("expected shape [48], found")
    );
    assert!(import("onet", &state).is_err_and(|reason| reason.starts_with("conv1.")), "an R-Net is no O-Net");
    Ok(())
}

#[test]
fn what_is_no_place_of_weights_is_refused_with_what_to_do() -> Outcome {
    let folder = tempfile::tempdir()?;
    let refusal = |path: &Path| Mtcnn::open(path, &Device::Cpu).map(drop).expect_err("no weights").to_string();
    assert!(refusal(&folder.path().join("absent")).starts_with("cannot read "));
    let empty = refusal(folder.path());
    assert!(empty.contains("found a folder without them") && empty.contains("pip download"), "{empty}");
    let text = folder.path().join("text");
    std::fs::write(&text, "no wheel")?;
    assert!(refusal(&text).contains("found a file that is no zip archive"));
    // A zip archive without an entry.
    std::fs::write(&text, [b"PK\x05\x06".as_slice(), &[0; 18]].concat())?;
    assert!(refusal(&text).contains("found an archive without facenet_pytorch/data/pnet.pt"));
    for name in ["pnet.pt", "rnet.pt", "onet.pt"] {
        std::fs::copy(
            concat!(env!("CARGO_MANIFEST_DIR"), "/reference/legacy/small.pth.tar"),
            folder.path().join(name),
        )?;
    }
    let other = refusal(folder.path());
    assert!(other.contains("pnet.pt: expected the weights of MTCNN's P-Net, found no tensor `conv1.bias`"), "{other}");
    #[cfg(unix)]
    assert!(refusal(Path::new("/dev/null")).contains("neither a file nor a folder"));
    Ok(())
}
