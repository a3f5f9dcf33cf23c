//! What critics see in place of images: copies of other brightness, contrast and place, differentiably
//! (DiffAugment, Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020).
//!
//! Critics learn a few thousand images by heart; of copies there is no end. Fakes are changed as real
//! images are, so G is never asked for the changes themselves.

use crate::Result;
use crate::settings::Augment;
use candle_core::{DType, Device, Tensor};
use nets::chance::{Chance, Draws};
use nets::pixels::IMAGE_SIZE;

/// Share of the image's side by which a copy is moved at most.
const SHIFT: usize = 8;

/// How one image is changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    /// Added to all values, of a range of 2.
    pub(crate) brightness: f64,
    /// Factor of the deviations from the image's mean.
    pub(crate) contrast: f64,
    /// Pixels down, middle grey coming in from above; up where it is negative.
    pub(crate) down: i64,
    /// Pixels to the right, likewise.
    pub(crate) right: i64,
    /// Row and column in the middle of a square of half the side that turns grey.
    pub(crate) cut: Option<[usize; 2]>,
}

impl Change {
    fn draw(draws: &mut Draws, size: usize, cutout: bool) -> Self {
        let most = (size / SHIFT) as i64;
        let (brightness, contrast) = (draws.uniform(-0.5, 0.5), draws.uniform(0.5, 1.5));
        let mut shift = || draws.below(2 * most as u64 + 1) as i64 - most;
        let (down, right) = (shift(), shift());
        let mut place = || draws.below(size as u64) as usize;
        let middle = [place(), place()];
        Self { brightness, contrast, down, right, cut: cutout.then_some(middle) }
    }
}

/// How the images of a batch are changed, each in its own way.
pub(crate) struct Augmentation {
    /// `(B,1,1,1)`.
    brightness: Tensor,
    /// `(B,1,1,1)`.
    contrast: Tensor,
    /// From an image's rows to those of its copy, `(B,S,S)`: a product with ones and zeros moves, exactly, and
    /// so does its gradient.
    rows: Tensor,
    /// From columns to columns, transposed.
    columns: Tensor,
    /// `(B,S,S,1)`.
    kept: Option<Tensor>,
}

impl Augmentation {
    /// Changes for `rows` images of a step, each a function of the seed, the purpose, the step and its row.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub(crate) fn draw(
        choice: Augment,
        (chance, step): (&Chance, u64),
        rows: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Self>> {
        let cutout = match choice {
            Augment::None => return Ok(None),
            Augment::ColourTranslation => false,
            Augment::ColourTranslationCutout => true,
        };
        let change = |row| Change::draw(&mut chance.at(step, row as u64), IMAGE_SIZE, cutout);
        let changes: Vec<Change> = (0..rows).map(change).collect();
        Self::new(&changes, IMAGE_SIZE, dtype, device).map(Some)
    }

    /// These changes, of images of `size` pixels.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub(crate) fn new(changes: &[Change], size: usize, dtype: DType, device: &Device) -> Result<Self> {
        // Only a few numbers of each image go to the device; what is as large as images is made there.
        let each = |value: &dyn Fn(&Change) -> f64| {
            let values: Vec<f64> = changes.iter().map(value).collect();
            Tensor::from_vec(values, (changes.len(), 1, 1), device)
        };
        let axis = Tensor::arange(0f32, size as f32, device)?;
        let (down, across) = (axis.reshape((1, size, 1))?, axis.reshape((1, 1, size))?);
        let ahead = down.broadcast_sub(&across)?; // (1,S,S): row less column
        let moved = |shift: &Tensor| ahead.broadcast_eq(&shift.to_dtype(DType::F32)?)?.to_dtype(dtype);
        let cut = |side: usize, axis: &Tensor| {
            let middle = each(&|change| change.cut.map_or(-2.0 * size as f64, |middle| middle[side] as f64))?;
            let away = axis.broadcast_sub(&middle.to_dtype(DType::F32)?)?;
            let half = (size / 4) as f32;
            away.ge(-half)?.mul(&away.lt(half)?)?.to_dtype(DType::F32)
        };
        let kept = || {
            let square = cut(0, &down)?.broadcast_mul(&cut(1, &across)?)?; // (B,S,S)
            square.affine(-1.0, 1.0)?.unsqueeze(3)?.to_dtype(dtype)
        };
        let cuts = changes.iter().any(|change| change.cut.is_some());
        Ok(Self {
            brightness: each(&|change| change.brightness)?.unsqueeze(3)?.to_dtype(dtype)?,
            contrast: each(&|change| change.contrast)?.unsqueeze(3)?.to_dtype(dtype)?,
            rows: moved(&each(&|change| change.down as f64)?)?,
            columns: moved(&each(&|change| -change.right as f64)?)?,
            kept: cuts.then(kept).transpose()?,
        })
    }

    /// The copies of images `(n B,S,S,channels)`: what was made of a row in several ways is changed as its real
    /// image is, so that features of the one can be held against the other's.
    ///
    /// # Errors
    /// Images of another size or number.
    pub(crate) fn apply(&self, images: &Tensor) -> Result<Tensor> {
        let (count, size, _, channels) = images.dims4()?;
        let ways = count / self.rows.dim(0)?;
        let of_all = |of_batch: &Tensor| Tensor::cat(&vec![of_batch; ways], 0);

        let brighter = images.broadcast_add(&of_all(&self.brightness)?)?;
        let mean = brighter.mean_keepdim((1, 2, 3))?;
        let flatter = brighter.broadcast_sub(&mean)?.broadcast_mul(&of_all(&self.contrast)?)?.broadcast_add(&mean)?;

        let rows = of_all(&self.rows)?.matmul(&flatter.reshape((count, size, size * channels))?)?;
        let rows = rows.reshape((count, size, size, channels))?.permute((0, 3, 1, 2))?.contiguous()?;
        let moved = rows.reshape((count, channels * size, size))?.matmul(&of_all(&self.columns)?)?;
        let moved = moved.reshape((count, channels, size, size))?.permute((0, 2, 3, 1))?.contiguous()?;
        Ok(match &self.kept {
            Some(kept) => moved.broadcast_mul(&of_all(kept)?)?,
            None => moved,
        })
    }
}

