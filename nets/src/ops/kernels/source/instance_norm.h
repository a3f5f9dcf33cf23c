/* Instance norm: one block for each image (x) and each 16 channels (y), of 16 columns of threads for the
 * channels and a power of 2 rows of them for the positions. */

#define TILE 16

typedef struct {
    A mean, inverse;
} NAME(Moments);

/* Mean and inverse standard deviation of a channel, by sums of what it differs from its first value by: no
 * difference of large sums, and one pass. */
INLINE NAME(Moments)
    NAME(moments)(const T *x, int inside, Int positions, Int channels, A epsilon, A (*sums)[33]) {
    NAME(Moments) moments;
    A first = inside ? LOAD(x[0]) : 0, sum = 0, squares = 0, variance;
    Int at;
    if (inside)
        for (at = threadIdx.y; at < positions; at += blockDim.y) {
            A value = LOAD(x[at * channels]) - first;
            sum += value;
            squares += value * value;
        }
    sum = NAME(column_total)(sum, sums) / (A)positions;
    squares = NAME(column_total)(squares, sums) / (A)positions;
    variance = squares - sum * sum;
    /* Rounding may leave less than nothing; what is no number must stay none. */
    if (variance < 0) variance = 0;
    moments.mean = first + sum;
    moments.inverse = 1 / NAME(root)(variance + epsilon);
    return moments;
}

/* x, scale, shift, y; sizes: positions, channels, whether a ReLU follows, how far the scales and shifts of two
 * images lie apart, which is 0 when all images have the same; numbers: epsilon. */
KERNEL(NAME(instance_norm))(Arguments a) {
    SHARED A sums[32][33];
    const Int positions = a.sizes[0], channels = a.sizes[1], relu = a.sizes[2];
    const Int channel = (Int)blockIdx.y * TILE + threadIdx.x;
    const int inside = channel < channels;
    const Int start = (Int)blockIdx.x * positions * channels + channel;
    const T *x = (const T *)a.buffers[0] + start;
    T *y = (T *)a.buffers[3] + start;
    const NAME(Moments) moments = NAME(moments)(x, inside, positions, channels, (A)a.numbers[0], sums);
    const Int affine_at = (Int)blockIdx.x * a.sizes[3] + channel;
    const A scale = inside ? LOAD(((const T *)a.buffers[1])[affine_at]) : 0;
    const A shift = inside ? LOAD(((const T *)a.buffers[2])[affine_at]) : 0;
    Int at;
    if (inside)
        for (at = threadIdx.y; at < positions; at += blockDim.y) {
            A value = (LOAD(x[at * channels]) - moments.mean) * moments.inverse * scale + shift;
            y[at * channels] = STORE(relu && value <= 0 ? 0 : value);
        }
}

/* x, scale, shift, gradient, gradient of x, and in the accumulator's type (images, 2, channels): each image's
 * share of the gradients of scale and shift; sizes and numbers as above. */
