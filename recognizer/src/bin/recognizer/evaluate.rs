//! `recognizer evaluate`: figures on pairs, and figures of generated images.

use clap::Args;
use command::human::{Table, percent};
use command::{Context, Progress};
use dataset::{Dataset, OpenOptions};
use recognizer::evaluate::PairFigures;
use recognizer::generated::{self, Labelled};
use recognizer::metrics::Features;
use recognizer::{Error, PairSet, Recognizer};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Judge a recognizer on pairs of faces, or generated faces by a recognizer
#[derive(Args)]
#[command(group = clap::ArgGroup::new("judged").args(["pairs", "images"]).required(true).multiple(true))]
pub(crate) struct Evaluate {
    /// Recognizer: a checkpoint, a run directory, or published LightCNN weights (.pth.tar)
    #[arg(long, value_name = "FILE|RUN", help_heading = "Input")]
    weights: PathBuf,
    /// Pairs, the same person or not: a folder or tar with pairs.txt, that file in its folder, or demo:held-out
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    pairs: Option<PathBuf>,
    /// Another recognizer: is the difference on --pairs more than luck?
    #[arg(long, value_name = "FILE|RUN", requires = "pairs", help_heading = "Input")]
    against: Option<PathBuf>,
    /// Images to classify, generated or real: a folder per identity, a tar of one
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    images: Option<PathBuf>,
    /// Real images of the same identities to hold --images against; others in --images count as new people
    #[arg(long, value_name = "PATH", requires = "images", help_heading = "Input")]
    real: Option<PathBuf>,
    /// What computes: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = nets::device::named, help_heading = "Everywhere")]
    device: String,
}

/// Seed of the bootstrap: its intervals are the same each time.
const SEED: u64 = 1;

pub(crate) fn run(evaluate: &Evaluate, json: bool, context: &Context) -> Result<(), Error> {
    let device = nets::device::parse(&evaluate.device)?;
    let recognizer = recognizer::load(&evaluate.weights, &device)?;
    let card = &recognizer.card;
    let mut object = json!({
        "weights": evaluate.weights.display().to_string(),
        "architecture": card.config.kind,
        "width": card.config.width,
        "classes": card.config.classes,
        "images_seen": card.images_seen,
    });
    if !json {
        let config = &card.config;
        println!("{}: {} {}, {} classes", evaluate.weights.display(), config.kind, config.width, config.classes);
    }
    if let Some(path) = &evaluate.pairs {
        on_pairs(evaluate, path, &recognizer, &mut object, json, context)?;
    }
    if let Some(path) = &evaluate.images {
        on_images(path, evaluate.real.as_deref(), &recognizer, &mut object, json, context)?;
    }
    if json {
        println!("{object}");
    }
    Ok(())
}

fn on_pairs(
    evaluate: &Evaluate,
    path: &Path,
    recognizer: &Recognizer,
    object: &mut Value,
    json: bool,
    context: &Context,
) -> Result<(), Error> {
    let pairs = PairSet::open(path)?;
    if pairs.folds_overlap() {
        command::say("an identity stands in two folds: the standard error is too small");
    }
    let embed = |recognizer: &Recognizer| -> Result<Features, Error> {
        let progress = Progress::new("embedding", pairs.images() as u64, "images");
        let advance = |images| progress.advance(images);
        pairs.embed_unless(&context.interrupt, &recognizer.network, recognizer.device(), advance)
    };
    let features = embed(recognizer)?;
    let evaluation = pairs.judge(&features)?;
    object["pairs"] = json!(evaluation.pairs);
    object["accuracy"] = json!(evaluation.cosine.verification.accuracy);
    object["standard_error"] = json!(evaluation.cosine.verification.standard_error);
    object["cosine"] = json!(evaluation.cosine);
    object["euclidean"] = json!(evaluation.euclidean);
    if !json {
        let header = ["", "accuracy", "equal error rate", "area under curve", "true accepts at false accepts"];
        let mut table = Table::new(header);
        pair_row(&mut table, "cosine", &evaluation.cosine);
        pair_row(&mut table, "Euclidean", &evaluation.euclidean);
        println!("{} pairs of {}\n{table}", evaluation.pairs, path.display());
    }
    if let Some(other) = &evaluate.against {
        let comparison = pairs.compare(&embed(&recognizer::load(other, recognizer.device())?)?, &features, SEED)?;
        let difference = comparison.difference;
        object["against"] = json!({ "weights": other.display().to_string(), "gain": comparison });
        if !json {
            println!(
                "{:+.2} points over {} (95 % of resampled people: {:+.2} to {:+.2}; McNemar p = {:.2e})",
                100.0 * difference.mean,
                other.display(),
                100.0 * difference.interval.0,
                100.0 * difference.interval.1,
                comparison.mcnemar.p_value,
            );
        }
    }
    Ok(())
}