/// The copies of `images`, or they themselves where nothing is changed.
///
/// # Errors
/// Images of another size or number.
pub(crate) fn augmented(images: &Tensor, augmentation: Option<&Augmentation>) -> Result<Tensor> {
    augmentation.map_or_else(|| Ok(images.clone()), |augmentation| augmentation.apply(images))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nets::gradient_check::{check_gradients, random};

    const STILL: Change = Change { brightness: 0.0, contrast: 1.0, down: 0, right: 0, cut: None };

    fn changed(x: &Tensor, changes: &[Change]) -> Result<Tensor> {
        Augmentation::new(changes, x.dim(1)?, DType::F64, &Device::Cpu)?.apply(x)
    }

    #[test]
    fn gradients_equal_finite_differences() -> candle_core::Result<()> {
        let changes = [
            Change { brightness: 0.3, contrast: 0.6, down: 2, right: -1, cut: None },
            Change { brightness: -0.2, contrast: 1.4, down: -1, right: 2, cut: Some([1, 6]) },
        ];
        for channels in [1, 3] {
            // Two images, each made in two ways.
            check_gradients(&[random(&[4, 8, 8, channels], 1)?], |v| {
                changed(&v[0], &changes).map_err(candle_core::Error::wrap)
            })?;
        }
        Ok(())
    }

    #[test]
    fn an_image_moves_down_and_right_and_grey_comes_in() -> Result<()> {
        for channels in [1, 3] {
            let x = random(&[1, 8, 8, channels], 1)?;
            let moved = changed(&x, &[Change { down: 2, right: -3, ..STILL }])?;
            let inside = moved.narrow(1, 2, 6)?.narrow(2, 0, 5)?;
            let from = x.narrow(1, 0, 6)?.narrow(2, 3, 5)?;
            // The mean was taken away and added again.
            assert!(distance(&inside, &from)? < 1e-15);
            let grey = |part: Tensor| part.abs()?.max_all()?.to_scalar::<f64>();
            assert_eq!([grey(moved.narrow(1, 0, 2)?)?, grey(moved.narrow(2, 5, 3)?)?], [0.0; 2]);
            assert!(distance(&changed(&x, &[STILL])?, &x)? < 1e-15);
        }
        Ok(())
    }

    #[test]
    fn contrast_turns_about_the_images_own_mean() -> Result<()> {
        let x = random(&[2, 8, 8, 1], 1)?;
        let changes = [0.5, 1.5].map(|contrast| Change { brightness: 0.25, contrast, ..STILL });
        let copies = changed(&x, &changes)?;
        for (nth, contrast) in [0.5, 1.5].into_iter().enumerate() {
            let (x, copy) = (x.narrow(0, nth, 1)?, copies.narrow(0, nth, 1)?);
            let mean = |x: &Tensor| x.mean_all()?.to_scalar::<f64>();
            assert!((mean(&copy)? - mean(&x)? - 0.25).abs() < 1e-14);
            let spread = |x: &Tensor| (x - mean(x)?)?.sqr()?.mean_all()?.sqrt()?.to_scalar::<f64>();
            assert!((spread(&copy)? / spread(&x)? - contrast).abs() < 1e-13);
        }
        Ok(())
    }

    #[test]
    fn a_square_of_half_the_side_is_cut_out() -> Result<()> {
        let x = Tensor::ones((2, 8, 8, 1), DType::F64, &Device::Cpu)?;
        let cut = |middle| Change { cut: Some(middle), ..STILL };
        // At a corner only a quarter of the square is inside.
        let left = changed(&x, &[cut([4, 4]), cut([0, 0])])?.sum((1, 2, 3))?.to_vec1::<f64>()?;
        assert_eq!(left, [64.0 - 16.0, 64.0 - 4.0]);
        Ok(())
    }

    #[test]
    fn changes_stay_within_their_bounds_and_reach_them() {
        let chance = Chance::new(1, "test");
        let changes: Vec<Change> = (0..500).map(|row| Change::draw(&mut chance.at(3, row), 128, true)).collect();
        let range = |of: fn(&Change) -> f64| {
            let values = || changes.iter().map(of);
            [values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)]
        };
        assert_eq!(range(|change| change.down as f64), [-16.0, 16.0]);
        assert_eq!(range(|change| change.right as f64), [-16.0, 16.0]);
        for ([least, most], bounds) in
            [(range(|change| change.brightness), [-0.5, 0.5]), (range(|change| change.contrast), [0.5, 1.5])]
        {
            assert!((0.0..0.05).contains(&(least - bounds[0])) && (0.0..0.05).contains(&(bounds[1] - most)));
        }
    }

    fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
        Ok((a - b)?.abs()?.max_all()?.to_scalar::<f64>()?)
    }
}
