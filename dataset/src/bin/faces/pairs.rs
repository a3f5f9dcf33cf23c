//! `faces pairs`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use command::atomic_file::write_atomically;
use dataset::pairs::{Request, make};
use dataset::{Dataset, OpenOptions};

use crate::Failure;

#[derive(Args)]
pub(crate) struct PairsArgs {
    /// A folder per identity, a tar of one, or demo
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The pairs file to write, best the folder's own pairs.txt; without it the pairs go to standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Another seed gives other folds and pairs
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Input")]
    seed: u64,
    /// Folds, no identity in two of them [default: 10, or as many as the identities allow]
    #[arg(long, value_name = "N", help_heading = "Input")]
    folds: Option<usize>,
    /// Same pairs in each fold, and as many different ones [default: 300, or as many as the images allow]
    #[arg(long, value_name = "N", help_heading = "Input")]
    pairs: Option<usize>,
}

pub(crate) fn run(args: &PairsArgs, json: bool) -> Result<(), Failure> {
    let set = Dataset::open(&args.path, &OpenOptions::default())?;
    let list = make(&set, &Request { folds: args.folds, pairs: args.pairs }, args.seed)?;
    let text = list.to_string();
    let each = list.folds.first().map_or(0, Vec::len) / 2;
    match &args.out {
        Some(out) => write_atomically(out, |file| file.write_all(text.as_bytes()))?,
        None if !json => print!("{text}"),
        None => {}
    }
    if json {
        let out = args.out.as_ref().map(|out| out.display().to_string());
        let pairs = out.is_none().then_some(text);
        println!(
            "{}",
            serde_json::json!({ "folds": list.folds.len(), "pairs_each": each, "out": out, "pairs": pairs })
        );
    } else {
        command::say(format!("{} folds of {each} same and {each} different pairs", list.folds.len()));
    }
    Ok(())
}
