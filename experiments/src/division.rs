//! Several processes of one output folder divide its trainings among them.
//!
//! The same command is started once more: on the same GPU, which one training of a small network doesn't fill, or
//! with another one visible. Whoever comes first to a training has its run directory's lock; the others take the
//! next that needs nothing unfinished, and wait where there is none. A process that dies leaves its training to
//! them. In the end each has all trainings, and writes the same report.

use crate::error::Result;
use crate::jobs::Job;
use crate::trainings::Trainings;
use command::RunDirectory;
use std::thread::sleep;
use std::time::Duration;

/// From one look at what others are at to the next.
const PAUSE: Duration = Duration::from_millis(500);

impl Trainings<'_> {
    /// Trains those of `jobs` that aren't finished, or waits for the processes that do. They are in an order in which
    /// they can be done, with all that they need.
    ///
    /// # Errors
    /// Whatever ends a training, [`crate::Error::Interrupted`].
    pub fn train(&self, jobs: &[Job]) -> Result<()> {
        let mut left: Vec<&Job> = jobs.iter().collect();
        let mut told = false;
        loop {
            let before = left.len();
            let mut others: Vec<&Job> = Vec::new();
            for job in left {
                self.go_on("training")?;
                let waits =
                    job.clone().with_needs().iter().any(|need| others.iter().any(|job| job.name() == need.name()));
                if waits || !self.train_here(job)? {
                    others.push(job);
                }
            }
            let Some(first) = others.first() else { return self.record_in_order(jobs) };
            if others.len() == before {
                if !told {
                    command::say(format!("waiting for another process, which is at {}", first.name()));
                    told = true;
                }
                sleep(PAUSE);
            } else {
                told = false;
            }
            left = others;
        }
    }

    /// Whether it is finished now; if not, another process is at it.
    fn train_here(&self, job: &Job) -> Result<bool> {
        if RunDirectory::is_held(self.path(job))? {
            return Ok(false);
        }
        if self.is_finished(job)? {
            return Ok(true);
        }
        let trained = match job {
            Job::Recognizer(job) => self.recognizer(job).map(|_| ()),
            Job::Generator(job) => self.generator(job).map(|_| ()),
        };
        match trained {
            Ok(()) => Ok(true),
            Err(error) if error.is_of_another_process() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
