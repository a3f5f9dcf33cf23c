//! Filters by which a deconvolution makes no checkerboards.
//!
//! Along each axis, pixels that a 4x4 deconvolution of stride 2 makes sum two of its four taps: the odd ones the first and
//! third, the even ones the second and fourth. Where the two sums differ, an even part of a map becomes a pattern of two
//! pixels, of four behind the next layer and so on (Odena et al., "Deconvolution and Checkerboard Artifacts", 2016).
//! Filters whose sums agree in each row and each column are those of a 3x3 convolution behind pixels that were doubled.

use candle_core::{Result, Tensor};

/// The nearest filters `(inputs,4,4,outputs)` whose sums agree: a map that is even along an axis stays so, but for its
/// border.
///
/// # Errors
/// Filters of another shape.
pub fn even(filters: &Tensor) -> Result<Tensor> {
    along(&along(filters, 1)?, 2)
}

/// Takes away what alternates along an axis of length 4.
fn along(filters: &Tensor, axis: usize) -> Result<Tensor> {
    // Made on the device: a GPU needn't wait for the host.
    let plus = Tensor::ones((1, 1, 1, 1), filters.dtype(), filters.device())?;
    let minus = plus.neg()?;
    let signs = Tensor::cat(&[&plus, &minus, &plus, &minus], axis)?;
    let alternating = filters.broadcast_mul(&signs)?.sum_keepdim(axis)?.affine(0.25, 0.0)?;
    filters.broadcast_sub(&alternating.broadcast_mul(&signs)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::random;
    use crate::ops::conv_transpose2d;
    use candle_core::Device;

    fn largest(difference: Tensor) -> Result<f64> {
        difference.abs()?.max_all()?.to_scalar::<f64>()
    }

    #[test]
    fn a_map_that_is_even_along_an_axis_stays_so_through_two_layers_but_for_the_border() -> Result<()> {
        let [first, second] = [even(&random(&[3, 4, 4, 5], 1)?)?, even(&random(&[5, 4, 4, 2], 2)?)?];
        let inside = |map: &Tensor| -> Result<Tensor> {
            let made = conv_transpose2d(&conv_transpose2d(map, &first, 2, 1)?, &second, 2, 1)?;
            made.narrow(1, 4, 16)?.narrow(2, 4, 16)
        };
        let change = |map: &Tensor, axis: usize| largest((map.narrow(axis, 0, 15)? - map.narrow(axis, 1, 15)?)?);
        let stripes = random(&[1, 6, 1, 3], 3)?;
        for (axis, map) in [(2, stripes.clone()), (1, stripes.transpose(1, 2)?)] {
            let made = inside(&map.broadcast_as((1, 6, 6, 3))?.contiguous()?)?;
            assert!(change(&made, axis)? < 1e-12);
            // Along the other axis it makes what it wants.
            assert!(change(&made, 3 - axis)? > 0.1);
        }
        Ok(())
    }

    #[test]
    fn they_are_the_nearest_such_filters_those_of_a_convolution_of_doubled_pixels() -> Result<()> {
        let filters = random(&[2, 4, 4, 3], 1)?;
        let nearest = even(&filters)?;
        // Any 3x3 filters, each tap for 2x2 pixels, stay what they are, and are reached at right angles.
        let small = random(&[2, 3, 3, 3], 2)?;
        let shifted = [(0, 0), (0, 1), (1, 0), (1, 1)]
            .map(|(down, right)| small.pad_with_zeros(1, down, 1 - down)?.pad_with_zeros(2, right, 1 - right));
        let [mut doubled, b, c, d] = shifted.map(|shifted| shifted.expect("of fitting shape"));
        for shifted in [b, c, d] {
            doubled = (doubled + shifted)?;
        }
        assert!(largest((even(&doubled)? - &doubled)?)? < 1e-14);
        let moved = (&filters - &nearest)?;
        assert!(largest((&moved * &doubled)?.sum_all()?)? < 1e-12 && largest(moved)? > 0.1);
        assert!(largest((even(&nearest)? - &nearest)?)? < 1e-14);
        // 9 numbers of 16 are free.
        let unit = |nth: usize| {
            let values: Vec<f64> = (0..16).map(|n| f64::from(u8::from(n == nth))).collect();
            even(&Tensor::from_vec(values, (1, 4, 4, 1), &Device::Cpu)?)?.flatten_all()?.to_vec1::<f64>()
        };
        let kept: f64 = (0..16).map(|nth| Ok(unit(nth)?[nth])).sum::<Result<f64>>()?;
        assert!((kept - 9.0).abs() < 1e-12);
        Ok(())
    }
}
