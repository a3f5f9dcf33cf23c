//! The ops' kernels for GPUs: what each is launched with, which is decided here, and the two machines
//! that run it.
//!
//! A [`Launch`] is a plain value: which kernel, over which grid, with which numbers. [`cuda`] hands it
//! to a GPU; the tests hand it to an emulator, so that every index and every grid is held against the
//! CPU's ops on machines without a GPU too. The kernels themselves, in `source/`, accumulate in f32 (f64
//! for f64), sum in a fixed order without atomics, and count in 64 bits.
//!
//! They are compiled to PTX when the program is built, for compute capability 8.0, and by the driver for
//! the GPU that it finds: a build needs the compiler that candle's kernels need anyway, a machine that
//! computes needs a driver alone, and a mistake in a kernel ends the build and not a training.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(all(test, target_os = "linux"))]
mod emulator;

use super::conv::{Geometry, Kind};

/// What a kernel is run with. The buffers, each kernel's in the order that `source/` says, are given to
/// whoever runs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch {
    /// The kernel's name, without its number type.
    kernel: &'static str,
    grid: [u32; 3],
    block: [u32; 3],
    sizes: [i64; SIZES],
    numbers: [f64; NUMBERS],
    /// What is launched instead where every buffer begins as eight values taken at once must.
    by_eights: Option<Box<Launch>>,
}

const BUFFERS: usize = 6;
const SIZES: usize = 12;
const NUMBERS: usize = 8;

/// The one parameter of every kernel, as `source/machine.h` declares it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Arguments {
    buffers: [u64; BUFFERS],
    sizes: [i64; SIZES],
    numbers: [f64; NUMBERS],
}

/// Threads of a block of an elementwise kernel.
const THREADS: usize = 256;
/// Values that a thread takes at once where they come to a multiple of it.
const EIGHT: usize = 8;
/// Where eight values taken at once must begin [unit: bytes].
#[cfg(feature = "cuda")]
const EIGHTS_ALIGNMENT: u64 = 16;
/// The emulator's machine takes them from anywhere.
#[cfg(not(feature = "cuda"))]
const EIGHTS_ALIGNMENT: u64 = 1;
/// Blocks of an elementwise kernel, at most: beyond that its threads take several values each.
const BLOCKS: usize = 1 << 12;
/// Columns of a block that sums columns, and rows of its threads.
const COLUMNS: usize = 32;
const ROWS: usize = 16;
/// Rows per partial sum: by the shape alone, so that sums are always taken in one order.
const SHARE: usize = 1024;
/// Partial sums of a filter gradient, at most.
const FILTER_PARTS: usize = 64;
/// Partial sums of a whole tensor, at most: as many as a block has threads to add them, as in `sums.h`.
const SUM_PARTS: usize = THREADS;
/// Values of one of them, at least.
const VALUES_OF_A_SUM: usize = 4096;
/// Channels of a block of instance norm, and rows of its threads.
const NORM_CHANNELS: usize = 16;
const NORM_ROWS: usize = 32;
/// The same, at most, where its threads take eight channels at once, as in `instance_norm.h`.
const EIGHTS_ROWS: usize = 256;
/// Filters of a last layer that one kernel computes, at most: channels in, times channels out, as in `last_layer.h`.
const LAST_FILTERS: usize = 256;

impl Launch {
    /// A thread for each of `count` values, which are the first size.
    fn each(kernel: &'static str, count: usize, sizes: &[usize], numbers: &[f64]) -> Self {
        let blocks = count.div_ceil(THREADS).min(BLOCKS);
        Self::over(kernel, [blocks, 1], [THREADS, 1], &[&[count], sizes].concat(), numbers)
    }

    /// The same by a kernel that takes eight values at once, if they come in eights.
    fn or_by_eights(self, eights: impl FnOnce() -> Self, in_eights: bool) -> Self {
        Self { by_eights: in_eights.then(|| Box::new(eights())), ..self }
    }

    /// What is launched on these buffers. Candle's own begin as eights must; a part of one may not, and is then
    /// summed in another order.
    fn on(&self, buffers: &[u64]) -> &Self {
        let aligned = || buffers.iter().all(|&address| bears_eights(address));
        self.by_eights.as_deref().filter(|_| aligned()).unwrap_or(self)
    }

