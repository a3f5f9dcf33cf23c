/* What adds to, or sums over, the channels of rows: bias, LeakyReLU and its mask, column sums; and the
 * pixels that leave a network. */

/* x, bias, y; sizes: values, channels. */
KERNEL(NAME(bias))(Arguments a) {
    const T *ALONE x = (const T *)a.buffers[0], *ALONE bias = (const T *)a.buffers[1];
    T *ALONE y = (T *)a.buffers[2];
    const Int count = a.sizes[0], channels = a.sizes[1];
    FOR_EACH(i, count) y[i] = STORE(LOAD(x[i]) + LOAD(bias[remainder_of(i, channels)]));
}

/* x, bias, y; sizes: values, channels; numbers: slope. */
KERNEL(NAME(leaky_relu))(Arguments a) {
    const T *ALONE x = (const T *)a.buffers[0], *ALONE bias = (const T *)a.buffers[1];
    T *ALONE y = (T *)a.buffers[2];
    const Int count = a.sizes[0], channels = a.sizes[1];
    const A slope = (A)a.numbers[0];
    FOR_EACH(i, count) {
        A sum = LOAD(x[i]) + LOAD(bias[remainder_of(i, channels)]);
        y[i] = STORE(sum > 0 ? sum : sum * slope);
    }
}

/* activation, gradient, masked; sizes: values; numbers: slope. */
KERNEL(NAME(leaky_relu_mask))(Arguments a) {
    const T *ALONE y = (const T *)a.buffers[0], *ALONE g = (const T *)a.buffers[1];
    T *ALONE masked = (T *)a.buffers[2];
    const Int count = a.sizes[0];
    const A slope = (A)a.numbers[0];
    FOR_EACH(i, count) {
        A gradient = LOAD(g[i]);
        masked[i] = STORE(LOAD(y[i]) > 0 ? gradient : gradient * slope);
    }
}

/* leaky_relu, of eight channels at once, for channels that are a multiple of them; sizes: eights, channels. */
KERNEL(NAME(leaky_relu_eight))(Arguments a) {
    const NAME(Eight) *ALONE x = (const NAME(Eight) *)a.buffers[0];
    const T *ALONE bias = (const T *)a.buffers[1];
    NAME(Eight) *ALONE y = (NAME(Eight) *)a.buffers[2];
    const Int count = a.sizes[0], groups = a.sizes[1] / 8;
    const A slope = (A)a.numbers[0];
    FOR_EACH(i, count) {
        const T *ALONE biases = bias + remainder_of(i, groups) * 8;
        NAME(Eight) values = x[i];
        int k;
        for (k = 0; k < 8; k++) {
            A sum = LOAD(values.values[k]) + LOAD(biases[k]);
            values.values[k] = STORE(sum > 0 ? sum : sum * slope);
        }
        y[i] = values;
    }
}

/* leaky_relu_mask, likewise; sizes: eights. */
KERNEL(NAME(leaky_relu_mask_eight))(Arguments a) {
    const NAME(Eight) *ALONE y = (const NAME(Eight) *)a.buffers[0], *ALONE g = (const NAME(Eight) *)a.buffers[1];
    NAME(Eight) *ALONE masked = (NAME(Eight) *)a.buffers[2];
    const Int count = a.sizes[0];
    const A slope = (A)a.numbers[0];
    FOR_EACH(i, count) {
        const NAME(Eight) activations = y[i];
        NAME(Eight) gradients = g[i];
        int k;
        for (k = 0; k < 8; k++) {
            A gradient = LOAD(gradients.values[k]);
            gradients.values[k] = STORE(LOAD(activations.values[k]) > 0 ? gradient : gradient * slope);
        }
        masked[i] = gradients;
    }
}

/* The block's sum over its rows of threads, for each of its columns, in one fixed order. */
INLINE A NAME(column_total)(A value, A (*sums)[33]) {
    unsigned half;
    A total;
    sums[threadIdx.y][threadIdx.x] = value;
    BARRIER();
    for (half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half) sums[threadIdx.y][threadIdx.x] += sums[threadIdx.y + half][threadIdx.x];
        BARRIER();
    }
    total = sums[0][threadIdx.x];
    BARRIER();
    return total;
}

/* x (rows, columns), partial sums (blocks, columns) in the accumulator's type; sizes: rows, columns, rows of a
 * block. One block for each part of the rows (x) and each 32 columns (y); its rows of threads are a power of 2. */
KERNEL(NAME(column_sum_parts))(Arguments a) {
    SHARED A sums[32][33];
    const T *ALONE x = (const T *)a.buffers[0];
    A *parts = (A *)a.buffers[1], sum = 0;
    const Int rows = a.sizes[0], columns = a.sizes[1], share = a.sizes[2];
    const Int column = (Int)blockIdx.y * 32 + threadIdx.x, first = (Int)blockIdx.x * share;
    const Int end = first + share < rows ? first + share : rows;
    Int row;
    if (column < columns)
        for (row = first + threadIdx.y; row < end; row += blockDim.y) sum += LOAD(x[row * columns + column]);
    sum = NAME(column_total)(sum, sums);
    if (column < columns && threadIdx.y == 0) parts[(Int)blockIdx.x * columns + column] = sum;
}

/* partial sums (parts, columns) in the accumulator's type, sums (columns); sizes: parts, columns. One block for
 * each 32 columns (y). */
KERNEL(NAME(column_sum_total))(Arguments a) {
    SHARED A sums[32][33];
    const A *parts = (const A *)a.buffers[0];
    T *ALONE total = (T *)a.buffers[1];
    A sum = 0;
    const Int rows = a.sizes[0], columns = a.sizes[1];
    const Int column = (Int)blockIdx.y * 32 + threadIdx.x;
    Int row;
    if (column < columns)
        for (row = threadIdx.y; row < rows; row += blockDim.y) sum += parts[row * columns + column];
    sum = NAME(column_total)(sum, sums);
    if (column < columns && threadIdx.y == 0) total[column] = STORE(sum);
}

/* A value in [-1, 1] to its byte. What is no number becomes 0. */
INLINE unsigned char NAME(byte)(A value) {
    A level = NAME(round)((value + 1) * (A)127.5);
    return level > 0 ? (level < 255 ? (unsigned char)level : 255) : 0;
}

/* images in [-1, 1], bytes; sizes: values. */
KERNEL(NAME(quantise))(Arguments a) {
    const T *ALONE x = (const T *)a.buffers[0];
    unsigned char *ALONE bytes = (unsigned char *)a.buffers[1];
    const Int count = a.sizes[0];
    FOR_EACH(i, count) bytes[i] = NAME(byte)(LOAD(x[i]));
}

/* sums, bias, bytes of their tanh; sizes: values, channels. */
KERNEL(NAME(last_layer))(Arguments a) {
    const T *ALONE x = (const T *)a.buffers[0], *ALONE bias = (const T *)a.buffers[1];
    unsigned char *ALONE bytes = (unsigned char *)a.buffers[2];
    const Int count = a.sizes[0], channels = a.sizes[1];
    FOR_EACH(i, count) bytes[i] = NAME(byte)(NAME(tanh)(LOAD(x[i]) + LOAD(bias[remainder_of(i, channels)])));
}
