//! Whether blended identities are people of their own.

use super::{Trial, shown};
use crate::Result;
use crate::blended_people::BlendedPeople;
use crate::features::go_on;
use command::{Interrupt, Progress};
use recognizer::embed_pixels;
use recognizer::generated::{Labelled, NewPeople, judge_new_by};
use recognizer::metrics::Features;

impl Trial<'_> {
    /// Makes images of blended identities. `centres` and `real` are of real images, `threshold` the
    /// cosine above which two are the same person.
    pub(super) fn blended(
        &self,
        (centres, real, threshold): (&Features, &Labelled, f64),
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<NewPeople> {
        let Self { trained, judge, .. } = *self;
        let classes = shown(self.dataset);
        let people = BlendedPeople::new(self.seed, classes);
        let mut features = Features::new(nets::FEATURE);
        let mut labels = Vec::new();
        for nth in 0..self.blended {
            go_on(interrupt)?;
            let label = trained.mixture(&people.parents(nth as u32), self.blended_spread)?;
            let index = (trained.names.len() + nth) as u64;
            let bytes = trained.sample_of(&label, self.per_identity, self.seed, index)?;
            features.extend(&embed_pixels(&judge.network, judge.device(), trained.channels, &bytes)?)?;
            labels.extend(std::iter::repeat_n(nth as u32, self.per_identity));
            progress.advance(self.per_identity as u64);
        }
        Ok(judge_new_by(&Labelled::new(features, labels)?, real, centres, threshold)?)
    }
}
