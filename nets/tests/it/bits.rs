//! The same bits, whatever the number of threads and whoever the neighbours: what lets a run be
//! resumed on another machine, and a row of a stream be made in any tile.

use crate::formula::{CLASSES, fill, grey_images, images, labels, latents, tensor, unit, weights};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use nets::{
    Capacity, Conditioning, Discriminator, DiscriminatorConfig, Downsampling, Encoder, EncoderConfig, Generator,
    GeneratorConfig, Initialization, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Scale, Width,
};

const BATCH: usize = 3;

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool").install(work)
}

fn bits(t: &Tensor) -> Result<Vec<u32>> {
    Ok(t.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
}

/// Outputs and all gradients.
fn forward_and_backward(outputs: &(dyn Fn(VarBuilder) -> Result<Vec<Tensor>> + Sync)) -> Result<Vec<Vec<u32>>> {
    let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    outputs(parameters.var_builder())?;
    fill(&parameters, "threads")?;
    let mut loss = Tensor::new(0f32, &Device::Cpu)?;
    let mut seen = Vec::new();
    for output in outputs(parameters.var_builder())? {
        seen.push(bits(&output)?);
        loss =
            (loss + (&output * tensor(&unit("probe", output.elem_count()), output.dims(), DType::F32)?)?.sum_all()?)?;
    }
    let gradients = loss.backward()?;
    for (_, var) in parameters.vars() {
        if let Some(gradient) = gradients.get(&var) {
            seen.push(bits(gradient)?);
        }
    }
    assert!(seen.len() > 10, "most variables have gradients");
    Ok(seen)
}

fn check_threads(outputs: impl Fn(VarBuilder) -> Result<Vec<Tensor>> + Sync) -> Result<()> {
    let alone = on_threads(1, || forward_and_backward(&outputs))?;
    let together = on_threads(3, || forward_and_backward(&outputs))?;
    assert!(alone == together, "1 and 3 threads give other bits");
    Ok(())
}

#[test]
fn encoders_do_not_depend_on_the_number_of_threads() -> Result<()> {
    for (downsampling, width) in [
        (Downsampling::Strided, Width::Tiny),
        (Downsampling::Pooled, Width::Tiny),
        (Downsampling::Strided, Width::Small),
        (Downsampling::Strided, Width::Paper),
    ] {
        let config = EncoderConfig { channels: 3, width, downsampling, initialization: Initialization::FanIn };
        let x = images("threads", [BATCH, 128, 3], DType::F32)?;
        check_threads(|vb| {
            let posterior = Encoder::new(&config, vb)?.forward(&x)?;
            Ok(vec![posterior.kl()?, posterior.mu, posterior.logvar])
        })?;
    }
    Ok(())
}

#[test]
fn generators_do_not_depend_on_the_number_of_threads() -> Result<()> {
    for width in Width::ALL {
        let config = GeneratorConfig {
            channels: 1,
            width,
            classes: CLASSES,
            initialization: Initialization::FanIn,
            conditioning: Conditioning::Start,
        };
        let (z, c) = (latents("threads", BATCH, DType::F32)?, labels(BATCH, DType::F32)?);
        check_threads(|vb| {
            let image = Generator::new(&config, vb)?.forward(&z, &c)?;
            Ok(vec![image.clone(), nets::ops::pyramid_down(&image)?])
        })?;
    }
    Ok(())
}

#[test]
fn critics_and_their_penalty_do_not_depend_on_the_number_of_threads() -> Result<()> {
    for (width, capacity, scale, size) in [
        (Width::Tiny, Capacity::Full, Scale::Full128, 128),
        (Width::Small, Capacity::Compact, Scale::Full128, 128),
        (Width::Paper, Capacity::Compact, Scale::Full128, 128),
        (Width::Small, Capacity::Full, Scale::Half64, 64),
    ] {
        let initialization = Initialization::FanIn;
        let config = DiscriminatorConfig {
            channels: 3,
            width,
            classes: CLASSES,
            capacity,
            scale,
            initialization,
            projection: false,
        };
        let x = images("threads", [BATCH, size, 3], DType::F32)?;
        check_threads(|vb| {
            let critic = Discriminator::new(&config, vb)?;
            let critique = critic.forward(&x)?;
            let penalty = critic.input_gradient(&x)?.sqr()?.mean_all()?;
            Ok([vec![critique.value()?, critique.cls, penalty], critique.features].concat())
        })?;
    }
    Ok(())
}

#[test]
fn light_cnns_do_not_depend_on_the_number_of_threads() -> Result<()> {
    for (kind, width) in [
        (LightCnnKind::Nine, Width::Tiny),
        (LightCnnKind::TwentyNine, Width::Tiny),
        (LightCnnKind::TwentyNineV2, Width::Tiny),
        (LightCnnKind::Nine, Width::Paper),
    ] {
        let config = LightCnnConfig { kind, width, classes: CLASSES };
        let x = grey_images("threads", BATCH, DType::F32)?;
        check_threads(|vb| {
            let net = LightCnn::new(&config, vb)?;
            let (feature, maps) = net.features_and_maps(&x)?;
            Ok(vec![net.classify(&feature)?, feature, maps[2].clone()])
        })?;
    }
    Ok(())
}

/// Rows of the tile that row independence is tried in; not a multiple of anything.
const TILE: usize = 5;

/// Runs `network` on rows in two orders with other neighbours, and compares each row's bits.
fn check_rows(rows: &[Tensor], network: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>) -> Result<()> {
    let take = |order: &[u32]| -> Result<Vec<Vec<Vec<u32>>>> {
        let index = Tensor::new(order, &Device::Cpu)?;
        let chosen = rows.iter().map(|rows| rows.index_select(&index, 0)).collect::<Result<Vec<_>>>()?;
        let outputs = network(&chosen)?;
        (0..order.len()).map(|row| outputs.iter().map(|output| bits(&output.get(row)?)).collect()).collect()
    };
    let orders: [[u32; TILE]; 3] = [[0, 1, 2, 3, 4], [4, 2, 0, 1, 3], [6, 5, 5, 0, 7]];
    let made = orders.iter().map(|order| take(order)).collect::<Result<Vec<_>>>()?;
    for (order, tile) in orders.iter().zip(&made).skip(1) {
        for (position, row) in order.iter().enumerate() {
            if let Some(first) = orders[0].iter().position(|other| other == row) {
                assert!(tile[position] == made[0][first], "row {row} at {position} has other bits than at {first}");
            }
        }
    }
    assert!(made[2][1] == made[2][2], "one row twice in a tile");
    Ok(())
}

#[test]
fn a_generated_row_does_not_depend_on_its_place_or_neighbours() -> Result<()> {
    for (width, channels) in [(Width::Tiny, 1), (Width::Tiny, 3), (Width::Small, 3), (Width::Paper, 1)] {
        let config = GeneratorConfig {
            channels,
            width,
            classes: CLASSES,
            initialization: Initialization::FanIn,
            conditioning: Conditioning::Start,
        };
        let generator = Generator::new(&config, weights("rows", DType::F32))?;
        let rows = [latents("rows", 8, DType::F32)?, labels(8, DType::F32)?];
        check_rows(&rows, |rows| Ok(vec![generator.forward(&rows[0], &rows[1])?]))?;
    }
    Ok(())
}

#[test]
fn an_encoded_row_does_not_depend_on_its_place_or_neighbours() -> Result<()> {
    for (width, channels, downsampling) in [
        (Width::Tiny, 1, Downsampling::Strided),
        (Width::Tiny, 3, Downsampling::Pooled),
        (Width::Small, 3, Downsampling::Strided),
        (Width::Paper, 1, Downsampling::Strided),
    ] {
        let config = EncoderConfig { channels, width, downsampling, initialization: Initialization::FanIn };
        let encoder = Encoder::new(&config, weights("rows", DType::F32))?;
        check_rows(&[images("rows", [8, 128, channels], DType::F32)?], |rows| {
            let posterior = encoder.forward(&rows[0])?;
            Ok(vec![posterior.mu, posterior.logvar])
        })?;
    }
    Ok(())
}

#[test]
fn a_rows_feature_does_not_depend_on_its_place_or_neighbours() -> Result<()> {
    for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine, LightCnnKind::TwentyNineV2] {
        let config = LightCnnConfig { kind, width: Width::Tiny, classes: CLASSES };
        let net = LightCnn::new(&config, weights("rows", DType::F32))?;
        check_rows(&[grey_images("rows", 8, DType::F32)?], |rows| {
            let feature = net.features(&rows[0])?;
            Ok(vec![net.classify(&feature)?, feature])
        })?;
    }
    Ok(())
}
