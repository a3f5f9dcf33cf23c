//! `lookalike-client manifest`: the classes of a stream.

use clap::Args;
use client::flags::StreamFlags;
use client::manifest::{self, Class, Manifest, Parent};
use client::{Error, StreamSettings};
use command::Context;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Show how many classes a stream has, and list who they are
#[derive(Args)]
pub(crate) struct ListClasses {
    #[command(flatten)]
    stream: StreamFlags,
    /// Seed of the stream, which the blended people come from
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Stream")]
    seed: u64,
    /// List of all classes: a table for a name that ends in .csv, else a JSON object a line
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &ListClasses, json: bool, context: &Context) -> Result<(), Error> {
    let settings = args.stream.settings(args.seed)?;
    let settings = match args.stream.recipe(&context.settings)? {
        Some(recipe) => recipe.settings(settings),
        None => settings,
    };
    let found = match &args.out {
        None => manifest::read(&settings, &context.interrupt, |_| true)?,
        Some(path) => list(path, &settings, context)?,
    };
    if json {
        println!("{}", serde_json::to_string(&found).unwrap_or_default());
    } else {
        println!("{found}");
    }
    Ok(())
}

/// Writes a list that is either whole or not there.
fn list(path: &Path, settings: &StreamSettings, context: &Context) -> Result<Manifest, Error> {
    let is_table = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let (mut found, mut unread) = (None, None);
    let written = command::atomic_file::write_atomically(path, |file| {
        if is_table {
            writeln!(file, "class,shown,name,images,parents")?;
        }
        let mut full = Ok(());
        let read = manifest::read(settings, &context.interrupt, |class| {
            full = if is_table { write_cells(file, &class) } else { write_object(file, &class) };
            full.is_ok()
        });
        full?;
        match read {
            Ok(manifest) => found = Some(manifest),
            // A list that is not whole is not kept.
            Err(error) => {
                unread = Some(error);
                return Err(io::Error::other("not read to its end"));
            }
        }
        Ok(())
    });
    if let Some(error) = unread {
        return Err(error);
    }
    written?;
    command::say(format!("saved {}", path.display()));
    found.ok_or(Error::Lost)
}

fn write_object(file: &mut impl Write, class: &Class) -> io::Result<()> {
    serde_json::to_writer(&mut *file, class)?;
    writeln!(file)
}

fn write_cells(file: &mut impl Write, class: &Class) -> io::Result<()> {
    let parent = |parent: &Parent| format!("{}:{}", parent.identity, parent.weight);
    let parents: Vec<String> = class.parents.iter().map(parent).collect();
    let images = class.images.map(|images| images.to_string()).unwrap_or_default();
    let name = quoted(class.name.as_deref().unwrap_or_default());
    writeln!(file, "{},{},{name},{images},{}", class.class, class.shown, parents.join(" "))
}

/// A cell of a table: in quotation marks where it holds what separates cells.
fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.to_owned() }
}
