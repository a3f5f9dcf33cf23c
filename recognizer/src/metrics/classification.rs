//! Figures over a classifier's answers.

use super::{MetricError, even, finite, need};

/// Share of rows whose largest value stands at the row's label, in [0, 1]; of equal values the
/// first counts.
///
/// On generated images this is "GAN-test" (precision only); quote it beside held-out real images.
///
/// # Errors
/// No rows, another number of labels than rows, a row without values or with NaN.
pub fn top1<'a>(rows: impl ExactSizeIterator<Item = &'a [f32]>, labels: &[u32]) -> Result<f64, MetricError> {
    const FIGURE: &str = "top-1 accuracy";
    need(FIGURE, "rows", 1, rows.len())?;
    even(FIGURE, ("rows", rows.len()), ("labels", labels.len()))?;
    let mut hits = 0usize;
    for (row, &label) in rows.zip(labels) {
        need(FIGURE, "classes", 1, row.len())?;
        finite(FIGURE, row.iter().copied().map(f64::from))?;
        hits += usize::from(argmax(row) == label as usize);
    }
    Ok(hits as f64 / labels.len() as f64)
}

/// `exp(mean KL(p(y|x) || p(y)))` over rows of probabilities (Salimans et al. 2016): between 1 and
/// the number of classes, higher for confident and varied answers.
///
/// Blind to variety within an identity; compare only at equal sample size and classifier.
///
/// # Errors
/// No rows, rows of different lengths, a value that is not finite.
pub fn inception_score<'a>(rows: impl ExactSizeIterator<Item = &'a [f64]> + Clone) -> Result<f64, MetricError> {
    const FIGURE: &str = "an inception score";
    need(FIGURE, "rows", 1, rows.len())?;
    let count = rows.len() as f64;
    let classes = rows.clone().next().map_or(0, <[f64]>::len);
    let mut marginal = vec![0.0; classes];
    for row in rows.clone() {
        even(FIGURE, ("classes in each row", row.len()), ("classes in the first", classes))?;
        finite(FIGURE, row.iter().copied())?;
        for (marginal, probability) in marginal.iter_mut().zip(row) {
            *marginal += probability / count;
        }
    }
    // 0 ln 0 is 0.
    let divergence = |row: &[f64]| -> f64 {
        let terms = row.iter().zip(&marginal).filter(|(probability, _)| **probability > 0.0);
        terms.map(|(probability, marginal)| probability * (probability / marginal).ln()).sum()
    };
    Ok((rows.map(divergence).sum::<f64>() / count).exp())
}

/// Softmax of a row of logits, in `f64`.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|value| value / sum).collect()
}

fn argmax(row: &[f32]) -> usize {
    let best = row.iter().enumerate().reduce(|best, here| if here.1 > best.1 { here } else { best });
    best.map_or(0, |(position, _)| position)
}
