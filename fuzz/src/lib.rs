//! Every decoder of what comes from outside, fed what nobody would write.
//!
//! A file, a request or an answer from another program may be anything. Whatever it is, a decoder
//! takes it or refuses it: it never panics, never hangs, and takes no more memory than in proportion
//! to what it was given. Each of [`TARGETS`] is one decoder behind one function of bytes:
//!
//! - [`weights`]: checkpoints, recognizers and bundles; PyTorch's two containers and their pickles;
//! - [`faces`]: tar archives, JPEG and PNG images, pairs;
//! - [`photographs`]: photographs to be aligned, the detector's wheel, the journal of an earlier run;
//! - [`requests`]: everything that a trainer can ask a server;
//! - [`answers`]: everything that a server can tell a trainer, the place in a checkpoint, and recipes;
//! - [`settings`]: settings files, and the files of a run directory.
//!
//! Where a checksum would turn every change away, the function puts it right again, so that what lies
//! behind it is reached as by somebody who means harm.
//!
//! The functions are called in two ways. The ordinary tests replay the small corpus that is kept in
//! `corpus/`, and some thousand changes by [`mutate`] of what [`seeds`](Target::seeds) makes. The
//! program `fuzz`, which `fuzz/run` builds and starts, searches on with libFuzzer as long as one
//! likes. Both count, with [`memory`], what an input takes.

pub mod answers;
pub mod faces;
pub mod memory;
pub mod mutate;
pub mod photographs;
pub mod requests;
mod scratch;
pub mod settings;
#[path = "../../server/tests/it/stand_ins.rs"]
#[allow(dead_code, reason = "the server's own tests need more of them")]
mod stand_ins;
pub mod weights;

/// One decoder.
pub struct Target {
    /// As `fuzz/run` and the folders of the corpus name it.
    pub name: &'static str,
    /// Decodes, checks what was accepted, and says whether anything was.
    pub run: fn(&[u8]) -> bool,
    /// Inputs made by code, the first of them valid.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes of memory that it may take for each byte of input,
    pub per_byte: usize,
    /// and besides.
    pub fixed: usize,
}

const MIB: usize = 1 << 20;

/// All decoders.
pub const TARGETS: &[Target] = &[
    Target { name: "checkpoint", run: weights::checkpoint, seeds: weights::checkpoints, per_byte: 32, fixed: MIB },
    Target { name: "bundle", run: weights::bundle, seeds: weights::bundles, per_byte: 64, fixed: 64 * MIB },
    Target { name: "legacy", run: weights::legacy, seeds: weights::legacies, per_byte: 96, fixed: MIB },
    Target { name: "pickle", run: weights::pickle, seeds: weights::pickles, per_byte: 256, fixed: MIB },
    Target { name: "archive", run: faces::archive, seeds: faces::archives, per_byte: 64, fixed: 2 * MIB },
    Target { name: "image", run: faces::image, seeds: faces::images, per_byte: 64, fixed: 4 * MIB },
    Target { name: "pairs", run: faces::pairs, seeds: faces::pair_lists, per_byte: 128, fixed: MIB },
    Target {
        name: "photograph",
        run: photographs::photograph,
        seeds: photographs::photographs,
        per_byte: 64,
        fixed: 32 * MIB,
    },
    Target { name: "wheel", run: photographs::wheel, seeds: photographs::wheels, per_byte: 512, fixed: 128 * MIB },
    Target {
        name: "alignment",
        run: photographs::alignment,
        seeds: photographs::alignments,
        per_byte: 128,
        fixed: MIB,
    },
    Target { name: "request", run: requests::request, seeds: requests::seeds, per_byte: 256, fixed: 16 * MIB },
    Target { name: "answers", run: answers::answers, seeds: answers::seeds, per_byte: 128, fixed: MIB },
    Target { name: "place", run: answers::place, seeds: answers::places, per_byte: 128, fixed: 8 * MIB },
    Target { name: "recipe", run: answers::recipe, seeds: answers::recipes, per_byte: 512, fixed: MIB },
    Target { name: "settings", run: settings::settings, seeds: settings::seeds, per_byte: 512, fixed: 4 * MIB },
    Target { name: "run", run: settings::run, seeds: settings::runs, per_byte: 512, fixed: 4 * MIB },
];

/// The decoder of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
