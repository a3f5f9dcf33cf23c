//! The shape of one convolution, shared by its three kinds.

/// Which of the three bilinear maps is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::ops) enum Kind {
    /// Images and filters to outputs.
    Forward,
    /// Outputs and filters to images.
    DataGradient,
    /// Images and outputs to filters.
    FilterGradient,
}

/// Extents of images `(batch, height, width, channels)`, filters `(filters, size, size, channels)`
/// and outputs `(batch, out_height, out_width, filters)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::ops) struct Geometry {
    pub(in crate::ops) batch: usize,
    pub(in crate::ops) height: usize,
    pub(in crate::ops) width: usize,
    pub(in crate::ops) channels: usize,
    pub(in crate::ops) filters: usize,
    pub(in crate::ops) out_height: usize,
    pub(in crate::ops) out_width: usize,
    pub(in crate::ops) size: usize,
    pub(in crate::ops) stride: usize,
    pub(in crate::ops) padding: usize,
}

impl Geometry {
    /// Values in one unrolled window: the inner dimension of the matrix product.
    pub(in crate::ops) fn window(&self) -> usize {
        self.size * self.size * self.channels
    }

    /// Output positions of one image.
    pub(in crate::ops) fn positions(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Values in one image.
    pub(in crate::ops) fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Values in one image's output.
    pub(in crate::ops) fn output_len(&self) -> usize {
        self.positions() * self.filters
    }

    /// Whether a window is a single pixel, so that images are their own unrolled matrix.
    pub(in crate::ops) fn is_pointwise(&self) -> bool {
        self.size == 1 && self.stride == 1 && self.padding == 0
    }

    /// Dimensions of a kind's result.
    pub(in crate::ops) fn result_dims(&self, kind: Kind) -> [usize; 4] {
        match kind {
            Kind::Forward => [self.batch, self.out_height, self.out_width, self.filters],
            Kind::DataGradient => [self.batch, self.height, self.width, self.channels],
            Kind::FilterGradient => [self.filters, self.size, self.size, self.channels],
        }
    }
}
