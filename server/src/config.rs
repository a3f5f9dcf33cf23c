//! The server's settings: one column, each with its reason.

use crate::access::AccessSettings;
use std::{ops::RangeInclusive, path::PathBuf};

/// The largest cache: a terabyte.
const MAX_MIB: usize = 1 << 20;

/// What is served, and how much of the machine it may take.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Real faces: a folder per identity, a tar of one, or `demo`
    #[arg(long, value_name = "PATH", default_value = "demo", help_heading = "Input")]
    pub data: String,

    /// The bundle to serve [default: the demo's, built in]
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub weights: Option<PathBuf>,

    /// How often to look whether the bundle's file is another one; 0 for only on SIGHUP or when asked [unit: seconds]
    // A look is one question to the file system.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=86_400), help_heading = "Input")]
    pub watch: u64,

    /// Bundles held at once: the newest, and older ones that streams still need
    // Two would do for streams that follow; a third is for those that stay.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = within(2..=64), help_heading = "Input")]
    pub max_bundles: usize,

    /// Likeness to the right people that a new bundle must reach on a probe set, as a share of that of the one in use; 0 for any
    #[arg(long, value_name = "SHARE", default_value_t = 0.8, value_parser = share, help_heading = "Input")]
    pub least_similarity: f64,

    /// Difference between images of one person that a new bundle must reach, as a share of that of the one in use
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share, help_heading = "Input")]
    pub least_diversity: f64,

    /// Difference between images of one person that a new bundle may reach, likewise
    #[arg(long, value_name = "SHARE", default_value_t = 2.0, value_parser = share, help_heading = "Input")]
    pub most_diversity: f64,

    /// Identities that are in no row, by name; the classes of all others stay
    // Removing a person must be one line of configuration.
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Input")]
    pub withhold: Vec<String>,

    /// Where the generator computes: cpu or cuda:N, or either with /bf16 behind it for half the digits; several of one kind share the work, as in cuda:0,cuda:1
    #[arg(long, value_name = "DEVICE", value_delimiter = ',', default_value = "cpu", value_parser = nets::device::named_with_numbers, help_heading = "Network")]
    pub device: Vec<String>,

    /// Rows the generator computes at a time [unit: images] [default: 16 on a processor, 64 on a GPU]
    // On a processor more rows bring little and make the others' turns longer; a GPU has more to do at once.
    #[arg(long, value_name = "N", value_parser = within(1..=1024), help_heading = "Network")]
    pub tile: Option<usize>,

    /// How long a tile may take before the device is believed to hang: the server then ends with an error; 0 for ever [unit: seconds]
    // A tile of the published networks takes a third of a second on two idle cores, and a trainer waits for
    // longer than this before it believes that its server hangs.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=86_400), help_heading = "Network")]
    pub device_timeout: u64,

    /// Decoded real images to keep [unit: MiB]
    // 32,000 grey or 10,000 colour images.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = within(0..=MAX_MIB), help_heading = "Serving")]
    pub gallery: usize,

    /// Finished batches to keep for trainers with the same spec [unit: MiB]
    // A hundred batches or so: trainers that share a stream drift apart by a few.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = within(0..=MAX_MIB), help_heading = "Serving")]
    pub shelf: usize,

    /// Batches made ahead for each stream
    // Two hide the assembly of one behind the generation of the next; four also hide decoding.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = within(1..=1024), help_heading = "Serving")]
    pub read_ahead: usize,

    /// Most memory for batches made ahead, all streams together; each of --max-streams has an equal part, and room for one batch in any case [unit: MiB]
    // 64 MiB for each of 64 streams: one of the largest batches, four of 1024 grey rows.
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = within(0..=MAX_MIB), help_heading = "Serving")]
    pub read_ahead_memory: usize,

    /// Streams sent at once; further ones are refused
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = within(1..=65_536), help_heading = "Serving")]
    pub max_streams: usize,

    /// Streams of one trainer sent at once; further ones are refused. Each unnamed stream counts as a trainer of its own
    // The ranks of one training share its name.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = within(1..=65_536), help_heading = "Serving")]
    pub max_streams_per_trainer: usize,

    /// Batches made ahead for one trainer, all its streams together; each stream is sent one more in any case
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = within(1..=65_536), help_heading = "Serving")]
    pub max_pending: usize,

    /// Shares of the generator by trainer's name, where they aren't 1: while all wait, one with 2 gets twice as many generated images
    #[arg(long, value_name = "NAME=SHARE", value_delimiter = ',', help_heading = "Serving")]
    pub share: Vec<Share>,

    /// Batches after which a stream ends with a place to go on at, so that trainers spread over servers that came since; 0 for never
    // Trainers ask again at once, so 256 of them cost nothing; a single server gains nothing by it.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Serving")]
    pub max_stream_batches: u64,

    /// Age at which a stream ends likewise, at its next batch; 0 for never [unit: seconds]
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=31_536_000), help_heading = "Serving")]
    pub max_stream_age: u64,

    /// How long streams may take to end at shutdown [unit: seconds]
    // Less than the 30 seconds after which Kubernetes kills.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, help_heading = "Serving")]
    pub grace: u64,

    /// Who may call, and how often.
    #[command(flatten)]
    pub access: AccessSettings,
}

/// A trainer's share of the generator.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Its name.
    pub trainer: String,
    /// 0.01 to 100.
    pub weight: f64,
}

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |(trainer, weight): (&str, &str)| {
            let weight = weight.parse::<f64>().ok().filter(|weight| (0.01..=100.0).contains(weight))?;
            (!trainer.is_empty()).then(|| Self { trainer: trainer.to_owned(), weight })
        };
        let expected = "expected a trainer's name and a share from 0.01 to 100, as in night-run=0.5";
        text.split_once('=').and_then(read).ok_or_else(|| format!("{expected}, found `{text}`"))
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.trainer, self.weight)
    }
}

impl Config {
    /// Rows that the generator computes at a time.
    pub fn tile(&self) -> usize {
        let on_gpu = self.device.iter().any(|name| nets::device::is_gpu(name));
        self.tile.unwrap_or(if on_gpu { 64 } else { 16 })
    }
}

impl Default for Config {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Defaults {
            #[command(flatten)]
            config: Config,
        }
        <Defaults as clap::Parser>::parse_from(["defaults"]).config
    }
}

/// Reads a number of a range. Every setting that becomes memory or threads has a largest value, so
/// that a slip of the finger is told at once and not by the machine's last words.
fn within(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {} to {}, found `{text}`", range.start(), range.end())),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1000.0).contains(&share) => Ok(share),
        _ => Err(format!("expected a number from 0 to 1000, found `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_suit_the_device_unless_they_are_set() {
        let tile = |device: &[&str], tile| {
            let device = device.iter().map(|&name| name.to_owned()).collect();
            Config { device, tile, ..Config::default() }.tile()
        };
        assert_eq!(tile(&["cpu"], None), 16);
        assert_eq!(tile(&["cpu/bf16"], None), 16);
        assert_eq!(tile(&["cuda:0/tf32", "cuda:1/tf32"], None), 64);
        assert_eq!(tile(&["cuda:0"], Some(8)), 8);
    }
}
