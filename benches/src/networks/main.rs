//! `bench-networks`: images per second of every network, forward and with gradients, and of whole
//! training steps ([`steps`]).
//!
//! Times here are of this machine at this moment; compare only what one run prints.
//! `benches/peers.sh` runs it beside PyTorch. With `--check` nothing is timed: ops and networks are held
//! against f64 on the CPU, and trainings against themselves ([`checks`]).

mod checks;
mod clock;
mod steps;
#[cfg(feature = "cuda")]
mod tiles;

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use checks::What;
use clap::{Parser, ValueEnum};
use clock::{Clock, Figures};
use command::{CommonArgs, Context};
use nets::{
    Capacity, Conditioning, Discriminator, DiscriminatorConfig, Downsampling, Encoder, EncoderConfig, Generator,
    GeneratorConfig, Initialization, LATENT, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Scale, Width, ops,
};
use std::{process::ExitCode, time::Duration};

#[global_allocator]
static ALLOCATOR: command::Allocator = command::Allocator;

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
    /// Where to compute: cpu, cuda:N, or cuda:N/tf32, which may round factors to TF32
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = nets::device::named)]
    device: String,
    /// In which numbers the networks compute; f16 needs a GPU. Steps keep their weights in f32
    #[arg(long, value_name = "TYPE", default_value = "f32", value_enum)]
    numbers: Numbers,
    /// Time nothing, but hold these against f64 on the CPU, or against themselves
    #[arg(long, value_name = "WHAT", value_enum)]
    check: Option<What>,
    #[command(flatten)]
    common: CommonArgs,
}

/// A number type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Numbers {
    F32,
    F64,
    Bf16,
    F16,
}

impl Numbers {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// Identities of every label.
const CLASSES: usize = 530;

fn main() -> ExitCode {
    command::main(|cli: Cli, context: Context| -> std::result::Result<(), Box<dyn std::error::Error>> {
        if cli.common.dry_run {
            return Ok(context.settings.print()?);
        }
        let device = nets::device::parse(&cli.device)?;
        if let Some(what) = cli.check {
            return checks::run(&cli.device, device, cli.numbers.dtype(), what, cli.width, cli.common.json);
        }
        let clock = Clock {
            batch: cli.batch.into(),
            budget: Duration::from_secs_f64(cli.seconds.clamp(0.0, 3600.0)),
            only: &cli.only,
            device: &device,
            dtype: cli.numbers.dtype(),
        };
        let mut figures = Figures::default();
        measure(&clock, cli.width, &mut figures)?;
        #[cfg(feature = "cuda")]
        tiles::measure(&clock, cli.width, &mut figures)?;
        // Weights of f64 are of no use to a training.
        if cli.numbers != Numbers::F64 {
            steps::measure(&clock, cli.width, &mut figures)?;
        }
        #[cfg(feature = "cuda")]
        for convolution in nets::device::cuda::slow_convolutions() {
            eprintln!("by its definition, slowly: {convolution}");
        }
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
    fn new(name: &str, clock: &Clock, build: impl Fn(VarBuilder) -> Result<N>) -> Result<Self> {
        let parameters = Parameters::new(1, clock.dtype, clock.device);
        let live = build(parameters.var_builder().pp(name))?;
        let weights = parameters.tensors()?.into_iter().collect();
        Ok(Self { frozen: build(VarBuilder::from_tensors(weights, clock.dtype, clock.device).pp(name))?, live })
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
    let uniform =
        |low: f32, channels: usize| Tensor::rand(low, 1f32, (batch, 128, 128, channels), device)?.to_dtype(clock.dtype);
    let initialization = Initialization::FanIn;

    let generator =
        GeneratorConfig { channels: 1, width, classes: CLASSES, initialization, conditioning: Conditioning::Start };
    let generator = Twice::new("generator", clock, |vb| Generator::new(&generator, vb))?;
    let z = Tensor::randn(0f32, 1f32, (batch, LATENT), device)?.to_dtype(clock.dtype)?;
    let c = Tensor::full(1f32 / CLASSES as f32, (batch, CLASSES), device)?.to_dtype(clock.dtype)?;
    generator.measure(clock, figures, "generator", |generator| generator.forward(&z, &c))?;

    let encoder = EncoderConfig { channels: 1, width, downsampling: Downsampling::Strided, initialization };
    let encoder = Twice::new("encoder", clock, |vb| Encoder::new(&encoder, vb))?;
    let x = uniform(-1.0, 1)?;
    encoder.measure(clock, figures, "encoder", |encoder| Ok(encoder.forward(&x)?.mu))?;

    let (capacity, scale) = (Capacity::Compact, Scale::Full128);
    let critic = DiscriminatorConfig {
        channels: 1,
        width,
        classes: CLASSES,
        capacity,
        scale,
        initialization,
        projection: false,
    };
    let critic = Twice::new("critic", clock, |vb| Discriminator::new(&critic, vb))?;
    critic.measure(clock, figures, "critic", |critic| critic.forward(&x)?.value())?;
    critic.measure(clock, figures, "critic's input gradient", |critic| critic.input_gradient(&x))?;

    let grey = uniform(0.0, 1)?;
    for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine] {
        let network = LightCnnConfig { kind, width, classes: CLASSES };
        let network = Twice::new("recognizer", clock, |vb| LightCnn::new(&network, vb))?;
        network.measure(clock, figures, &kind.to_string(), |network| network.features(&grey))?;
    }

    // The first LightCNN layer before its pooling, in one op and in two: the ratio is what fusing gains.
    let filters = 2 * width.channels(48);
    let init = candle_nn::Init::Uniform { lo: -0.3, up: 0.3 };
    let layer = Twice::new("layer", clock, |vb| {
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