    /// `grid` blocks of `block` threads; no extent that fits a GPU's memory is too large for it.
    fn over(kernel: &'static str, grid: [usize; 2], block: [usize; 2], sizes: &[usize], numbers: &[f64]) -> Self {
        let extents = |[x, y]: [usize; 2]| [x as u32, y as u32, 1];
        let mut launch = Self {
            kernel,
            grid: extents(grid),
            block: extents(block),
            sizes: [0; SIZES],
            numbers: [0.0; NUMBERS],
            by_eights: None,
        };
        launch.sizes.iter_mut().zip(sizes).for_each(|(slot, &size)| *slot = size as i64);
        launch.numbers[..numbers.len()].copy_from_slice(numbers);
        launch
    }

    /// Whether there is nothing to compute: a GPU refuses an empty grid.
    fn is_empty(&self) -> bool {
        self.grid.contains(&0)
    }

    fn arguments(&self, buffers: &[u64]) -> Arguments {
        let mut all = [0; BUFFERS];
        all[..buffers.len()].copy_from_slice(buffers);
        Arguments { buffers: all, sizes: self.sizes, numbers: self.numbers }
    }
}

/// Whether eight values taken at once may begin here.
pub(super) fn bears_eights(address: u64) -> bool {
    address.is_multiple_of(EIGHTS_ALIGNMENT)
}

/// `x (..., channels)`, a bias, y: `count` values.
pub(super) fn bias(count: usize, channels: usize) -> Launch {
    Launch::each("bias", count, &[channels], &[])
}

/// As [`bias`], then the slope below zero.
pub(super) fn leaky_relu(count: usize, channels: usize, slope: f64) -> Launch {
    let eights = || Launch::each("leaky_relu_eight", count / EIGHT, &[channels], &[slope]);
    Launch::each("leaky_relu", count, &[channels], &[slope]).or_by_eights(eights, channels.is_multiple_of(EIGHT))
}

/// An activation, a gradient, the gradient before it.
pub(super) fn leaky_relu_mask(count: usize, slope: f64) -> Launch {
    let eights = || Launch::each("leaky_relu_mask_eight", count / EIGHT, &[], &[slope]);
    Launch::each("leaky_relu_mask", count, &[], &[slope]).or_by_eights(eights, count.is_multiple_of(EIGHT))
}

/// Images in `[-1, 1]`, bytes.
pub(crate) fn quantise(count: usize) -> Launch {
    Launch::each("quantise", count, &[], &[])
}

/// Sums `(..., channels)`, a bias, the bytes of their tanh.
pub(crate) fn last_layer(count: usize, channels: usize) -> Launch {
    Launch::each("last_layer", count, &[channels], &[])
}

/// `y (images, height, width, inputs)`, filters `(inputs, 4, 4, channels)`, a bias, the bytes of a whole last layer;
/// `None` where it is too large for one kernel.
pub(super) fn whole_last_layer([images, height, width, inputs]: [usize; 4], channels: usize) -> Option<Launch> {
    let count = images * (height + 1) * (width + 1);
    let fits = inputs.is_multiple_of(EIGHT) && matches!(channels, 1 | 3) && inputs * channels <= LAST_FILTERS;
    fits.then(|| Launch::each("whole_last_layer", count, &[height, width, inputs, channels], &[]))
}

/// Partial sums of the columns of `(rows, columns)`, in the accumulator's type.
pub(super) fn column_sum_parts(rows: usize, columns: usize) -> Launch {
    let grid = [column_parts(rows), columns.div_ceil(COLUMNS)];
    Launch::over("column_sum_parts", grid, [COLUMNS, ROWS], &[rows, columns, SHARE], &[])
}

/// How many partial sums [`column_sum_parts`] gives for each column.
pub(super) fn column_parts(rows: usize) -> usize {
    rows.div_ceil(SHARE)
}

/// The sums of `parts` rows of partial sums.
pub(super) fn column_sum_total(parts: usize, columns: usize) -> Launch {
    Launch::over("column_sum_total", [1, columns.div_ceil(COLUMNS)], [COLUMNS, ROWS], &[parts, columns], &[])
}

/// The images of an instance norm: `images` of `positions` times `channels` values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm {
    pub(super) images: usize,
    pub(super) positions: usize,
    pub(super) channels: usize,
    pub(super) relu: bool,
    /// Whether each image has a scale and shift of its own.
    pub(super) conditional: bool,
    pub(super) epsilon: f64,
}

