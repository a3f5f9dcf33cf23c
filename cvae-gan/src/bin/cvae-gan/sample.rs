//! `cvae-gan sample`: a picture of faces made.

use clap::Args;
use command::WrongSetting;
use command::human::count;
use command::picture::Grid;
use cvae_gan::{Error, Trained};
use nets::pixels::IMAGE_SIZE;
use std::path::PathBuf;

/// Images of one picture: half a gigabyte of pixels.
const MOST_IMAGES: usize = 10_000;

/// Draw faces of some identities: a row for each, a latent for each column
#[derive(Args)]
pub(crate) struct Sample {
    /// A run directory, a checkpoint or an exported bundle
    #[arg(value_name = "RUN|FILE")]
    weights: PathBuf,
    /// Identities by name, repeatable [default: the first --rows]
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    identity: Vec<String>,
    /// Identities, where none is named
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "Output")]
    rows: u32,
    /// Images of each
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Output")]
    columns: u32,
    /// Of the latents
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Output")]
    seed: u64,
    /// Picture to write (PNG)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: PathBuf,
    /// What computes: cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = nets::device::named, help_heading = "Everywhere")]
    device: String,
}

pub(crate) fn run(sample: &Sample, json: bool) -> Result<(), Error> {
    let trained = Trained::open(&sample.weights, &nets::device::parse(&sample.device)?)?;
    let classes = classes(sample, &trained)?;
    let columns = sample.columns as usize;
    let images = classes.len() * columns;
    if images > MOST_IMAGES {
        return Err(WrongSetting {
            setting: "identities times --columns",
            expected: format!("at most {} images", count(MOST_IMAGES as u64)),
            found: count(images as u64),
        }
        .into());
    }
    let title = format!("{} after {} images", sample.weights.display(), count(trained.images_seen));
    let captions: Vec<&str> = classes.iter().map(|&class| trained.names[class].as_str()).collect();
    let mut grid = Grid::new(IMAGE_SIZE, trained.channels, columns)?.title(title).row_captions(captions);
    for &class in &classes {
        grid.push(&trained.sample(class, columns, sample.seed, 0)?)?;
    }
    grid.render().save(&sample.out)?;
    if json {
        println!(
            "{}",
            serde_json::json!({ "out": sample.out.display().to_string(), "identities": classes.len(), "images": images })
        );
    } else {
        println!("{images} images of {} identities: {}", classes.len(), sample.out.display());
    }
    Ok(())
}

fn classes(sample: &Sample, trained: &Trained) -> Result<Vec<usize>, Error> {
    if sample.identity.is_empty() {
        return Ok((0..trained.names.len().min(sample.rows as usize)).collect());
    }
    let class = |name: &String| {
        trained.names.iter().position(|other| other == name).ok_or_else(|| WrongSetting {
            setting: "identity",
            expected: format!("one of {} names such as {}", trained.names.len(), trained.names[0]),
            found: name.clone(),
        })
    };
    Ok(sample.identity.iter().map(class).collect::<Result<_, _>>()?)
}
