/* A generator's last layer: a 4x4 transposed convolution at stride 2, its bias, tanh, bytes. */

/* Filters of a layer that is computed whole: channels in, times channels out. */
#define FILTERS 256

/* The sums of four pixels of one image, each of `channels` values, that share the four values of y around their
 * corner: rows 2 top - 1 and 2 top, columns 2 left - 1 and 2 left, out of rows top - 1 and top, columns left - 1 and
 * left. weights (4 of y, inputs, channels, 4 pixels). */
INLINE void NAME(four_pixels)(const NAME(Eight) *y, const A *weights, const T *bias, unsigned char *bytes, Int top,
                              Int left, Int height, Int width, Int inputs, const Int channels) {
    A sums[12];
    Int place, group, c;
    int k, pixel;
    for (c = 0; c < channels; c++)
        for (pixel = 0; pixel < 4; pixel++) sums[c * 4 + pixel] = 0;
    for (place = 0; place < 4; place++) {
        const Int row = top - 1 + place / 2, column = left - 1 + place % 2;
        if (row < 0 || column < 0 || row >= height || column >= width) continue;
        for (group = 0; group < inputs / 8; group++) {
            const NAME(Eight) values = y[(row * width + column) * (inputs / 8) + group];
            const A *of_group = weights + (place * inputs + group * 8) * channels * 4;
            for (k = 0; k < 8; k++)
                for (c = 0; c < channels; c++)
                    for (pixel = 0; pixel < 4; pixel++)
                        sums[c * 4 + pixel] += LOAD(values.values[k]) * of_group[(k * channels + c) * 4 + pixel];
        }
    }
    for (pixel = 0; pixel < 4; pixel++) {
        const Int row = 2 * top - 1 + pixel / 2, column = 2 * left - 1 + pixel % 2;
        if (row < 0 || column < 0 || row >= 2 * height || column >= 2 * width) continue;
        for (c = 0; c < channels; c++)
            bytes[(row * 2 * width + column) * channels + c] =
                NAME(byte)(NAME(tanh)(sums[c * 4 + pixel] + LOAD(bias[c])));
    }
}

/* y (images, height, width, inputs), filters (inputs, 4, 4, channels), bias, bytes (images, 2 height, 2 width,
 * channels) for one or three channels, and inputs that are a multiple of 8; sizes: images * (height + 1) *
 * (width + 1), height, width, inputs, channels. */
KERNEL(NAME(whole_last_layer))(Arguments a) {
    SHARED TOGETHER(16) A weights[16 * FILTERS];
    const T *ALONE filters = (const T *)a.buffers[1], *ALONE bias = (const T *)a.buffers[2];
    const Int count = a.sizes[0], height = a.sizes[1], width = a.sizes[2], inputs = a.sizes[3], channels = a.sizes[4];
    Int at;
    for (at = threadIdx.x; at < 16 * inputs * channels; at += blockDim.x) {
        const Int pixel = at % 4, channel = at / 4 % channels, input = at / 4 / channels % inputs;
        const Int place = at / 4 / channels / inputs;
        /* A pixel's tap of a value of y: the lower and right ones of both are one further on. */
        const Int row = 2 + pixel / 2 - 2 * (place / 2), column = 2 + pixel % 2 - 2 * (place % 2);
        weights[at] = LOAD(filters[((input * 4 + row) * 4 + column) * channels + channel]);
    }
    BARRIER();
    ONE_BY_ONE(i, count) {
        const Int line = quotient(i, width + 1), left = i - line * (width + 1);
        const Int image = quotient(line, height + 1), top = line - image * (height + 1);
        const NAME(Eight) *y = (const NAME(Eight) *)a.buffers[0] + image * height * width * (inputs / 8);
        unsigned char *bytes = (unsigned char *)a.buffers[3] + image * 4 * height * width * channels;
        if (channels == 1)
            NAME(four_pixels)(y, weights, bias, bytes, top, left, height, width, inputs, 1);
        else
            NAME(four_pixels)(y, weights, bias, bytes, top, left, height, width, inputs, 3);
    }
}

#undef FILTERS
