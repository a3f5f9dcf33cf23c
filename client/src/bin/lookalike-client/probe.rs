//! `lookalike-client probe`: what a server sends, how fast, and whether it is what it was.

use crate::range::{self, Range};
use clap::Args;
use client::probe::{self, Album, Figures};
use client::recipe::Recipe;
use client::verify::{self, Expected};
use client::{Error, ServerUrl, StreamSettings};
use command::{Context, Ending};
use recognizer::BatchSource;
use std::path::{Path, PathBuf};

/// Digests that are kept to be compared: 32 bytes each.
const MOST_VERIFIED: u64 = 1 << 22;

/// Measure a stream, show what is in it, and prove that it is what it was
#[derive(Args)]
pub(crate) struct Probe {
    #[command(flatten)]
    range: Range,
    /// Compare every batch with what each server makes of it again; with a recipe, only compare its batches
    #[arg(long, value_name = "RECIPE", num_args = 0..=1, default_missing_value = READ, help_heading = "Input")]
    verify: Option<String>,
    /// Servers to compare with [default: those of --server]
    #[arg(long, value_name = "URL", value_delimiter = ',', requires = "verify", help_heading = "Input")]
    against: Vec<ServerUrl>,
    /// Picture of some people as they came: real, existing and blended
    #[arg(long, value_name = "PNG", help_heading = "Output")]
    save: Option<PathBuf>,
    /// Recipe of what was read, by which anybody with the same data and weights gets it again
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    recipe_out: Option<PathBuf>,
}

/// `--verify` without a recipe: what was read itself.
const READ: &str = "what-is-read";

pub(crate) fn run(args: &Probe, json: bool, context: &Context) -> Result<Ending, Error> {
    if let Some(recipe) = args.verify.as_ref().filter(|recipe| *recipe != READ) {
        verify_recipe(args, Path::new(recipe), json, context)?;
        return Ok(Ending::Done);
    }
    let (settings, recipe) = args.range.settings(context)?;
    let batches = settings.end.unwrap_or(u64::MAX) - settings.first;
    if args.verify.is_some() && batches > MOST_VERIFIED {
        return Err(Error::settings(format!("expected at most {MOST_VERIFIED} batches to verify, found {batches}")));
    }
    for (flag, path) in [("save", &args.save), ("recipe-out", &args.recipe_out)] {
        path.as_ref().map_or(Ok(()), |path| check_folder(flag, path))?;
    }
    let mut source = range::connect(settings.clone(), recipe.as_ref(), context)?;
    command::say(format!("{} batches of {}", command::human::count(batches), source.describe()));
    let mut album = Album::new(source.class_names(), source.channels());
    let mut digests = Vec::new();
    let figures = probe::run(&mut source, batches, &context.interrupt, |received| {
        if args.save.is_some() {
            album.add(received);
        }
        if args.verify.is_some() {
            digests.push(received.digest);
        }
    })?;
    let read = Recipe::of(&source.current_place(), figures.first, figures.batches, figures.digest.clone());
    drop(source);
    let verified = match &args.verify {
        None => Ok(Vec::new()),
        Some(_) => verify(args, &read, &digests, recipe.as_ref(), &settings, context),
    };
    // First, because what follows may fail where measuring has not.
    print(&figures, verified.as_ref().map_or(&[], Vec::as_slice), json);
    if let Some(path) = &args.save {
        let bundle: String = figures.bundle.chars().take(12).collect();
        let title = format!("{}, seed {}, bundle {bundle}", read.spec.mix, read.spec.seed);
        album.picture(&title)?.save(path)?;
        command::say(format!("saved {}", path.display()));
    }
    if let Some(path) = &args.recipe_out {
        read.write(path)?;
        command::say(format!("wrote the recipe {}", path.display()));
    }
    verified?;
    Ok(if figures.interrupted { Ending::Interrupted } else { Ending::Done })
}

/// Holds what was read against the recipe that asked for it, and against servers; names those.
fn verify(
    args: &Probe,
    read: &Recipe,
    digests: &[[u8; 32]],
    asked: Option<&Recipe>,
    settings: &StreamSettings,
    context: &Context,
) -> Result<Vec<String>, Error> {
    if let Some(asked) = asked.filter(|asked| asked.range != read.range) {
        let (expected, found) = (&asked.range.digest, &read.range.digest);
        return Err(Error::Differs(format!(
            "what was read differs from the recipe: expected digest {expected} over {} batches, found {found} over {}",
            asked.range.count, read.range.count
        )));
    }
    each_server(args, |server| verify::against(server, read, Expected::Each(digests), settings, &context.interrupt))
}

/// Compares a recipe's batches as each server makes them; none is sent whole.
fn verify_recipe(args: &Probe, path: &Path, json: bool, context: &Context) -> Result<(), Error> {
    for flag in [("save", args.save.is_some()), ("recipe-out", args.recipe_out.is_some())] {
        if let (flag, true) = flag {
            return Err(Error::settings(format!("expected --verify RECIPE without --{flag}, as no image is read")));
        }
    }
    if let Some(flag) = context.settings.flags_under("Stream").next() {
        return Err(Error::settings(format!("expected --verify RECIPE without --{flag}: the recipe says it")));
    }
    let recipe = Recipe::read(path)?;
    let settings = args.range.stream.settings(args.range.seed)?;
    let verified = each_server(args, |server| {
        verify::against(server, &recipe, verify::beside(path)?, &settings, &context.interrupt)
    })?;
    let (count, digest) = (recipe.range.count, &recipe.range.digest);
    if json {
        let verdict = serde_json::json!({ "batches": count, "digest": digest, "verified": verified });
        println!("{verdict}");
    } else {
        let count = command::human::count(count);
        println!("{} from {}: {count} batches, digest {digest}", sameness(), verified.join(", "));
    }
    Ok(())
}

fn sameness() -> &'static str {
    "the same to the byte"
}

fn each_server(args: &Probe, verify: impl Fn(&ServerUrl) -> Result<(), Error>) -> Result<Vec<String>, Error> {
    let servers = if args.against.is_empty() { &args.range.stream.server } else { &args.against };
    servers.iter().map(|server| verify(server).map(|()| server.to_string())).collect()
}

fn print(figures: &Figures, verified: &[String], json: bool) {
    if !json {
        println!("{figures}");
        if !verified.is_empty() {
            println!("{} when made again by {}", sameness(), verified.join(", "));
        }
        return;
    }
    // A plain struct of numbers and texts always has a JSON form.
    let mut object = serde_json::to_value(figures).unwrap_or_default();
    if !verified.is_empty() {
        object["verified"] = verified.into();
    }
    println!("{object}");
}

/// Refuses a file that has no folder to be saved in before anything is measured in vain.
fn check_folder(flag: &str, file: &Path) -> Result<(), Error> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if file.is_dir() || !folder.is_dir() {
        let found = file.display();
        return Err(Error::settings(format!("expected a file in a folder that is there for --{flag}, found {found}")));
    }
    Ok(())
}