KERNEL(NAME(instance_norm_gradient))(Arguments a) {
    SHARED A sums[32][33];
    const Int positions = a.sizes[0], channels = a.sizes[1], relu = a.sizes[2];
    const Int channel = (Int)blockIdx.y * TILE + threadIdx.x;
    const int inside = channel < channels;
    const Int start = (Int)blockIdx.x * positions * channels + channel;
    const T *x = (const T *)a.buffers[0] + start, *g = (const T *)a.buffers[3] + start;
    T *dx = (T *)a.buffers[4] + start;
    A *affine = (A *)a.buffers[5] + (Int)blockIdx.x * 2 * channels + channel;
    const NAME(Moments) moments = NAME(moments)(x, inside, positions, channels, (A)a.numbers[0], sums);
    const Int affine_at = (Int)blockIdx.x * a.sizes[3] + channel;
    const A scale = inside ? LOAD(((const T *)a.buffers[1])[affine_at]) : 0;
    const A shift = inside ? LOAD(((const T *)a.buffers[2])[affine_at]) : 0;
    A sum_g = 0, sum_gx = 0, mean_g, mean_gx;
    Int at;
    if (inside)
        for (at = threadIdx.y; at < positions; at += blockDim.y) {
            A normal = (LOAD(x[at * channels]) - moments.mean) * moments.inverse;
            A gradient = relu && !(normal * scale + shift > 0) ? 0 : LOAD(g[at * channels]);
            sum_g += gradient;
            sum_gx += gradient * normal;
        }
    sum_g = NAME(column_total)(sum_g, sums);
    sum_gx = NAME(column_total)(sum_gx, sums);
    if (inside && threadIdx.y == 0) {
        affine[0] = sum_gx;
        affine[channels] = sum_g;
    }
    mean_g = sum_g / (A)positions;
    mean_gx = sum_gx / (A)positions;
    if (inside)
        for (at = threadIdx.y; at < positions; at += blockDim.y) {
            A normal = (LOAD(x[at * channels]) - moments.mean) * moments.inverse;
            A gradient = relu && !(normal * scale + shift > 0) ? 0 : LOAD(g[at * channels]);
            dx[at * channels] = STORE(scale * moments.inverse * (gradient - mean_g - normal * mean_gx));
        }
}

#undef TILE

/* The same kernels for channels that are a multiple of 16, eight of them at once: two columns of threads, and up to
 * 256 rows of them, a power of 2. */

#define COLUMNS 2

/* The block's sums over its rows of threads, for the eight channels of each column. */
INLINE void NAME(totals_of_eights)(A *values, A (*sums)[COLUMNS * 256]) {
    const unsigned at = threadIdx.y * COLUMNS + threadIdx.x;
    unsigned half;
    int k;
    for (k = 0; k < 8; k++) sums[k][at] = values[k];
    BARRIER();
    for (half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half)
            for (k = 0; k < 8; k++) sums[k][at] += sums[k][at + half * COLUMNS];
        BARRIER();
    }
    for (k = 0; k < 8; k++) values[k] = sums[k][threadIdx.x];
    BARRIER();
}

/* As moments above. */
INLINE void NAME(moments_of_eights)(const NAME(Eight) *x, Int positions, Int step, A epsilon, A *mean, A *inverse,
                                    A (*sums)[COLUMNS * 256]) {
    const NAME(Eight) start = x[0];
    A sum[8], squares[8];
    Int at;
    int k;
    for (k = 0; k < 8; k++) sum[k] = squares[k] = 0;
    for (at = threadIdx.y; at < positions; at += blockDim.y) {
        const NAME(Eight) values = x[at * step];
        for (k = 0; k < 8; k++) {
            A value = LOAD(values.values[k]) - LOAD(start.values[k]);
            sum[k] += value;
            squares[k] += value * value;
        }
    }
    NAME(totals_of_eights)(sum, sums);
    NAME(totals_of_eights)(squares, sums);
    for (k = 0; k < 8; k++) {
        A shifted = sum[k] / (A)positions, variance = squares[k] / (A)positions - shifted * shifted;
        if (variance < 0) variance = 0;
        mean[k] = LOAD(start.values[k]) + shifted;
        inverse[k] = 1 / NAME(root)(variance + epsilon);
    }
}

