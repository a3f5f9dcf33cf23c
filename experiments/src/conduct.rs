//! Experiments from settings to their reports.

use crate::calibration::{Foretold, foretell};
use crate::error::Result;
use crate::experiment::Experiment;
use crate::jobs::{Job, in_order};
use crate::plan::Plan;
use crate::report::{Bench, MARKDOWN, Provenance, Report};
use crate::settings::Settings;
use crate::trainings::Trainings;
use crate::world::World;
use command::atomic_file::write_atomically;
use command::{Interrupt, human};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Of the page that lists the reports of `experiments all`.
const INDEX: &str = "index.md";

/// What one run of the program does.
pub struct Conduct<'a> {
    /// Which experiments, in order.
    pub experiments: &'a [Experiment],
    /// How.
    pub settings: &'a Settings,
    /// The same as the command line gave them.
    pub resolved: &'a command::Settings,
    /// Looked at throughout.
    pub interrupt: &'a Interrupt,
}

/// What came out.
pub struct Conducted {
    /// For people: findings, and where the reports are.
    pub text: String,
    /// For programs: the reports themselves.
    pub json: Value,
}

impl Conduct<'_> {
    /// Writes the plan, trains what is missing, judges, reports.
    ///
    /// # Errors
    /// Settings that can't work, a folder of another plan, whatever ends a training, Ctrl-C.
    pub fn run(&self) -> Result<Conducted> {
        let Self { experiments, settings, resolved, interrupt } = *self;
        let world = self.world()?;
        Plan::new(settings, resolved, &world)?.claim(&settings.out)?;
        let device = nets::device::parse_with_numbers(&settings.device)?.device;
        let (mut text, mut reports) = (String::new(), serde_json::Map::new());
        let mut index = Vec::new();
        for (nth, &experiment) in experiments.iter().enumerate() {
            let began = Instant::now();
            let later = self.jobs(&experiments[nth + 1..], &world)?;
            // Each notes the trainings that it used itself.
            let trainings = Trainings::new(&settings.out, &world, device.clone(), interrupt);
            trainings.train(&experiment.jobs(settings, &world)?, &later)?;
            let report = experiment.run(&Bench { settings, world: &world, trainings: &trainings })?;
            let records = trainings.records();
            let provenance = Provenance::new(experiment.name(), settings, resolved, &world, records, began.elapsed());
            let place = report.save(&settings.out.join(experiment.name()), &provenance)?;
            // Writing to a string can't fail.
            let _ = writeln!(text, "{}", report.title());
            report.findings().iter().for_each(|finding| {
                let _ = writeln!(text, "  - {finding}.");
            });
            let _ = writeln!(text, "  {}", place.display());
            reports.insert(experiment.name().to_owned(), report.to_json(&provenance));
            index.push((experiment, report));
        }
        if experiments.len() > 1 {
            let place = self.save_index(&index)?;
            let _ = writeln!(text, "{}", place.display());
        }
        Ok(Conducted { text: text.trim_end().to_owned(), json: Value::Object(reports) })
    }

    /// The plan, what of it is done, and how long the rest will take; leaves nothing behind.
    ///
    /// # Errors
    /// Settings that can't work, a folder of another plan.
    pub fn foretell(&self) -> Result<Conducted> {
        let Self { experiments, settings, resolved, interrupt } = *self;
        let world = self.world()?;
        Plan::new(settings, resolved, &world)?.check(&settings.out)?;
        let device = nets::device::parse_with_numbers(&settings.device)?.device;
        let trainings = Trainings::new(&settings.out, &world, device, interrupt);
        let foretold = foretell(&self.jobs(experiments, &world)?, &world, &trainings)?;
        let all = foretold.iter();
        let remaining: f64 = all.filter(|training| !training.finished).map(|training| training.seconds).sum();
        let duration = |seconds: f64| human::duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        let mut text = format!("{}\n# Trainings\n", resolved.to_toml());
        for Foretold { line, finished, seconds } in &foretold {
            let time = if *finished { "done".to_owned() } else { duration(*seconds) };
            let _ = writeln!(text, "# {line}: {time}");
        }
        let _ = write!(
            text,
            "#\n# {} trainings; {} for those that aren't done, as fast as this machine is now, and some more for judging",
            foretold.len(),
            duration(remaining)
        );
        let trainings: Vec<Value> = foretold
            .iter()
            .map(|Foretold { line, finished, seconds }| {
                serde_json::json!({ "training": line, "finished": finished, "seconds": seconds })
            })
            .collect();
        let json = serde_json::json!({
            "settings": resolved.to_toml(),
            "trainings": trainings,
            "remaining_seconds": remaining,
        });
        Ok(Conducted { text, json })
    }

    /// What some of the experiments train, each once, in an order in which it can be done.
    fn jobs(&self, experiments: &[Experiment], world: &World) -> Result<Vec<Job>> {
        let jobs = experiments.iter().map(|experiment| experiment.jobs(self.settings, world));
        Ok(in_order(jobs.collect::<Result<Vec<_>>>()?.into_iter().flatten()))
    }

    fn world(&self) -> Result<World> {
        self.settings.check()?;
        let world = World::open(self.settings, self.interrupt)?;
        if self.experiments.iter().any(|experiment| experiment.needs_pairs()) {
            world.pairs()?;
        }
        Ok(world)
    }

    fn save_index(&self, reports: &[(Experiment, Report)]) -> Result<PathBuf> {
        let mut text = "# Experiments\n".to_owned();
        for (experiment, report) in reports {
            // Writing to a string can't fail.
            let _ = writeln!(text, "\n## [{}]({}/{MARKDOWN})\n", report.title(), experiment.name());
            for finding in report.findings() {
                let _ = writeln!(text, "- {finding}.");
            }
        }
        let _ = writeln!(text, "\nWhat was decided before anything ran: [plan.toml]({}).", crate::plan::FILE);
        let place = self.settings.out.join(INDEX);
        write_atomically(&place, |file| file.write_all(text.as_bytes()))?;
        Ok(place)
    }
}
