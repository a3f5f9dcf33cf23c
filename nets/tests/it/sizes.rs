//! Parameter counts against the papers' layer tables, and what the tables say of shapes.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use nets::{
    Capacity, Conditioning, Discriminator, DiscriminatorConfig, Downsampling, Encoder, EncoderConfig, Generator,
    GeneratorConfig, Initialization, LightCnn, LightCnnConfig, LightCnnKind, Scale, Width,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The names and shapes that a network asks for.
type Shapes = BTreeMap<String, Vec<usize>>;

/// Notes what is asked for and gives one zero, broadcast: the largest networks cost nothing.
#[derive(Clone, Default)]
struct Recorder {
    shapes: Arc<Mutex<Shapes>>,
}

impl SimpleBackend for Recorder {
    fn get(&self, shape: Shape, name: &str, _init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let before = self.shapes.lock().expect("one thread").insert(name.to_owned(), shape.dims().to_vec());
        assert_eq!(before, None, "`{name}` asked for twice");
        Tensor::zeros(1, dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _dtype: DType, _device: &Device) -> Result<Tensor> {
        candle_core::bail!("`{name}` was asked for without its shape")
    }

    fn contains_tensor(&self, _name: &str) -> bool {
        true
    }
}

fn shapes<T>(build: impl FnOnce(VarBuilder) -> Result<T>) -> Result<Shapes> {
    let recorder = Recorder::default();
    build(VarBuilder::from_backend(Box::new(recorder.clone()), DType::F32, Device::Cpu))?;
    Ok(recorder.shapes.lock().expect("one thread").clone())
}

/// Parameters below a prefix.
fn count(shapes: &Shapes, prefix: &str) -> usize {
    let below = shapes.iter().filter(|(name, _)| name.starts_with(prefix));
    below.map(|(_, dims)| dims.iter().product::<usize>()).sum()
}

fn encoder(channels: usize, downsampling: Downsampling) -> Result<Shapes> {
    let initialization = Initialization::Paper;
    shapes(|vb| Encoder::new(&EncoderConfig { channels, width: Width::Paper, downsampling, initialization }, vb))
}

fn generator(channels: usize, classes: usize, conditioning: Conditioning) -> Result<Shapes> {
    let (width, initialization) = (Width::Paper, Initialization::Paper);
    let config = GeneratorConfig { channels, width, classes, initialization, conditioning };
    shapes(|vb| Generator::new(&config, vb))
}

fn critic(channels: usize, classes: usize, capacity: Capacity, scale: Scale) -> Result<Shapes> {
    let (width, initialization) = (Width::Paper, Initialization::Paper);
    let config = DiscriminatorConfig { channels, width, classes, capacity, scale, initialization, projection: false };
    shapes(|vb| Discriminator::new(&config, vb))
}

fn light_cnn(kind: LightCnnKind, classes: usize) -> Result<Shapes> {
    shapes(|vb| LightCnn::new(&LightCnnConfig { kind, width: Width::Paper, classes }, vb))
}

#[test]
fn encoders_have_the_tables_parameters_layer_by_layer() -> Result<()> {
    for downsampling in [Downsampling::Strided, Downsampling::Pooled] {
        for (channels, first, total) in [(1, 37_824, 21_636_928), (3, 39_104, 21_638_208)] {
            let shapes = encoder(channels, downsampling)?;
            let layers = ["blocks.0.", "blocks.1.", "blocks.2.", "blocks.3.", "head."];
            assert_eq!(
                layers.map(|layer| count(&shapes, layer)),
                [first, 230_016, 918_784, 3_672_576, 16_777_728],
                "{downsampling} of {channels} channels"
            );
            assert_eq!(count(&shapes, ""), total);
        }
    }
    Ok(())
}

#[test]
fn generators_have_the_tables_parameters_layer_by_layer() -> Result<()> {
    let totals = [(40, 11_753_345, 11_755_395), (100, 11_876_225, 11_878_275), (500, 12_695_425, 12_697_475)];
    for (classes, grey, rgb) in totals.into_iter().chain([(530, 12_756_865, 12_758_915)]) {
        for (channels, last, total) in [(1, 1_025, grey), (3, 3_075, rgb)] {
            let shapes = generator(channels, classes, Conditioning::Start)?;
            assert_eq!(count(&shapes, "start."), 2048 * (257 + classes));
            assert_eq!(
                [1, 2, 3, 4, 5, 6].map(|nth| count(&shapes, &format!("deconv{nth}."))),
                [4_195_328, 4_195_328, 2_097_664, 524_544, 131_200, last]
            );
            assert_eq!(count(&shapes, ""), total, "{classes} classes, {channels} channels");
            // Two numbers for each channel behind deconv1 to deconv5, of latent and label.
            let everywhere = generator(channels, classes, Conditioning::EveryLayer)?;
            assert_eq!(count(&everywhere, ""), total + 2 * (512 + 512 + 256 + 128 + 64) * (256 + classes));
        }
    }
    Ok(())
}

#[test]
fn critics_have_the_tables_parameters_layer_by_layer() -> Result<()> {
    let full = [131_200, 524_544, 2_097_664, 8_389_632, 33_556_480, 18_432];
    let compact = [131_200, 524_544, 2_097_664, 4_194_816, 4_194_816, 4_608];
    for (capacity, layers, cls, rest) in
        [(Capacity::Full, full, [8192, 2048], 44_721_088), (Capacity::Compact, compact, [2048, 512], 11_150_784)]
    {
        for (scale, cls) in [(Scale::Full128, cls[0]), (Scale::Half64, cls[1])] {
            for (channels, first, less) in [(3, 3_136, 0), (1, 1_088, 2_048)] {
                for classes in [40, 530] {
                    let shapes = critic(channels, classes, capacity, scale)?;
                    let names = ["conv2.", "conv3.", "conv4.", "conv5.", "conv6.", "src."];
                    assert_eq!(names.map(|name| count(&shapes, name)), layers);
                    assert_eq!([count(&shapes, "conv1."), count(&shapes, "cls.")], [first, cls * classes]);
                    assert_eq!(count(&shapes, ""), rest - less + cls * classes);
                }
            }
        }
    }
    let total =
        |classes, capacity, scale| Ok::<_, candle_core::Error>(count(&critic(3, classes, capacity, scale)?, ""));
    assert_eq!(total(530, Capacity::Full, Scale::Full128)?, 49_062_848);
    assert_eq!(total(530, Capacity::Full, Scale::Half64)?, 45_806_528);
    assert_eq!(total(40, Capacity::Compact, Scale::Full128)?, 11_232_704);
    assert_eq!(total(40, Capacity::Compact, Scale::Half64)?, 11_171_264);
    assert_eq!(total(530, Capacity::Compact, Scale::Full128)?, 12_236_224);
    assert_eq!(total(530, Capacity::Compact, Scale::Half64)?, 11_422_144);
    Ok(())
}

#[test]
fn light_cnns_have_the_published_parameters() -> Result<()> {
    let totals = [
        (10, 5_483_434, 12_575_850, 10_478_432),
        (40, 5_491_144, 12_583_560, 10_486_112),
        (100, 5_506_564, 12_598_980, 10_501_472),
        (200, 5_532_264, 12_624_680, 10_527_072),
        (500, 5_609_364, 12_701_780, 10_603_872),
        (530, 5_617_074, 12_709_490, 10_611_552),
        (10_575, 8_198_639, 15_291_055, 13_183_072),
        (79_077, 25_803_653, 32_896_069, 30_719_584),
        (80_013, 26_044_205, 33_136_621, 30_959_200),
    ];
    for (classes, nine, twenty_nine, v2) in totals {
        let kinds = [LightCnnKind::Nine, LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2];
        for (kind, total) in kinds.into_iter().zip([nine, twenty_nine, v2]) {
            assert_eq!(count(&light_cnn(kind, classes)?, ""), total, "{kind} of {classes} classes");
        }
    }
    Ok(())
}

#[test]
fn every_layer_of_lightcnn_9_has_the_tables_parameters() -> Result<()> {
    let shapes = light_cnn(LightCnnKind::Nine, 530)?;
    let layers = [
        ("features.0.", 2_496),
        ("features.2.conv_a.", 4_704),
        ("features.2.conv.", 83_136),
        ("features.4.conv_a.", 18_624),
        ("features.4.conv.", 332_160),
        ("features.6.conv_a.", 74_112),
        ("features.6.conv.", 442_624),
        ("features.7.conv_a.", 33_024),
        ("features.7.conv.", 295_168),
        ("fc1.", 4_194_816),
        ("fc2.", 257 * 530),
    ];
    for (stem, parameters) in layers {
        assert_eq!(count(&shapes, stem), parameters, "{stem}");
    }
    Ok(())
}

#[test]
fn residual_blocks_of_lightcnn_29_have_the_tables_parameters() -> Result<()> {
    for kind in [LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2] {
        let shapes = light_cnn(kind, 100)?;
        let blocks = [1, 2, 3, 4].map(|nth| count(&shapes, &format!("block{nth}.")));
        assert_eq!(blocks, [83_136, 664_320, 3_983_616, 2_361_344]);
    }
    Ok(())
}

#[test]
fn variables_have_the_names_of_the_published_state_dictionaries() -> Result<()> {
    let with_bias = |stem: String| [format!("{stem}.filter.weight"), format!("{stem}.filter.bias")];
    let mut nine: Vec<String> = with_bias("features.0".into()).into();
    for group in [2, 4, 6, 7] {
        nine.extend(["conv_a", "conv"].into_iter().flat_map(|conv| with_bias(format!("features.{group}.{conv}"))));
    }
    nine.extend(with_bias("fc1".into()));
    nine.extend(["fc2.weight".into(), "fc2.bias".into()]);

    let mut trunk: Vec<String> = with_bias("conv1".into()).into();
    for stage in 1..=4 {
        for block in 0..stage {
            let convs = ["conv1", "conv2"].into_iter();
            trunk.extend(convs.flat_map(|conv| with_bias(format!("block{stage}.{block}.{conv}"))));
        }
        trunk.extend(["conv_a", "conv"].into_iter().flat_map(|conv| with_bias(format!("group{stage}.{conv}"))));
    }
    let twenty_nine = [&trunk[..], &with_bias("fc".into()), &["fc2.weight".into(), "fc2.bias".into()]].concat();
    let v2 = [&trunk[..], &["fc.weight".into(), "fc.bias".into(), "fc2.weight".into()]].concat();

    for (kind, mut names, tensors) in [
        (LightCnnKind::Nine, nine, 22),
        (LightCnnKind::TwentyNine, twenty_nine, 62),
        (LightCnnKind::TwentyNineV2, v2, 61),
    ] {
        names.sort();
        let found: Vec<String> = light_cnn(kind, 100)?.into_keys().collect();
        assert_eq!(found, names, "{kind}");
        assert_eq!(found.len(), tensors);
    }
    Ok(())
}
