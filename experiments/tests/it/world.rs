//! Settings so small that every experiment takes seconds.

use clap::Parser;
use command::Interrupt;
use experiments::Settings;
use experiments::trainings::Trainings;
use experiments::world::World;
use std::path::Path;

/// Four people to train on, six images each; others to judge by.
pub(crate) const TINY: [&str; 32] = [
    "--data",
    "demo:identities=4,images=6",
    "--pairs",
    "demo:identities=6,images=3,first=1000",
    "--arch",
    "lightcnn-9",
    "--width",
    "tiny",
    "--recognizer-images",
    "16",
    "--batch",
    "8",
    "--seeds",
    "1",
    "--generator-width",
    "tiny",
    "--generator-images",
    "32",
    "--identity-width",
    "tiny",
    "--identity-images",
    "16",
    "--judge-arch",
    "lightcnn-9",
    "--judge-width",
    "tiny",
    "--judge-images",
    "16",
    "--per-identity",
    "3",
    "--blended-people",
    "5",
];

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

/// [`TINY`], and what else is given, into a folder.
pub(crate) fn settings(out: &Path, more: &[&str]) -> Settings {
    let out = out.to_str().unwrap();
    let given = ["experiments", "--out", out].into_iter().chain(TINY).chain(more.iter().copied());
    Cli::parse_from(given).settings
}

pub(crate) fn open(settings: &Settings) -> World {
    World::open(settings, &Interrupt::new()).unwrap()
}

pub(crate) fn trainings<'a>(settings: &Settings, world: &'a World, interrupt: &'a Interrupt) -> Trainings<'a> {
    Trainings::new(&settings.out, world, candle_core::Device::Cpu, interrupt)
}
