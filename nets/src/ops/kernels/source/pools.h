/* Windows at stride 2: averages with their adjoint, and maximum plus average. */

/* The first position of an output's window inside the image, and the one behind its last. */
#define WINDOW_START(out) (2 * (out) > padding ? 2 * (out)-padding : 0)
#define WINDOW_END(out, extent) (2 * (out) + size - padding < (extent) ? 2 * (out) + size - padding : (extent))

/* x (images, height, width, channels), y at half the extents; sizes: values of y, height, width, channels, side of
 * the window, padding. */
KERNEL(NAME(average_pool))(Arguments a) {
    const T *ALONE x = (const T *)a.buffers[0];
    T *ALONE y = (T *)a.buffers[1];
    const Int count = a.sizes[0], height = a.sizes[1], width = a.sizes[2], channels = a.sizes[3];
    const Int size = a.sizes[4], padding = a.sizes[5];
    FOR_EACH(i, count) {
        Int pixel = quotient(i, channels), channel = i - pixel * channels;
        Int line = quotient(pixel, width / 2), out_x = pixel - line * (width / 2);
        Int image = quotient(line, height / 2), out_y = line - image * (height / 2);
        Int left = WINDOW_START(out_x), right = WINDOW_END(out_x, width);
        Int top = WINDOW_START(out_y), bottom = WINDOW_END(out_y, height), row, column;
        A weight = 1 / (A)((right - left) * (bottom - top)), sum = 0;
        for (row = top; row < bottom; row++)
            for (column = left; column < right; column++)
                sum += LOAD(x[((image * height + row) * width + column) * channels + channel]) * weight;
        y[i] = STORE(sum);
    }
}

/* gradient of y, gradient of x; sizes as above, but first: values of x. */
KERNEL(NAME(average_pool_adjoint))(Arguments a) {
    const T *ALONE g = (const T *)a.buffers[0];
    T *ALONE dx = (T *)a.buffers[1];
    const Int count = a.sizes[0], height = a.sizes[1], width = a.sizes[2], channels = a.sizes[3];
    const Int size = a.sizes[4], padding = a.sizes[5];
    FOR_EACH(i, count) {
        Int pixel = quotient(i, channels), channel = i - pixel * channels;
        Int line = quotient(pixel, width), column = pixel - line * width;
        Int image = quotient(line, height), row = line - image * height, out_y, out_x;
        A sum = 0;
        /* A window holds the position when it starts at or before it and ends behind it. */
        for (out_y = row + padding < size ? 0 : (row + padding - size) / 2 + 1; 2 * out_y <= row + padding; out_y++)
            for (out_x = column + padding < size ? 0 : (column + padding - size) / 2 + 1; 2 * out_x <= column + padding;
                 out_x++) {
                Int rows, columns;
                if (out_y >= height / 2 || out_x >= width / 2) continue;
                rows = WINDOW_END(out_y, height) - WINDOW_START(out_y);
                columns = WINDOW_END(out_x, width) - WINDOW_START(out_x);
                sum += LOAD(g[((image * (height / 2) + out_y) * (width / 2) + out_x) * channels + channel])
                       * (1 / (A)(rows * columns));
            }
        dx[i] = STORE(sum);
    }
}

/* Where the window of value i of y begins in x, for rows of images that follow each other. */
#define CORNER(i)                                                                                                      \
    ((quotient(quotient(i, channels), width / 2) * 2 * width + remainder_of(quotient(i, channels), width / 2) * 2)     \
         * channels                                                                                                    \
     + remainder_of(i, channels))

/* x, y; sizes: values of y, width, channels. */
KERNEL(NAME(max_average_pool))(Arguments a) {
    const T *ALONE x = (const T *)a.buffers[0];
    T *ALONE y = (T *)a.buffers[1];
    const Int count = a.sizes[0], width = a.sizes[1], channels = a.sizes[2];
    FOR_EACH(i, count) {
        Int corner = CORNER(i), tap;
        A sum = 0, best = 0;
        for (tap = 0; tap < 4; tap++) {
            A value = LOAD(x[corner + ((tap / 2) * width + tap % 2) * channels]);
            sum += value;
            if (tap == 0 || value > best) best = value;
        }
        y[i] = STORE(best + sum * (A)0.25);
    }
}

/* x, gradient of y, gradient of x; sizes as above. */
KERNEL(NAME(max_average_pool_gradient))(Arguments a) {
    const T *ALONE x = (const T *)a.buffers[0], *ALONE g = (const T *)a.buffers[1];
    T *ALONE dx = (T *)a.buffers[2];
    const Int count = a.sizes[0], width = a.sizes[1], channels = a.sizes[2];
    FOR_EACH(i, count) {
        Int corner = CORNER(i), tap, winner = 0;
        A best = 0, gradient = LOAD(g[i]);
        for (tap = 0; tap < 4; tap++) {
            A value = LOAD(x[corner + ((tap / 2) * width + tap % 2) * channels]);
            if (tap == 0 || value > best) {
                best = value;
                winner = tap;
            }
        }
        for (tap = 0; tap < 4; tap++)
            dx[corner + ((tap / 2) * width + tap % 2) * channels] =
                STORE(gradient * (tap == winner ? (A)1.25 : (A)0.25));
    }
}

#undef WINDOW_START
#undef WINDOW_END
#undef CORNER