impl Norm {
    fn launch(&self, kernel: &'static str, by_eights: &'static str) -> Launch {
        let grid = [self.images, self.channels.div_ceil(NORM_CHANNELS)];
        let apart = if self.conditional { self.channels } else { 0 };
        let sizes = [self.positions, self.channels, usize::from(self.relu), apart];
        let rows = self.positions.next_power_of_two().clamp(NORM_ROWS, EIGHTS_ROWS);
        let launch = |kernel, block| Launch::over(kernel, grid, block, &sizes, &[self.epsilon]);
        launch(kernel, [NORM_CHANNELS, NORM_ROWS]).or_by_eights(
            || launch(by_eights, [NORM_CHANNELS / EIGHT, rows]),
            self.channels.is_multiple_of(NORM_CHANNELS),
        )
    }

    /// x, scale, shift, y.
    pub(super) fn forward(&self) -> Launch {
        self.launch("instance_norm", "instance_norm_eight")
    }

    /// x, scale, shift, a gradient, that of x, and each image's `(2, channels)` of those of scale and shift, in
    /// the accumulator's type.
    pub(super) fn gradient(&self) -> Launch {
        self.launch("instance_norm_gradient", "instance_norm_gradient_eight")
    }
}

/// `x (..., 2 half)`, a bias, y: `count` values of y.
pub(super) fn max_feature_map(count: usize, half: usize) -> Launch {
    Launch::each("max_feature_map", count, &[half], &[])
}

/// x, bias, a gradient, that of x: `count` values of y.
pub(super) fn max_feature_map_gradient(count: usize, half: usize) -> Launch {
    Launch::each("max_feature_map_gradient", count, &[half], &[])
}

/// A convolution's output, a bias, y, the winners' bytes: `count` values of y.
pub(super) fn compete(count: usize, half: usize, pool: usize, width: usize) -> Launch {
    let eights = || Launch::each("compete_eight", count / EIGHT, &[half, pool, width], &[]);
    Launch::each("compete", count, &[half, pool, width], &[]).or_by_eights(eights, half.is_multiple_of(EIGHT))
}

/// A gradient, the winners' bytes, the gradient of the convolution's output: `count` values of y.
pub(super) fn give(count: usize, half: usize, pool: usize, width: usize) -> Launch {
    let eights = || Launch::each("give_eight", count / EIGHT, &[half, pool, width], &[]);
    Launch::each("give", count, &[half, pool, width], &[]).or_by_eights(eights, half.is_multiple_of(EIGHT))
}

/// Images and the side and padding of the windows, at stride 2, over them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    pub(super) images: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) size: usize,
    pub(super) padding: usize,
}

impl Pool {
    fn launch(&self, kernel: &'static str, count: usize) -> Launch {
        Launch::each(kernel, count, &[self.height, self.width, self.channels, self.size, self.padding], &[])
    }

    /// x, y.
    pub(super) fn average(&self) -> Launch {
        self.launch("average_pool", self.images * (self.height / 2) * (self.width / 2) * self.channels)
    }

    /// A gradient of y, that of x.
    pub(super) fn average_adjoint(&self) -> Launch {
        self.launch("average_pool_adjoint", self.images * self.height * self.width * self.channels)
    }
}

/// `x (..., width, channels)`, y: `count` values of y.
pub(super) fn max_average_pool(count: usize, width: usize, channels: usize) -> Launch {
    Launch::each("max_average_pool", count, &[width, channels], &[])
}

/// x, a gradient, that of x: `count` values of y.
pub(super) fn max_average_pool_gradient(count: usize, width: usize, channels: usize) -> Launch {
    Launch::each("max_average_pool_gradient", count, &[width, channels], &[])
}

/// Partial sums over `count` values: by the count alone, so that sums are always taken in one order.
pub(crate) fn sum_parts(count: usize) -> usize {
    count.div_ceil(VALUES_OF_A_SUM).clamp(1, SUM_PARTS)
}

/// `x`, partial sums of its squares, in f64, from place `at` on.
pub(crate) fn square_sums(count: usize, at: usize) -> Launch {
    Launch::over("square_sums", [sum_parts(count), 1], [THREADS, 1], &[count, at], &[])
}

