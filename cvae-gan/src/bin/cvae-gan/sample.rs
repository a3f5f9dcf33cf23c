//! `cvae-gan sample`: a picture of faces made.

use clap::Args;
use command::WrongSetting;
use command::human::count;
use command::picture::Grid;
use cvae_gan::blended_people::BlendedPeople;
use cvae_gan::{Error, Trained};
use dataset::blended::Parent;
use nets::pixels::IMAGE_SIZE;
use std::path::PathBuf;

/// Images of one picture: half a gigabyte of pixels.
const MOST_IMAGES: usize = 10_000;

/// Draw faces of some identities, and of people blended from others: a row for each, a latent for each column
#[derive(Args)]
pub(crate) struct Sample {
    /// A run directory, a checkpoint or an exported bundle
    #[arg(value_name = "RUN|FILE")]
    weights: PathBuf,
    /// Identities by name, repeatable [default: the first --rows]
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    identity: Vec<String>,
    /// Identities, where none is named
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=1000), help_heading = "Output")]
    rows: u32,
    /// People blended from three others, in rows of their own: of those of --identity, or of all; --rows 0 leaves
    /// identities out
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000), help_heading = "Output")]
    blended: u32,
    /// How far these are led away from the average person: 0 not at all, 1 to the variance of one person
    #[arg(long, value_name = "POWER", default_value_t = 0.0, value_parser = dataset::blended::label::parse_spread, help_heading = "Output")]
    blended_spread: f64,
    /// Images of each
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Output")]
    columns: u32,
    /// Of the latents, and of who is blended from whom
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
    let (columns, people) = (sample.columns as usize, blended(sample, &classes, &trained)?);
    let rows = classes.len() + people.len();
    let images = rows * columns;
    if !(1..=MOST_IMAGES).contains(&images) {
        return Err(WrongSetting {
            setting: "people times --columns",
            expected: format!("1 to {} images", count(MOST_IMAGES as u64)),
            found: count(images as u64),
        }
        .into());
    }
    let title = format!("{} after {} images", sample.weights.display(), count(trained.images_seen));
    let name = |class: usize| trained.names[class].as_str();
    let of_parents = |parents: &[Parent]| {
        let parts = parents.iter().map(|parent| format!("{} {:.2}", name(parent.identity as usize), parent.weight));
        parts.collect::<Vec<_>>().join(", ")
    };
    let alone = classes.iter().map(|&class| name(class).to_owned());
    let captions: Vec<String> = alone.chain(people.iter().map(|parents| of_parents(parents))).collect();
    let mut grid = Grid::new(IMAGE_SIZE, trained.channels, columns)?.title(title).row_captions(captions);
    for &class in &classes {
        grid.push(&trained.sample(class, columns, sample.seed, 0)?)?;
    }
    for parents in &people {
        let label = trained.mixture(parents, sample.blended_spread)?;
        grid.push(&trained.sample_of(&label, columns, sample.seed, 0)?)?;
    }
    grid.render().save(&sample.out)?;
    if json {
        println!(
            "{}",
            serde_json::json!({ "out": sample.out.display().to_string(), "identities": classes.len(), "blended": people.len(), "images": images })
        );
    } else {
        let blended = if people.is_empty() { String::new() } else { format!(" and {} blended ones", people.len()) };
        println!("{images} images of {} identities{blended}: {}", classes.len(), sample.out.display());
    }
    Ok(())
}

/// The parents of each blended person.
fn blended(sample: &Sample, named: &[usize], trained: &Trained) -> Result<Vec<Vec<Parent>>, Error> {
    let mut others = if sample.identity.is_empty() { (0..trained.names.len()).collect() } else { named.to_vec() };
    others.sort_unstable();
    others.dedup();
    if sample.blended > 0 && others.len() < 2 {
        return Err(WrongSetting {
            setting: "blended",
            expected: "0 where there are no two people to blend".to_owned(),
            found: sample.blended.to_string(),
        }
        .into());
    }
    let people = (sample.blended > 0).then(|| BlendedPeople::new(sample.seed, others));
    Ok(people.iter().flat_map(|people| (0..sample.blended).map(|nth| people.parents(nth))).collect())
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
