//! Several processes of one output folder divide its trainings among them.
//!
//! The same command is started once more: on the same GPU, which one training of a narrow network doesn't fill, or
//! with another one visible. Whoever comes first to a training has its run directory's lock; the others take the
//! next that needs nothing unfinished, be it of an experiment that comes later, and wait where there is none. A process
//! that dies leaves its training to them. In the end each has all trainings, judges them and writes the report.

use crate::error::Result;
use crate::jobs::Job;
use crate::trainings::Trainings;
use command::RunDirectory;
use std::thread::sleep;
use std::time::Duration;

/// From one look at what others are at to the next.
const PAUSE: Duration = Duration::from_millis(500);

impl Trainings<'_> {
    /// Trains those of `jobs` that aren't finished, or waits for the processes that do, and does of `later` what it can in
    /// the meantime. Both are in an order in which they can be done, with all that they need.
    ///
    /// # Errors
    /// Whatever ends a training, [`crate::Error::Interrupted`].
    pub fn train(&self, jobs: &[Job], later: &[Job]) -> Result<()> {
        let (mut left, mut left_later): (Vec<&Job>, Vec<&Job>) = (jobs.iter().collect(), later.iter().collect());
        let mut told = false;
        loop {
            self.train_free(&mut left, usize::MAX)?;
            let Some(first) = left.first() else { return self.record_in_order(jobs) };
            if !told {
                command::say(format!("another process is at {}", first.name()));
                told = true;
            }
            if self.train_free(&mut left_later, 1)? == 0 {
                sleep(PAUSE);
            }
        }
    }

    /// Trains up to `most` of `jobs`, in their order, that no other process is at and that need nothing unfinished, and
    /// leaves those that aren't finished then. How many it trained.
    fn train_free(&self, jobs: &mut Vec<&Job>, most: usize) -> Result<usize> {
        let mut trained = 0;
        let mut left: Vec<&Job> = Vec::new();
        for &job in &*jobs {
            self.go_on("training")?;
            let needs = job.clone().with_needs();
            let waits = left.iter().any(|other| needs.iter().any(|need| need.name() == other.name()));
            if waits || RunDirectory::is_held(self.path(job))? {
                left.push(job);
            } else if !self.is_finished_now(job)? {
                if trained == most || !self.train_one(job)? {
                    left.push(job);
                } else {
                    trained += 1;
                }
            }
        }
        *jobs = left;
        Ok(trained)
    }

    /// Whether it came to its end. Another process may delete older checkpoints while they are looked through, as it
    /// finishes: then the next look finds the last one.
    fn is_finished_now(&self, job: &Job) -> Result<bool> {
        self.is_finished(job).or_else(|_| self.is_finished(job))
    }

    /// Whether it was trained here; if not, another process has just begun with it.
    fn train_one(&self, job: &Job) -> Result<bool> {
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