/* instance_norm. */
KERNEL(NAME(instance_norm_eight))(Arguments a) {
    SHARED A sums[8][COLUMNS * 256];
    const Int positions = a.sizes[0], channels = a.sizes[1], relu = a.sizes[2], step = channels / 8;
    const Int channel = ((Int)blockIdx.y * COLUMNS + threadIdx.x) * 8;
    const Int start = ((Int)blockIdx.x * positions * channels + channel) / 8;
    const NAME(Eight) *ALONE x = (const NAME(Eight) *)a.buffers[0] + start;
    NAME(Eight) *ALONE y = (NAME(Eight) *)a.buffers[3] + start;
    const T *scales = (const T *)a.buffers[1] + (Int)blockIdx.x * a.sizes[3] + channel;
    const T *shifts = (const T *)a.buffers[2] + (Int)blockIdx.x * a.sizes[3] + channel;
    A mean[8], inverse[8], scale[8], shift[8];
    Int at;
    int k;
    NAME(moments_of_eights)(x, positions, step, (A)a.numbers[0], mean, inverse, sums);
    for (k = 0; k < 8; k++) {
        scale[k] = LOAD(scales[k]);
        shift[k] = LOAD(shifts[k]);
    }
    for (at = threadIdx.y; at < positions; at += blockDim.y) {
        NAME(Eight) values = x[at * step];
        for (k = 0; k < 8; k++) {
            A value = (LOAD(values.values[k]) - mean[k]) * inverse[k] * scale[k] + shift[k];
            values.values[k] = STORE(relu && value <= 0 ? 0 : value);
        }
        y[at * step] = values;
    }
}

/* instance_norm_gradient. */
KERNEL(NAME(instance_norm_gradient_eight))(Arguments a) {
    SHARED A sums[8][COLUMNS * 256];
    const Int positions = a.sizes[0], channels = a.sizes[1], relu = a.sizes[2], step = channels / 8;
    const Int channel = ((Int)blockIdx.y * COLUMNS + threadIdx.x) * 8;
    const Int start = ((Int)blockIdx.x * positions * channels + channel) / 8;
    const NAME(Eight) *ALONE x = (const NAME(Eight) *)a.buffers[0] + start;
    const NAME(Eight) *ALONE g = (const NAME(Eight) *)a.buffers[3] + start;
    NAME(Eight) *ALONE dx = (NAME(Eight) *)a.buffers[4] + start;
    A *affine = (A *)a.buffers[5] + (Int)blockIdx.x * 2 * channels + channel;
    const T *scales = (const T *)a.buffers[1] + (Int)blockIdx.x * a.sizes[3] + channel;
    const T *shifts = (const T *)a.buffers[2] + (Int)blockIdx.x * a.sizes[3] + channel;
    A mean[8], inverse[8], scale[8], shift[8], sum_g[8], sum_gx[8];
    Int at;
    int k;
    NAME(moments_of_eights)(x, positions, step, (A)a.numbers[0], mean, inverse, sums);
    for (k = 0; k < 8; k++) {
        scale[k] = LOAD(scales[k]);
        shift[k] = LOAD(shifts[k]);
        sum_g[k] = sum_gx[k] = 0;
    }
    for (at = threadIdx.y; at < positions; at += blockDim.y) {
        const NAME(Eight) values = x[at * step], gradients = g[at * step];
        for (k = 0; k < 8; k++) {
            A normal = (LOAD(values.values[k]) - mean[k]) * inverse[k];
            A gradient = relu && !(normal * scale[k] + shift[k] > 0) ? 0 : LOAD(gradients.values[k]);
            sum_g[k] += gradient;
            sum_gx[k] += gradient * normal;
        }
    }
    NAME(totals_of_eights)(sum_g, sums);
    NAME(totals_of_eights)(sum_gx, sums);
    if (threadIdx.y == 0)
        for (k = 0; k < 8; k++) {
            affine[k] = sum_gx[k];
            affine[channels + k] = sum_g[k];
        }
    for (at = threadIdx.y; at < positions; at += blockDim.y) {
        const NAME(Eight) values = x[at * step];
        NAME(Eight) gradients = g[at * step];
        for (k = 0; k < 8; k++) {
            A normal = (LOAD(values.values[k]) - mean[k]) * inverse[k];
            A gradient = relu && !(normal * scale[k] + shift[k] > 0) ? 0 : LOAD(gradients.values[k]);
            A rest = gradient - sum_g[k] / (A)positions - normal * (sum_gx[k] / (A)positions);
            gradients.values[k] = STORE(scale[k] * inverse[k] * rest);
        }
        dx[at * step] = gradients;
    }
}

#undef COLUMNS
