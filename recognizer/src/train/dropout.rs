use candle_core::{Device, Result, Tensor};
use nets::chance::Chance;

/// The inverted dropout mask `(rows, dimension)` of one step: 0 with probability `rate`, else
/// `1 / (1 - rate)`, so that evaluation needs no factor.
///
/// A function of (seed, step, row): a resumed training drops what an undisturbed one drops.
pub(crate) fn mask(
    chance: &Chance,
    step: u64,
    rows: usize,
    dimension: usize,
    rate: f64,
    device: &Device,
) -> Result<Tensor> {
    let keep = (1.0 / (1.0 - rate)) as f32;
    let values: Vec<f32> = (0..rows as u64)
        .flat_map(|row| {
            let mut draws = chance.at(step, row);
            (0..dimension).map(move |_| if draws.chance(rate) { 0.0 } else { keep })
        })
        .collect();
    Tensor::from_vec(values, (rows, dimension), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_drops_its_share_and_keeps_the_mean() {
        let chance = Chance::new(1, "recognizer/dropout");
        let drawn = |step, rate| mask(&chance, step, 64, 256, rate, &Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        for rate in [0.25, 0.5, 0.8] {
            let values = drawn(3, rate).concat();
            let keep = (1.0 / (1.0 - rate)) as f32;
            assert!(values.iter().all(|&value| value == 0.0 || value == keep), "kept values are scaled by {keep}");
            let dropped = values.iter().filter(|&&value| value == 0.0).count() as f64 / values.len() as f64;
            assert!((dropped - rate).abs() < 0.02, "{dropped} of {rate}");
        }
        let rows = drawn(3, 0.5);
        assert_eq!(rows, drawn(3, 0.5));
        assert_ne!(rows, drawn(4, 0.5));
        assert_ne!(rows[0], rows[1]);
    }
}
