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
