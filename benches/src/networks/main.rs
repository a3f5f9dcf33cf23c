//! `bench-networks`: images per second of every network, forward and with gradients, and of whole
//! training steps ([`steps`]).
//!
//! Times here are of this machine at this moment; compare only what one run prints.
//! `benches/peers.sh` runs it beside PyTorch.

mod clock;
mod steps;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use clap::Parser;
use clock::{Clock, Figures};
use command::{CommonArgs, Context};
use nets::{
    Capacity, Discriminator, DiscriminatorConfig, Downsampling, Encoder, EncoderConfig, Generator, GeneratorConfig,
    Initialization, LATENT, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Scale, Width, ops,
};
use std::{process::ExitCode, time::Duration};

/// Measure the networks on this machine
#[derive(Parser)]
#[command(name = "bench-networks", version)]
struct Cli {
    /// Channels: paper, small or tiny
    #[arg(long, value_name = "WIDTH", default_value_t = Width::Small)]
    width: Width,
    /// Images of a batch
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Time spent on each figure [unit: seconds]
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Only lines whose name holds this, such as `step` or `lightcnn-9`
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Where to compute: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = nets::device::named)]
    device: String,
    #[command(flatten)]
    common: CommonArgs,
}

/// Identities of every label.
const CLASSES: usize = 530;

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> std::result::Result<(), Box<dyn std::error::Error>> {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        let device = nets::device::parse(&cli.device)?;
        let clock = Clock {
            batch: cli.batch.into(),
            budget: Duration::from_secs_f64(cli.seconds.clamp(0.0, 3600.0)),
            only: &cli.only,
            device: &device,
        };
        let mut figures = Figures::default();
        measure(&clock, cli.width, &mut figures)?;
        steps::measure(&clock, cli.width, &mut figures)?;
        match cli.common.json {
            true => figures.print_json()?,
            false => println!("{figures}"),
        }
        Ok(())
    })
}

/// A network twice: of weights that keep no graph, as a server has them, and of variables.
struct Twice<N> {
    frozen: N,
    live: N,
}

impl<N> Twice<N> {
    fn new(name: &str, device: &Device, build: impl Fn(VarBuilder) -> Result<N>) -> Result<Self> {
        let parameters = Parameters::new(1, DType::F32, device);
        let live = build(parameters.var_builder().pp(name))?;
        let weights = parameters.tensors()?.into_iter().collect();
        Ok(Self { frozen: build(VarBuilder::from_tensors(weights, DType::F32, device).pp(name))?, live })
    }

    fn measure(
        &self,
        clock: &Clock,
        figures: &mut Figures,
        work: &str,
        run: impl Fn(&N) -> Result<Tensor>,
    ) -> Result<()> {
        let forward = || run(&self.frozen).map(drop);
        let with_gradients = || run(&self.live)?.sqr()?.mean_all()?.backward().map(drop);
        clock.network(figures, work, forward, with_gradients)
    }
}

fn measure(clock: &Clock, width: Width, figures: &mut Figures) -> Result<()> {
    let (batch, device) = (clock.batch, clock.device);
    let uniform = |low: f32, channels: usize| Tensor::rand(low, 1f32, (batch, 128, 128, channels), device);
    let initialization = Initialization::FanIn;

    let generator = GeneratorConfig { channels: 1, width, classes: CLASSES, initialization };
    let generator = Twice::new("generator", device, |vb| Generator::new(&generator, vb))?;
    let z = Tensor::randn(0f32, 1f32, (batch, LATENT), device)?;
    let c = Tensor::full(1f32 / CLASSES as f32, (batch, CLASSES), device)?;
    generator.measure(clock, figures, "generator", |generator| generator.forward(&z, &c))?;

    let encoder = EncoderConfig { channels: 1, width, downsampling: Downsampling::Strided, initialization };
    let encoder = Twice::new("encoder", device, |vb| Encoder::new(&encoder, vb))?;
    let x = uniform(-1.0, 1)?;
    encoder.measure(clock, figures, "encoder", |encoder| Ok(encoder.forward(&x)?.mu))?;

    let (capacity, scale) = (Capacity::Compact, Scale::Full128);
    let critic = DiscriminatorConfig { channels: 1, width, classes: CLASSES, capacity, scale, initialization };
    let critic = Twice::new("critic", device, |vb| Discriminator::new(&critic, vb))?;
    critic.measure(clock, figures, "critic", |critic| critic.forward(&x)?.value())?;
    critic.measure(clock, figures, "critic's input gradient", |critic| critic.input_gradient(&x))?;

    let grey = uniform(0.0, 1)?;
    for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine] {
        let network = LightCnnConfig { kind, width, classes: CLASSES };
        let network = Twice::new("recognizer", device, |vb| LightCnn::new(&network, vb))?;
        network.measure(clock, figures, &kind.to_string(), |network| network.features(&grey))?;
    }

    // The first LightCNN layer before its pooling, in one op and in two: the ratio is what fusing gains.
    let filters = 2 * width.channels(48);
    let init = candle_nn::Init::Uniform { lo: -0.3, up: 0.3 };
    let layer = Twice::new("layer", device, |vb| {
        let weight = vb.get_with_hints((filters, 5, 5, 1), "weight", init)?;
        Ok((weight, vb.get_with_hints(filters, "bias", candle_nn::Init::Const(0.0))?))
    })?;
    layer.measure(clock, figures, "first layer, fused", |(weight, bias)| {
        ops::conv_max_feature_map(&grey, weight, bias, 2, false)
    })?;
    layer.measure(clock, figures, "first layer, two ops", |(weight, bias)| {
        ops::max_feature_map(&ops::conv2d(&grey, weight, 1, 2)?, bias)
    })
}
