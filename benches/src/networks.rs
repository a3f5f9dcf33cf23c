//! `bench-networks`: images per second of every network, forward and with gradients, and what the
//! fused LightCNN layer gains over the ops it is made of.
//!
//! Times here are of this machine at this moment; compare only what one run prints.

use candle_core::{DType, Device, Result, Tensor};
use clap::Parser;
use command::{CommonArgs, Context, human::Table};
use nets::{
    Capacity, Discriminator, DiscriminatorConfig, Downsampling, Encoder, EncoderConfig, Generator, GeneratorConfig,
    Initialization, LATENT, LightCnn, LightCnnConfig, LightCnnKind, Parameters, Scale, Width, ops,
};
use std::process::ExitCode;
use std::time::{Duration, Instant};

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
    /// Where to compute: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
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
        println!("{}", measure(&cli)?);
        Ok(())
    })
}

fn measure(cli: &Cli) -> Result<Table> {
    let device = nets::device::parse(&cli.device)?;
    let (batch, width) = (usize::from(cli.batch), cli.width);
    let clock = Clock { batch, budget: Duration::from_secs_f64(cli.seconds.max(0.0)), device: &device };
    let parameters = Parameters::new(1, DType::F32, &device);
    let vb = parameters.var_builder();
    let mut table = Table::new(["network", "forward, images/s", "with gradients, images/s"]);
    let uniform = |low: f32, channels: usize| Tensor::rand(low, 1f32, (batch, 128, 128, channels), &device);
    let initialization = Initialization::FanIn;

    let generator = GeneratorConfig { channels: 1, width, classes: CLASSES, initialization };
    let generator = Generator::new(&generator, vb.pp("generator"))?;
    let z = Tensor::randn(0f32, 1f32, (batch, LATENT), &device)?;
    let c = Tensor::full(1f32 / CLASSES as f32, (batch, CLASSES), &device)?;
    clock.network(&mut table, "generator", || generator.forward(&z, &c))?;

    let downsampling = Downsampling::Strided;
    let encoder = Encoder::new(&EncoderConfig { channels: 1, width, downsampling, initialization }, vb.pp("encoder"))?;
    let x = uniform(-1.0, 1)?;
    clock.network(&mut table, "encoder", || Ok(encoder.forward(&x)?.mu))?;

    let (capacity, scale) = (Capacity::Compact, Scale::Full128);
    let critic = DiscriminatorConfig { channels: 1, width, classes: CLASSES, capacity, scale, initialization };
    let critic = Discriminator::new(&critic, vb.pp("critic"))?;
    clock.network(&mut table, "critic", || critic.forward(&x)?.value())?;
    clock.network(&mut table, "critic's input gradient", || critic.input_gradient(&x))?;

    let grey = uniform(0.0, 1)?;
    for kind in [LightCnnKind::Nine, LightCnnKind::TwentyNine] {
        let network = LightCnn::new(&LightCnnConfig { kind, width, classes: CLASSES }, vb.pp(kind))?;
        clock.network(&mut table, &kind.to_string(), || network.classify(&network.features(&grey)?))?;
    }

    // The first LightCNN layer before its pooling, in one op and in two: the ratio is what fusing gains.
    let filters = 2 * width.channels(48);
    let init = candle_nn::Init::Uniform { lo: -0.3, up: 0.3 };
    let weight = vb.pp("layer").get_with_hints((filters, 5, 5, 1), "weight", init)?;
    let bias = vb.pp("layer").get_with_hints(filters, "bias", candle_nn::Init::Const(0.0))?;
    clock.network(&mut table, "first layer, fused", || ops::conv_max_feature_map(&grey, &weight, &bias, 2, false))?;
    clock.network(&mut table, "first layer, two ops", || {
        ops::max_feature_map(&ops::conv2d(&grey, &weight, 1, 2)?, &bias)
    })?;
    Ok(table)
}

struct Clock<'a> {
    batch: usize,
    budget: Duration,
    device: &'a Device,
}

impl Clock<'_> {
    /// A line of the table.
    fn network(&self, table: &mut Table, name: &str, forward: impl Fn() -> Result<Tensor>) -> Result<()> {
        let alone = self.images_per_second(|| forward().map(drop))?;
        let with_gradients = self.images_per_second(|| forward()?.sqr()?.mean_all()?.backward().map(drop))?;
        table.row([name.to_owned(), format!("{alone:.0}"), format!("{with_gradients:.0}")]);
        Ok(())
    }

    /// After one run that warms caches up.
    fn images_per_second(&self, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
        run()?;
        self.device.synchronize()?;
        let (began, mut runs) = (Instant::now(), 0);
        while runs == 0 || began.elapsed() < self.budget {
            run()?;
            self.device.synchronize()?;
            runs += 1;
        }
        Ok((runs * self.batch) as f64 / began.elapsed().as_secs_f64())
    }
}