fn on_images(
    path: &Path,
    real: Option<&Path>,
    recognizer: &Recognizer,
    object: &mut Value,
    json: bool,
    context: &Context,
) -> Result<(), Error> {
    let (images, names) = embedded(path, recognizer, context)?;
    let Some(real) = real else {
        let known = generated::known_classes(recognizer, names.iter().map(String::as_str));
        let answers = generated::answers(recognizer, &images, &known)?;
        object["images"] = json!(answers);
        if !json {
            let top1 = answers.top1.map_or("none of its identities".to_owned(), percent);
            println!("{} images of {}", answers.images, path.display());
            println!("top-1 {top1}, inception score {:.3}", answers.inception_score);
        }
        return Ok(());
    };
    let (real_images, real_names) = embedded(real, recognizer, context)?;
    // Classes are those of the real images; others are new people, who must differ from these.
    let strangers = images.strangers(&names, &real_names)?;
    let images = images.renamed(&names, &real_names)?;
    if !strangers.labels().is_empty() {
        let new = generated::judge_new(&strangers, &real_images, real_names.len())?;
        object["new_identities"] = json!(new);
        if !json {
            let called = format!("people of {} who are not in {}", path.display(), real.display());
            println!("{}", new.line(&called));
        }
        if images.labels().is_empty() {
            return Ok(());
        }
    }
    let known = generated::known_classes(recognizer, real_names.iter().map(String::as_str));
    let (reference, held_out) = real_images.halves()?;
    let report = generated::judge(recognizer, &known, &images, &reference, &held_out)?;
    object["images"] = json!(report);
    if json {
        return Ok(());
    }
    println!("{} against half of {}\n{}", path.display(), real.display(), report.table("these"));
    Ok(())
}

/// Features of a data set, and the names of its classes.
fn embedded(path: &Path, recognizer: &Recognizer, context: &Context) -> Result<(Labelled, Vec<String>), Error> {
    let data = Dataset::open(path, &OpenOptions { decode_all: true, ..OpenOptions::default() })?;
    let images: Vec<usize> = (0..data.len()).collect();
    let labels = images.iter().map(|&image| data.image_identity(image) as u32).collect();
    let progress = Progress::new("embedding", images.len() as u64, "images");
    let advance = |images| progress.advance(images);
    let (network, device) = (&recognizer.network, recognizer.device());
    let features = recognizer::embed_unless(&context.interrupt, network, device, &data, &images, advance)?;
    let names = data.identities().iter().map(|identity| identity.name.clone()).collect();
    Ok((Labelled::new(features, labels)?, names))
}

fn pair_row(table: &mut Table, similarity: &str, figures: &PairFigures) {
    let verification = &figures.verification;
    let accepts = |at: &recognizer::metrics::roc::Acceptance| {
        format!("{} at {}", percent(at.true_accept_rate), at.false_accept_rate)
    };
    table.row([
        similarity.to_owned(),
        format!("{:.2} +- {:.2} %", 100.0 * verification.accuracy, 100.0 * verification.standard_error),
        percent(figures.equal_error_rate),
        format!("{:.4}", figures.area_under_curve),
        figures.acceptance.iter().map(accepts).collect::<Vec<_>>().join(", "),
    ]);
}
