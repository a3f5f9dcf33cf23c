//! Where a report comes from: enough to make it again, and to see whether it was the same.

use crate::machine::{self, Machine};
use crate::report::markdown_table;
use crate::settings::Settings;
use crate::trainings::Record;
use crate::world::World;
use command::human;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// What a report was made of, by what, when and in what time.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Of this program.
    pub version: &'static str,
    /// As one types it.
    pub command: String,
    /// In UTC, when it was done.
    pub date: String,
    /// What computed.
    pub machine: Machine,
    /// Of this session.
    pub wall_seconds: f64,
    /// Of all trainings that are used, over all sessions that came to a good end.
    pub training_seconds: f64,
    /// Of the arms.
    pub seeds: Vec<u64>,
    /// Sets of images: what for, place, digest, people, images.
    pub data: Vec<Data>,
    /// Weights.
    pub trainings: Vec<Record>,
    /// As `--config` reads them.
    pub settings: String,
}

/// A set of images.
#[derive(Clone, Debug, Serialize)]
pub struct Data {
    /// What for.
    pub role: &'static str,
    /// Its place.
    pub path: String,
    /// BLAKE3 over its images.
    pub digest: String,
    /// How many.
    pub people: usize,
    /// How many.
    pub images: usize,
}

impl Provenance {
    /// Of the trainings that were used.
    pub fn new(
        experiment: &str,
        settings: &Settings,
        resolved: &command::Settings,
        world: &World,
        trainings: Vec<Record>,
        wall: Duration,
    ) -> Self {
        let data = |role, data: &dataset::Dataset| Data {
            role,
            path: data.path().display().to_string(),
            digest: data.digest().to_owned(),
            people: data.identities().len(),
            images: data.len(),
        };
        let mut sets = vec![data("training", &world.training), data("held out", &world.held_out)];
        sets.extend(world.pairs.as_ref().map(|pairs| data("pairs", pairs.dataset())));
        sets.extend(world.others.as_ref().map(|others| data("inception score", others)));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            command: format!("experiments {experiment}"),
            date: machine::now(),
            machine: Machine::here(),
            wall_seconds: wall.as_secs_f64(),
            training_seconds: trainings.iter().map(|record| record.seconds).sum(),
            seeds: settings.seeds().collect(),
            data: sets,
            trainings,
            settings: resolved.to_toml(),
        }
    }

    /// The last section of a report.
    pub fn to_markdown(&self) -> String {
        let duration = |seconds: f64| human::duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        let Machine { processor, cores, system } = &self.machine;
        let mut text = format!(
            "## How it was found\n\n`{}`, version {}, finished {} UTC on {cores} cores of {processor} ({system}). This \
             session took {}; the trainings that are used took {}, over all sessions that came to a good end. Seeds of \
             the arms: {}.\n\n",
            self.command,
            self.version,
            self.date,
            duration(self.wall_seconds),
            duration(self.training_seconds),
            self.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
        );
        let table = |header: &[&str], rows: Vec<Vec<String>>| {
            markdown_table(&header.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>(), &rows)
        };
        let data = self.data.iter().map(|data| {
            let (people, images) = (human::count(data.people as u64), human::count(data.images as u64));
            vec![data.role.to_owned(), format!("`{}`", data.path), people, images, short(&data.digest)]
        });
        let trainings = self.trainings.iter().map(|record| {
            let (seed, images) = (record.seed.to_string(), human::count(record.images));
            vec![record.name.clone(), seed, images, duration(record.seconds), short(&record.digest)]
        });
        // Writing to a string can't fail.
        let _ = writeln!(text, "{}\n", table(&["images", "place", "people", "images", "digest"], data.collect()));
        let header = ["training", "seed", "images seen", "time", "digest of its checkpoint"];
        let _ = writeln!(text, "{}\n", table(&header, trainings.collect()));
        let _ = writeln!(text, "Digests are the first 16 digits of BLAKE3; `report.json` has them whole. Settings:\n");
        let _ = write!(text, "```toml\n{}\n```", self.settings.trim_end());
        text
    }
}

fn short(digest: &str) -> String {
    format!("`{}`", digest.get(..16).unwrap_or(digest))
}
