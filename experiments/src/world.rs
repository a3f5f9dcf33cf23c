//! The images: what trains, what is held out, who is judged.

use crate::error::Result;
use crate::settings::Settings;
use command::{Interrupt, WrongUse};
use dataset::{Dataset, OpenOptions, split};
use nets::chance::Chance;
use recognizer::PairSet;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Of which images are held out, and of which few remain.
const SEED: u64 = 1;

/// All images of an output folder.
pub struct World {
    /// Whatever is trained is trained on these, or on some of them.
    pub training: Arc<Dataset>,
    /// Other images of the same people, on which nothing is trained.
    pub held_out: Arc<Dataset>,
    /// Pairs of people on whom nothing is trained.
    pub pairs: Option<PairSet>,
    /// Other people yet, for the network of the inception score.
    pub others: Option<Arc<Dataset>>,
}

/// Which images of the data something is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All but those that are held out.
    Training,
    /// So many of each person, of those.
    Few(u32),
    /// Those of [`World::others`].
    Others,
}

impl World {
    /// Opens, splits and checks.
    ///
    /// # Errors
    /// No data there, fewer than two people, somebody with a single image, people who are trained on
    /// among those of the pairs, pairs that can't be judged.
    pub fn open(settings: &Settings, interrupt: &Interrupt) -> Result<Self> {
        let options = OpenOptions { channels: settings.channels, decode_all: true, ..OpenOptions::default() };
        let data = Dataset::open(&settings.data, &options)?;
        for line in data.report().lines() {
            command::say(format!("{}: {line}", settings.data.display()));
        }
        if data.identities().len() < 2 {
            let found = data.identities().len();
            return Err(refusal(settings, format!("expected at least 2 people to tell apart, found {found}")));
        }
        if let Some(lonely) = data.identities().iter().find(|identity| identity.images < 2) {
            let what = "expected at least 2 images of each person, one to train on and one to judge by";
            return Err(refusal(settings, format!("{what}, found 1 of {}", lonely.name)));
        }
        if data.identities().iter().all(|identity| identity.images < 3) {
            let what =
                "expected at least 3 images of somebody, two to train on and one to judge by, found 2 of everybody";
            return Err(refusal(settings, what.to_owned()));
        }
        let parts = split::by_image(&data, settings.held_out_share, SEED)?;
        let mut to_train_on = vec![0; data.identities().len()];
        parts.train.iter().for_each(|&image| to_train_on[data.image_identity(image)] += 1);
        if to_train_on.iter().all(|&images| images < 2) {
            let what = format!("a held-out share of {} leaves 1 to train on", settings.held_out_share);
            return Err(refusal(settings, format!("expected at least 2 images of somebody to train on, but {what}")));
        }
        let pairs = settings.pairs.as_ref().map(PairSet::open).transpose()?;
        if let Some(pairs) = &pairs {
            check_strangers(settings, &data, pairs.dataset(), "pairs")?;
            pairs.check(interrupt)?;
        }
        let others = settings.inception_data.as_ref().map(|path| Dataset::open(path, &options)).transpose()?;
        if let Some(others) = &others {
            check_strangers(settings, &data, others, "inception-data")?;
            if others.identities().len() < 2 {
                let what = "expected at least 2 people in inception-data, to be told apart, found 1";
                return Err(refusal(settings, what.to_owned()));
            }
        }
        Ok(Self {
            training: Arc::new(data.subset(&parts.train)?),
            held_out: Arc::new(data.subset(&parts.held_out)?),
            pairs,
            others: others.map(Arc::new),
        })
    }

    /// The images of a part. Of somebody who has fewer than asked for, all.
    ///
    /// # Errors
    /// Only of [`Part::Others`] where there are none.
    pub fn part(&self, part: Part) -> Result<Arc<Dataset>> {
        match part {
            Part::Training => Ok(self.training.clone()),
            Part::Others => Ok(self.others.clone().ok_or_else(|| WrongUse("expected --inception-data".to_owned()))?),
            Part::Few(count) => {
                let few = |identity: &dataset::Identity| -> Vec<usize> {
                    let order = Chance::new(SEED, &format!("experiments/few images of {}", identity.name))
                        .permutation(identity.images as u64);
                    let count = u64::from(count).min(identity.images as u64);
                    (0..count).map(|nth| identity.first_image + order.get(nth) as usize).collect()
                };
                let images: Vec<usize> = self.training.identities().iter().flat_map(few).collect();
                Ok(Arc::new(self.training.subset(&images)?))
            }
        }
    }

    /// Most images of a person to train on.
    pub fn most_images(&self) -> usize {
        self.training.identities().iter().map(|identity| identity.images).max().unwrap_or(0)
    }

    /// People of the data.
    pub fn people(&self) -> usize {
        self.training.identities().len()
    }

    /// The pairs, for an experiment that can't do without.
    ///
    /// # Errors
    /// None were named.
    pub fn pairs(&self) -> Result<&PairSet> {
        let missing =
            || WrongUse("expected --pairs, people to judge by on whom nothing is trained; found none".to_owned());
        Ok(self.pairs.as_ref().ok_or_else(missing)?)
    }
}

fn refusal(settings: &Settings, what: String) -> crate::Error {
    WrongUse(format!("{}: {what}", settings.data.display())).into()
}

/// What is judged on people who were trained on flatters.
fn check_strangers(settings: &Settings, data: &Dataset, others: &Dataset, setting: &str) -> Result<()> {
    let names: BTreeSet<&str> = data.identities().iter().map(|identity| identity.name.as_str()).collect();
    let both: Vec<&str> =
        others.identities().iter().map(|identity| identity.name.as_str()).filter(|name| names.contains(name)).collect();
    let expected = format!("expected other people in --{setting} {}", others.path().display());
    if let Some(first) = both.first() {
        return Err(refusal(settings, format!("{expected}, found {} of the same names, such as {first}", both.len())));
    }
    // Whatever they are called.
    let shared = data.shared_with(others);
    match shared.first() {
        None => Ok(()),
        Some(&(own, theirs)) => {
            let (count, own, theirs) = (shared.len(), data.image_path(own), others.image_path(theirs));
            Err(refusal(
                settings,
                format!("{expected}, found {count} of the same images, such as {own}, there {theirs}"),
            ))
        }
    }
}
