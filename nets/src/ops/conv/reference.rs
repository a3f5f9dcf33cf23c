//! The definition, one multiplication at a time: slow, obvious, and what the kernels are held to.

use super::geometry::{Geometry, Kind};

/// Any kind, in f64. Every triple (image value, filter value, output value) that touches is visited
/// once; the kind says which two are read and which one is written.
pub(super) fn convolve(kind: Kind, g: &Geometry, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut result = vec![0.0; g.result_dims(kind).iter().product()];
    for image in 0..g.batch {
        for (out_y, out_x) in (0..g.out_height).flat_map(|y| (0..g.out_width).map(move |x| (y, x))) {
            for (tap_y, tap_x) in (0..g.size).flat_map(|y| (0..g.size).map(move |x| (y, x))) {
                let y = (out_y * g.stride + tap_y).wrapping_sub(g.padding);
                let x = (out_x * g.stride + tap_x).wrapping_sub(g.padding);
                if y >= g.height || x >= g.width {
                    continue;
                }
                for (filter, channel) in (0..g.filters).flat_map(|k| (0..g.channels).map(move |c| (k, c))) {
                    let at_x = ((image * g.height + y) * g.width + x) * g.channels + channel;
                    let at_w = ((filter * g.size + tap_y) * g.size + tap_x) * g.channels + channel;
                    let at_y = ((image * g.out_height + out_y) * g.out_width + out_x) * g.filters + filter;
                    match kind {
                        Kind::Forward => result[at_y] += a[at_x] * b[at_w],
                        Kind::DataGradient => result[at_x] += a[at_y] * b[at_w],
                        Kind::FilterGradient => result[at_w] += a[at_x] * b[at_y],
                    }
                }
            }
        }
    }
    result
}
