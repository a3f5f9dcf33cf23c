use std::path::PathBuf;

use serde::Serialize;

use crate::{Ending, RunDirectory, human};

/// How a training ended. `Judged` is what was measured at its end, if it measures anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<Judged = ()> {
    /// How far it came.
    pub images_seen: u64,
    /// Whether it was asked to stop before its end.
    pub interrupted: bool,
    /// Its last checkpoint.
    pub checkpoint: PathBuf,
    /// At its end.
    pub evaluation: Judged,
}

impl<Judged: Serialize> Outcome<Judged> {
    /// Says how it ended on standard output, in one line or with `json` as one object.
    pub fn report(&self, run: &RunDirectory, json: bool) -> Ending {
        let seen = human::count(self.images_seen);
        if json {
            let object = serde_json::json!({
                "run": run.path().display().to_string(),
                "checkpoint": self.checkpoint.display().to_string(),
                "images_seen": self.images_seen,
                "interrupted": self.interrupted,
                "evaluation": self.evaluation,
            });
            println!("{object}");
        } else if self.interrupted {
            println!("stopped after {seen} images; go on with --resume {}", run.path().display());
        } else {
            println!("trained for {seen} images: {}", self.checkpoint.display());
        }
        if self.interrupted { Ending::Interrupted } else { Ending::Done }
    }
}
