use super::{MetricError, even};

/// Feature vectors of images, one a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    values: Vec<f32>,
    dimension: usize,
}

impl Features {
    /// No rows yet, of the given length each (256 for LightCNN).
    pub fn new(dimension: usize) -> Self {
        Self { values: Vec::new(), dimension: dimension.max(1) }
    }

    /// Rows of `dimension` values, one after another. Refused when the last row is cut short.
    pub fn from_values(values: Vec<f32>, dimension: usize) -> Result<Self, MetricError> {
        let dimension = dimension.max(1);
        let whole = values.len() / dimension * dimension;
        even("a feature table", ("values", values.len()), ("rows times length", whole))?;
        Ok(Self { values, dimension })
    }

    /// Appends rows of the same length.
    pub fn extend(&mut self, values: &[f32]) -> Result<(), MetricError> {
        let whole = values.len() / self.dimension * self.dimension;
        even("a feature table", ("values", values.len()), ("rows times length", whole))?;
        self.values.extend_from_slice(values);
        Ok(())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Length of each row.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// All values, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> + Clone {
        self.values.chunks_exact(self.dimension)
    }

    /// Each row scaled to length 1. A row of zeros stays one.
    pub fn normalized(&self) -> Self {
        let values = self.rows().flat_map(normalized).collect();
        Self { values, dimension: self.dimension }
    }

    /// The normalised mean of each class's normalised features, `(classes, dimension)`: the
    /// directions in which identities lie. A class without rows gets a row of zeros.
    pub fn class_centres(&self, labels: &[u32], classes: usize) -> Result<Self, MetricError> {
        const FIGURE: &str = "a table of class centres";
        even(FIGURE, ("features", self.len()), ("labels", labels.len()))?;
        let mut sums = vec![0f64; classes * self.dimension];
        for (row, &label) in self.rows().zip(labels) {
            let start = label as usize * self.dimension;
            let Some(sum) = sums.get_mut(start..start + self.dimension) else {
                return Err(MetricError::UnknownClass { figure: FIGURE, classes, found: label });
            };
            for (sum, value) in sum.iter_mut().zip(normalized(row)) {
                *sum += f64::from(value);
            }
        }
        let values = sums
            .chunks_exact(self.dimension)
            .flat_map(|sum| {
                let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
                let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
                sum.iter().map(move |value| (value * scale) as f32)
            })
            .collect();
        Ok(Self { values, dimension: self.dimension })
    }
}

/// Whether a row stands for nothing: the centre of a class without images.
pub(crate) fn is_blank(row: &[f32]) -> bool {
    row.iter().all(|&value| value == 0.0)
}

/// Cosine of the angle between two vectors; 0 where one of them is zero.
pub(crate) fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let norms = (dot(left, left) * dot(right, right)).sqrt();
    if norms > 0.0 { dot(left, right) / norms } else { 0.0 }
}

pub(crate) fn dot(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(&left, &right)| f64::from(left) * f64::from(right)).sum()
}

pub(crate) fn distance(left: &[f32], right: &[f32]) -> f64 {
    let squares = left.iter().zip(right).map(|(&left, &right)| (f64::from(left) - f64::from(right)).powi(2));
    squares.sum::<f64>().sqrt()
}

fn normalized(row: &[f32]) -> impl Iterator<Item = f32> {
    let norm = dot(row, row).sqrt();
    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    row.iter().map(move |&value| (f64::from(value) * scale) as f32)
}
