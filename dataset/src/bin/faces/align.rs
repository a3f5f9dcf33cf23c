//! `faces align`.

use std::path::PathBuf;

use clap::Args;
use command::human::{self, Table};
use command::{Context, Ending, Progress, WrongSetting};
use dataset::align::{AlignOptions, Plan, Summary, Take};
use nets::Mtcnn;
use nets::mtcnn::DetectorSettings;

use crate::{Failure, overlay};

/// Cut the faces out of photographs, upright and in one size, as everything else here expects them
///
/// MTCNN finds faces and five landmarks of each; a turn, a scale and a shift bring the eyes' midpoint to
/// (64, 40) of 128x128 pixels and the mouth's 48 pixels below. IN is a folder per identity, or flat; OUT
/// gets the same folders, and alignment.jsonl with a line for each photograph: boxes, landmarks, what was
/// taken, why nothing was. The same command goes on where it was stopped, and does new photographs only.
///
/// Example: faces align photos aligned --mtcnn facenet_pytorch-2.6.0-py3-none-any.whl --sheet sheet.png
#[derive(Args)]
pub(crate) struct AlignArgs {
    /// Photographs, JPEG or PNG: a folder per identity, or flat
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// A new folder for the aligned faces, or that of an earlier run to go on with
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Detector: the wheel of facenet-pytorch 2.6.0 as pip downloads it, or a folder with its pnet.pt, rnet.pt and onet.pt
    #[arg(long, value_name = "WHEEL|FOLDER", help_heading = "Network")]
    mtcnn: PathBuf,
    /// What computes: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = nets::device::named, help_heading = "Network")]
    device: String,
    /// Smallest face to look for; twice as large takes less than half the time [unit: pixels, 12 to 1000]
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Input",
        value_parser = clap::value_parser!(u32).range(12..=1000))]
    min_face: u32,
    /// How sure the detector must be of a face [0.7 to 1]
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, help_heading = "Input")]
    min_probability: f32,
    /// Whose face to take of several: largest or central
    #[arg(
        long,
        value_name = "WHICH",
        default_value_t,
        value_enum,
        hide_possible_values = true,
        help_heading = "Input"
    )]
    take: Take,
    /// Larger photographs are set aside; each thread needs some ten bytes for a pixel [unit: million pixels, 1 to 1000]
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Input",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_megapixels: u32,
    /// Write grey images instead of RGB
    #[arg(long, help_heading = "Output")]
    grey: bool,
    /// Format of the images: png or jpeg
    #[arg(
        long,
        value_name = "FORMAT",
        default_value_t,
        value_enum,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    format: crate::draw::Format,
    /// Also draw some photographs with boxes and landmarks beside the aligned faces into a PNG, those without or with several faces first
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    sheet: Option<PathBuf>,
}

impl AlignArgs {
    fn options(&self) -> Result<AlignOptions, Failure> {
        let detector = DetectorSettings { min_face: self.min_face as usize, ..DetectorSettings::default() };
        let least = detector.thresholds[2];
        if !(least..=1.0).contains(&self.min_probability) {
            let (expected, found) = (format!("{least} to 1"), self.min_probability.to_string());
            return Err(WrongSetting { setting: "--min-probability", expected, found }.into());
        }
        Ok(AlignOptions {
            detector,
            min_probability: self.min_probability,
            take: self.take,
            channels: if self.grey { 1 } else { 3 },
            encoding: self.format.encoding(),
            max_pixels: u64::from(self.max_megapixels) * 1_000_000,
        })
    }
}

pub(crate) fn run(args: &AlignArgs, dry_run: bool, json: bool, context: &Context) -> Result<Ending, Failure> {
    let options = args.options()?;
    let device =
        nets::device::parse(&args.device).map_err(nets::mtcnn::MtcnnError::from).map_err(dataset::Error::from)?;
    let (mtcnn, digest) = Mtcnn::open(&args.mtcnn, &device).map_err(dataset::Error::from)?;
    let plan = Plan::new(&args.input, &args.output, &options, &digest)?;
    if dry_run {
        context.settings.print()?;
        println!("\n# Photographs: {} to do, {} done", plan.left(), plan.done());
        return Ok(Ending::Done);
    }
    let (done, left) = (plan.done() as u64, plan.left() as u64);
    let progress = Progress::new("aligning", done + left, "photographs");
    progress.start_at(done);
    let summary = plan.run(&mtcnn, |_| {
        progress.advance(1);
        !context.interrupt.requested()
    })?;
    progress.finish();
    if let Some(path) = &args.sheet {
        overlay::save(&args.input, &args.output, &summary, options.max_pixels, path)?;
    }
    if json {
        let text = serde_json::to_string_pretty(&summary).map_err(std::io::Error::from);
        println!("{}", text.map_err(command::Error::writing("standard output"))?);
    } else {
        print(args, &summary);
    }
    if summary.left > 0 {
        command::say(format!(
            "stopped with {} photographs left; the same command goes on",
            human::count(summary.left as u64)
        ));
        return Ok(Ending::Interrupted);
    }
    Ok(Ending::Done)
}

fn print(args: &AlignArgs, summary: &Summary) {
    let count = |value: usize| human::count(value as u64);
    let mut table = Table::new(["from".to_owned(), args.input.display().to_string()]);
    table.row(["to".to_owned(), args.output.display().to_string()]);
    table.row(["photographs".to_owned(), count(summary.photographs)]);
    table.row(["aligned".to_owned(), count(summary.aligned)]);
    table.row(["  of them with several faces".to_owned(), count(summary.several_faces.len())]);
    table.row(["without a face".to_owned(), count(summary.no_face.len())]);
    table.row(["set aside".to_owned(), count(summary.unreadable.len() + summary.set_aside.len())]);
    table.row(["done by an earlier run".to_owned(), count(summary.done_before)]);
    println!("{table}");
    for line in summary.lines() {
        println!("{line}");
    }
}
