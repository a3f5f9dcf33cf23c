//! What changes over a training: pure functions of the images seen.

use crate::settings::Settings;

impl Settings {
    /// Factor of the learning rates: 1 for the first half, then linearly to 0 (BicycleGAN's 100
    /// epochs and 100 epochs, in images).
    pub fn rate_factor(&self, images_seen: u64) -> f64 {
        let half = self.images as f64 / 2.0;
        ((self.images as f64 - images_seen as f64) / half).clamp(0.0, 1.0)
    }

    /// Whether critics take part yet.
    pub fn critics_active(&self, images_seen: u64) -> bool {
        self.has_critics() && images_seen >= self.warm_up
    }

    /// Factor of the critics' terms in what E and G minimise, in `[0, 1]`.
    pub fn ramp_factor(&self, images_seen: u64) -> f64 {
        if !self.critics_active(images_seen) {
            return 0.0;
        }
        // The first step after the warm-up counts: a factor of zero would waste it.
        let into = (images_seen - self.warm_up + self.batch as u64) as f64;
        (into / self.ramp.max(1) as f64).min(1.0)
    }

    /// Factor of the identity term of random latents, in `[0, 1]`: that of the critics, who see what pleases a recognizer
    /// and is no face, where G has reconstructions to learn from before.
    pub fn prior_identity_factor(&self, images_seen: u64) -> f64 {
        let waits = self.has_encoder() && self.has_critics() && !self.warm_up_prior;
        if waits { self.ramp_factor(images_seen) } else { 1.0 }
    }

    /// Decay of the average at the end of a step that began at `images_seen`, over all images since
    /// the average last moved. A fixed half-life would leave the average of a short run stale, so
    /// it grows with the run.
    pub fn average_decay(&self, images_seen: u64) -> f64 {
        let half_life = (self.average_half_life as f64).min(self.average_share * images_seen as f64);
        let images = self.batches_of_a_move(images_seen) * self.batch as u64;
        if half_life > 0.0 { 0.5f64.powf(images as f64 / half_life) } else { 0.0 }
    }

    /// Batches from one step of E and G to the next, which begins at `images_seen`: as many as
    /// critics take steps, once they do.
    fn batches_of_a_move(&self, images_seen: u64) -> u64 {
        if !self.critics_active(images_seen) {
            return 1;
        }
        let batch = self.batch as u64;
        let first = self.warm_up.next_multiple_of(batch);
        (images_seen.saturating_sub(first) / batch + 1).min(self.critic_steps)
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{Preset, Settings};
    use nets::Width;

    fn settings() -> Settings {
        Preset::Paper.settings(Width::Paper, 200_000)
    }

    #[test]
    fn the_rate_is_the_papers() {
        // 200 epochs of 1,000 images.
        let rate = |epoch: u64| 2e-4 * settings().rate_factor(epoch * 1000);
        for (epoch, expected) in [(0, 2e-4), (99, 2e-4), (100, 2e-4), (101, 1.98e-4), (150, 1e-4), (199, 2e-6)] {
            assert!((rate(epoch) - expected).abs() < 1e-12, "{epoch}: {}", rate(epoch));
        }
        assert_eq!(settings().rate_factor(300_000), 0.0);
    }

    #[test]
    fn critics_come_after_the_warm_up_and_grow() {
        let settings = Settings { warm_up: 1000, ramp: 320, ..settings() };
        assert!(!settings.critics_active(999) && settings.critics_active(1000));
        assert_eq!(
            [0, 999, 1000, 1128, 1288, 9000].map(|seen| settings.ramp_factor(seen)),
            [0.0, 0.0, 0.1, 0.5, 1.0, 1.0]
        );
        assert_eq!(super::Settings { warm_up: 0, ramp: 0, ..settings }.ramp_factor(0), 1.0);
    }

    #[test]
    fn the_average_forgets_a_short_past_first() {
        let settings = settings();
        assert_eq!(settings.average_decay(0), 0.0);
        // 5 % of 6,400 images are ten batches.
        assert!((settings.average_decay(6400) - 0.5f64.powf(0.1)).abs() < 1e-12);
        assert!((settings.average_decay(10_000_000) - 0.5f64.powf(32.0 / 20_000.0)).abs() < 1e-12);
    }

    #[test]
    fn the_half_life_counts_images_however_often_the_average_moves() {
        let settings = Settings { critic_steps: 5, warm_up: 100, ..settings() };
        // The average moves at the end of every fifth batch of 32, the last of which begins here.
        let moves = (1..=2000).map(|nth| 160_000_000 + (5 * nth - 1) * 32);
        let left: f64 = moves.map(|begin| settings.average_decay(begin)).product();
        assert!((left.log2() + 2000.0 * 160.0 / 20_000.0).abs() < 1e-9, "{left}");
        // At every step before the critics come, and soon after them.
        let images = |begin| settings.batches_of_a_move(begin) * 32;
        assert_eq!([0, 96, 128, 160, 224, 256, 288].map(images), [32, 32, 32, 64, 128, 160, 160]);
    }
}
