//! What an experiment works with.

use crate::error::Result;
use crate::jobs::RecognizerJob;
use crate::settings::Settings;
use crate::trainings::Trainings;
use crate::world::World;
use command::Progress;
use recognizer::Recognizer;
use recognizer::generated::Labelled;
use recognizer::metrics::Features;
use recognizer::{PairSet, embed_pixels};

/// Settings, images and trainings of one output folder.
pub struct Bench<'a> {
    /// What is asked for.
    pub settings: &'a Settings,
    /// The images.
    pub world: &'a World,
    /// The trainings.
    pub trainings: &'a Trainings<'a>,
}

impl Bench<'_> {
    /// Features of the images of pairs by a recognizer, which is trained first where it isn't there.
    ///
    /// # Errors
    /// Whatever ends a training, Ctrl-C.
    pub fn pair_features(&self, pairs: &PairSet, job: &RecognizerJob) -> Result<Features> {
        let recognizer = self.trainings.recognizer(job)?;
        let key = format!("{} {}", pairs.dataset().digest(), self.trainings.digest(&job.name));
        self.trainings.kept_features(&job.name, &key, || {
            let progress = Progress::new(&format!("judging {}", job.name), pairs.images() as u64, "images");
            let interrupt = self.trainings.interrupt();
            let advance = |images| progress.advance(images);
            let features = pairs.embed_unless(interrupt, &recognizer.network, recognizer.device(), advance)?;
            progress.finish();
            Ok(features)
        })
    }

    /// Features and classes of all images of a data set.
    ///
    /// # Errors
    /// An image that can't be read, Ctrl-C.
    pub fn real_features(&self, recognizer: &Recognizer, data: &dataset::Dataset) -> Result<Labelled> {
        let images: Vec<usize> = (0..data.len()).collect();
        let progress = Progress::new("looking at real images", data.len() as u64, "images");
        let features = recognizer::embed_unless(
            self.trainings.interrupt(),
            &recognizer.network,
            recognizer.device(),
            data,
            &images,
            |images| progress.advance(images),
        )?;
        progress.finish();
        let labels = images.iter().map(|&image| data.image_identity(image) as u32).collect();
        Ok(Labelled::new(features, labels)?)
    }

    /// Features and classes of `per_identity` new images of each person.
    ///
    /// # Errors
    /// Ctrl-C.
    pub fn made_features(&self, recognizer: &Recognizer, trained: &cvae_gan::Trained, seed: u64) -> Result<Labelled> {
        let count = self.settings.per_identity as usize;
        let people = trained.names.len();
        let progress = Progress::new("looking at generated images", (people * count) as u64, "images");
        let (mut features, mut labels) = (Features::new(nets::FEATURE), Vec::new());
        for person in 0..people {
            self.trainings.go_on("judging")?;
            let bytes = trained.sample(person, count, seed, person as u64)?;
            features.extend(&embed_pixels(&recognizer.network, recognizer.device(), trained.channels, &bytes)?)?;
            labels.extend(std::iter::repeat_n(person as u32, count));
            progress.advance(count as u64);
        }
        progress.finish();
        Ok(Labelled::new(features, labels)?)
    }
}
