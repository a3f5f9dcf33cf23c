/* The three kinds of convolution by their definition, one thread for each value of the result: for what cuDNN
 * has no kernel of, f64 above all.
 *
 * Sizes: values of the result, then batch, height, width, channels, filters, out_height, out_width, size, stride,
 * padding. */

#define GEOMETRY                                                                                                       \
    const Int count = a.sizes[0], batch = a.sizes[1], height = a.sizes[2], width = a.sizes[3], channels = a.sizes[4];  \
    const Int filters = a.sizes[5], out_height = a.sizes[6], out_width = a.sizes[7], size = a.sizes[8];                \
    const Int stride = a.sizes[9], padding = a.sizes[10];                                                              \
    (void)batch, (void)height, (void)out_height

/* images, filters, outputs. */
KERNEL(NAME(convolution_forward))(Arguments a) {
    const T *x = (const T *)a.buffers[0], *w = (const T *)a.buffers[1];
    T *y = (T *)a.buffers[2];
    GEOMETRY;
    FOR_EACH(i, count) {
        Int pixel = quotient(i, filters), filter = i - pixel * filters;
        Int line = quotient(pixel, out_width), out_x = pixel - line * out_width;
        Int image = quotient(line, out_height), out_y = line - image * out_height, tap_y, tap_x, channel;
        A sum = 0;
        for (tap_y = 0; tap_y < size; tap_y++)
            for (tap_x = 0; tap_x < size; tap_x++) {
                Int row = out_y * stride + tap_y - padding, column = out_x * stride + tap_x - padding;
                const T *from, *by;
                if (row < 0 || row >= height || column < 0 || column >= width) continue;
                from = x + ((image * height + row) * width + column) * channels;
                by = w + ((filter * size + tap_y) * size + tap_x) * channels;
                for (channel = 0; channel < channels; channel++) sum += LOAD(from[channel]) * LOAD(by[channel]);
            }
        y[i] = STORE(sum);
    }
}

/* outputs, filters, images. */
KERNEL(NAME(convolution_data_gradient))(Arguments a) {
    const T *y = (const T *)a.buffers[0], *w = (const T *)a.buffers[1];
    T *x = (T *)a.buffers[2];
    GEOMETRY;
    FOR_EACH(i, count) {
        Int pixel = quotient(i, channels), channel = i - pixel * channels;
        Int line = quotient(pixel, width), column = pixel - line * width;
        Int image = quotient(line, height), row = line - image * height, tap_y, tap_x, filter;
        A sum = 0;
        for (tap_y = 0; tap_y < size; tap_y++)
            for (tap_x = 0; tap_x < size; tap_x++) {
                Int down = row + padding - tap_y, right = column + padding - tap_x;
                const T *from, *by;
                if (down < 0 || right < 0 || down % stride != 0 || right % stride != 0) continue;
                if (down / stride >= out_height || right / stride >= out_width) continue;
                from = y + ((image * out_height + down / stride) * out_width + right / stride) * filters;
                by = w + (tap_y * size + tap_x) * channels + channel;
                for (filter = 0; filter < filters; filter++)
                    sum += LOAD(from[filter]) * LOAD(by[filter * size * size * channels]);
            }
        x[i] = STORE(sum);
    }
}

/* images, outputs, and in the accumulator's type (parts, filters): the sums over parts of the outputs' lines; of the
 * sizes the first counts the values of all parts, and another follows: lines of a part. */
KERNEL(NAME(convolution_filter_gradient))(Arguments a) {
    const T *x = (const T *)a.buffers[0], *y = (const T *)a.buffers[1];
    A *parts = (A *)a.buffers[2];
    GEOMETRY;
    const Int share = a.sizes[11], lines = batch * out_height, values = filters * size * size * channels;
    FOR_EACH(i, count) {
        Int part = quotient(i, values), at = i - part * values;
        Int tap = quotient(at, channels), channel = at - tap * channels;
        Int filter = quotient(tap, size * size), tap_y = remainder_of(tap, size * size) / size;
        Int tap_x = remainder_of(tap, size), line, out_x;
        const Int end = (part + 1) * share < lines ? (part + 1) * share : lines;
        A sum = 0;
        for (line = part * share; line < end; line++) {
            Int image = quotient(line, out_height), row = (line - image * out_height) * stride + tap_y - padding;
            if (row < 0 || row >= height) continue;
            for (out_x = 0; out_x < out_width; out_x++) {
                Int column = out_x * stride + tap_x - padding;
                if (column < 0 || column >= width) continue;
                sum += LOAD(x[((image * height + row) * width + column) * channels + channel])
                       * LOAD(y[(line * out_width + out_x) * filters + filter]);
            }
        }
        parts[i] = sum;
    }
}

#undef GEOMETRY