/// `x`, the root of its sum.
pub(crate) fn root_of_sum(count: usize) -> Launch {
    Launch::over("root_of_sum", [1, 1], [THREADS, 1], &[count], &[])
}

/// `x`, `x` over its length, which counts as `least` at least.
pub(super) fn unit(count: usize, least: f64) -> Launch {
    Launch::over("unit", [1, 1], [THREADS, 1], &[count], &[least])
}

/// x, y or nothing, partial sums of `|x - y|` in the accumulator's type.
pub(super) fn distance_sums(count: usize) -> Launch {
    Launch::over("distance_sums", [sum_parts(count), 1], [THREADS, 1], &[count], &[])
}

/// Partial sums over `count` values, their mean.
pub(super) fn mean_of_parts(count: usize) -> Launch {
    Launch::over("mean_of_parts", [1, 1], [THREADS, 1], &[sum_parts(count), count], &[])
}

/// x, y, a gradient of the mean of `|x - y|`, that of x.
pub(super) fn distance_gradient(count: usize) -> Launch {
    Launch::each("distance_gradient", count, &[], &[])
}

/// A weight of `inputs` columns, a left and a right vector, partial sums of their product.
pub(super) fn bilinear_sums(count: usize, inputs: usize) -> Launch {
    Launch::over("bilinear_sums", [sum_parts(count), 1], [THREADS, 1], &[count, inputs], &[])
}

/// A weight, partial sums over it, the weight over their sum, the sum.
pub(super) fn divided(count: usize) -> Launch {
    Launch::each("divided", count, &[sum_parts(count)], &[])
}

/// Two tensors, partial sums of their products.
pub(super) fn product_sums(count: usize) -> Launch {
    Launch::over("product_sums", [sum_parts(count), 1], [THREADS, 1], &[count], &[])
}

/// A gradient of [`divided`]'s result, partial sums of its products with the weight, the sum, the left and the right
/// vector, the gradient of the weight.
pub(super) fn divided_gradient(count: usize, inputs: usize) -> Launch {
    Launch::each("divided_gradient", count, &[sum_parts(count), inputs], &[])
}

/// The constants of one step of Adam.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamStep {
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    /// The learning rate over the correction of the mean.
    pub(crate) rate: f64,
    /// The correction of the square.
    pub(crate) correction: f64,
    pub(crate) epsilon: f64,
}

/// Weights, mean, square, a gradient, the norm of all gradients in f64.
pub(crate) fn adam(count: usize, step: AdamStep) -> Launch {
    let AdamStep { beta1, beta2, rate, correction, epsilon } = step;
    Launch::each("adam", count, &[], &[beta1, 1.0 - beta1, beta2, 1.0 - beta2, rate, correction, epsilon])
}

/// Weights, velocity, a gradient, the norm of all gradients in f64.
pub(crate) fn sgd(count: usize, momentum: f64, limit: f64, decay: f64, rate: f64) -> Launch {
    Launch::each("sgd", count, &[], &[momentum, limit, decay, rate])
}

/// An average, weights.
pub(crate) fn moving_average(count: usize, share: f64) -> Launch {
    Launch::each("moving_average", count, &[], &[share])
}

/// A kind of convolution by its definition: its two arguments, its result. A filter gradient's result is
/// [`filter_parts`] partial sums in the accumulator's type, for [`column_sum_total`].
pub(super) fn convolution(kind: Kind, g: &Geometry) -> Launch {
    let (kernel, parts) = match kind {
        Kind::Forward => ("convolution_forward", 1),
        Kind::DataGradient => ("convolution_data_gradient", 1),
        Kind::FilterGradient => ("convolution_filter_gradient", filter_parts(g)),
    };
    let image = [g.batch, g.height, g.width, g.channels, g.filters, g.out_height, g.out_width];
    let sizes = [&image[..], &[g.size, g.stride, g.padding, filter_share(g)]].concat();
    Launch::each(kernel, parts * g.result_dims(kind).iter().product::<usize>(), &sizes, &[])
}

/// Lines of outputs of one partial sum of a filter gradient.
fn filter_share(g: &Geometry) -> usize {
    (g.batch * g.out_height).div_ceil(FILTER_PARTS).max(1)
}

/// Partial sums of a filter gradient.
pub(super) fn filter_parts(g: &Geometry) -> usize {
    (g.batch * g.out_height).div_ceil(filter_share(g))
}
