//! The settings of access: one column, each with its reason.

use std::path::PathBuf;

/// Who may call, and how much of the server one caller may take.
#[derive(Clone, Debug, clap::Args)]
pub struct AccessSettings {
    /// Tokens that calls must carry, as `lookalike-server token` makes them; read again when the file changes and on SIGHUP [default: none are asked for]
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub tokens: Option<PathBuf>,

    /// Connections at once; further ones are closed
    // A trainer holds one, two while it changes servers.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Access")]
    pub max_connections: u32,

    /// Calls under way at once on one connection; further ones wait at the caller's end
    // Several trainers of one process may share a connection.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Access")]
    pub max_calls_per_connection: u32,

    /// Calls of one trainer, or without tokens of one machine, five times as many in a burst; 0 for any number [unit: calls/s]
    // A trainer makes a handful of calls when it begins, then one in ten seconds.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=1_000_000), help_heading = "Access")]
    pub max_call_rate: u32,
}

impl Default for AccessSettings {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Defaults {
            #[command(flatten)]
            settings: AccessSettings,
        }
        <Defaults as clap::Parser>::parse_from(["defaults"]).settings
    }
}
