//! `lookalike-server token`.

use clap::Args;
use command::say;
use server::access::tokens::{Fresh, Role, trainer_name};
use std::{io::Write, path::PathBuf};

/// For whom, and where to keep it.
#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    /// Whose it is: the trainer's name for fair shares and metrics, of letters, digits, ., - and _
    #[arg(long, value_name = "NAME", value_parser = trainer_name, help_heading = "Access")]
    name: String,
    /// What it is good for: trainer (everything but administration) or admin (everything)
    #[arg(
        long,
        value_name = "ROLE",
        default_value = "trainer",
        value_enum,
        hide_possible_values = true,
        help_heading = "Access"
    )]
    role: Role,
    /// File for the token, which its owner alone can read; it must not be there yet. Standard output gets the line for the server's --tokens
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: PathBuf,
}

/// Writes the token to its file, and the line that makes a server know it to standard output.
pub(crate) fn run(args: &TokenArgs) -> Result<(), Box<dyn std::error::Error>> {
    let Fresh { token, line } = Fresh::new(args.role, &args.name)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&args.out).and_then(|mut file| {
        writeln!(file, "{token}")?;
        file.sync_all()
    });
    written.map_err(command::Error::writing(&args.out))?;
    println!("{line}");
    let path = args.out.display();
    say(format!("the token is in {path}, for --token-file; add the line above to the server's --tokens"));
    Ok(())
}
