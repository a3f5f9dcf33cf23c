//! The latent vector that a counter stands for.

use nets::{LATENT, chance::Draws};

/// The purpose of latents' random numbers; the counter of a row is `(index, row number)`.
pub const PURPOSE: &str = "latent";

/// A standard normal vector, each component drawn again while it is beyond `truncation` standard
/// deviations; 0 leaves it whole.
pub fn prior(draws: &mut Draws, truncation: f64) -> Vec<f32> {
    if truncation == 0.0 {
        return normals(draws, LATENT).map(|component| component as f32).collect();
    }
    (0..LATENT)
        .map(|_| {
            loop {
                let component = draws.normal();
                if component.abs() <= truncation {
                    break component as f32;
                }
            }
        })
        .collect()
}

fn normals(draws: &mut Draws, count: usize) -> impl Iterator<Item = f64> {
    let mut values = vec![0.0; count];
    draws.normals(&mut values);
    values.into_iter()
}

/// `mu + scale * sigma * e` with `e` of the prior. The encoding holds `mu`, then `logvar`.
pub fn jitter(draws: &mut Draws, encoding: &[f32], scale: f64) -> Vec<f32> {
    let (mu, logvar) = encoding.split_at(encoding.len() / 2);
    mu.iter()
        .zip(logvar)
        .zip(normals(draws, mu.len()))
        .map(|((&mu, &logvar), normal)| {
            let sigma = libm::exp(f64::from(logvar) / 2.0);
            (f64::from(mu) + scale * sigma * normal) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nets::chance::Chance;

    #[test]
    fn truncation_bounds_every_component_and_keeps_those_within() {
        let at = |row| Chance::new(1, PURPOSE).at(0, row);
        assert!(prior(&mut at(0), 0.5).iter().all(|component| component.abs() <= 0.5));
        assert_eq!(prior(&mut at(1), 0.0), prior(&mut at(1), 100.0));
        assert!(prior(&mut at(2), 0.0).iter().any(|component| component.abs() > 1.5));
    }

    #[test]
    fn latents_never_change() {
        let digest = |latent: Vec<f32>| {
            let bytes: Vec<u8> = latent.iter().flat_map(|value| value.to_le_bytes()).collect();
            blake3::hash(&bytes).to_hex()[..16].to_owned()
        };
        let at = || Chance::new(7, PURPOSE).at(1000, 5);
        let encoding: Vec<f32> = (0..2 * LATENT).map(|nth| (nth as f32 - 200.0) / 128.0).collect();
        let found = [prior(&mut at(), 0.0), prior(&mut at(), 0.7), jitter(&mut at(), &encoding, 0.5)].map(digest);
        assert_eq!(
            found,
            ["d1337903b028049f", "757cd297c1231881", "4d5832b52fa1c4e6"],
            "latents changed: raise the plan's VERSION if this is meant"
        );
    }

    #[test]
    fn no_jitter_is_the_mean_of_the_encoding() {
        let mut encoding = vec![0.25; LATENT];
        encoding.extend(vec![-2.0; LATENT]);
        let mut draws = Chance::new(1, PURPOSE).at(0, 0);
        assert_eq!(jitter(&mut draws, &encoding, 0.0), vec![0.25; LATENT]);
    }
}
