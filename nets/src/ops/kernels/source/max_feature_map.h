/* Max-feature-map: the larger of two halves of the channels; alone, or with the 2x2 maximum after it. */

/* Whether a wins against b: what is no number must not vanish in a maximum. */
INLINE int NAME(exceeds)(A a, A b) { return a > b || a != a; }

/* x (rows, 2 half), bias, y (rows, half); sizes: values of y, half. */
KERNEL(NAME(max_feature_map))(Arguments a) {
    const T *ALONE x = (const T *)a.buffers[0], *ALONE bias = (const T *)a.buffers[1];
    T *ALONE y = (T *)a.buffers[2];
    const Int count = a.sizes[0], half = a.sizes[1];
    FOR_EACH(i, count) {
        Int row = quotient(i, half), channel = i - row * half, low_at = row * 2 * half + channel;
        A low = LOAD(x[low_at]) + LOAD(bias[channel]);
        A high = LOAD(x[low_at + half]) + LOAD(bias[half + channel]);
        y[i] = STORE(NAME(exceeds)(low, high) ? low : high);
    }
}

/* x, bias, gradient, gradient of x; sizes as above. */
KERNEL(NAME(max_feature_map_gradient))(Arguments a) {
    const T *ALONE x = (const T *)a.buffers[0], *ALONE bias = (const T *)a.buffers[1], *ALONE g = (const T *)a.buffers[2];
    T *ALONE dx = (T *)a.buffers[3];
    const Int count = a.sizes[0], half = a.sizes[1];
    FOR_EACH(i, count) {
        Int row = quotient(i, half), channel = i - row * half, low_at = row * 2 * half + channel;
        A low = LOAD(x[low_at]) + LOAD(bias[channel]);
        A high = LOAD(x[low_at + half]) + LOAD(bias[half + channel]);
        A share = low == high ? (A)0.5 : (low > high ? (A)1 : (A)0), gradient = LOAD(g[i]);
        dx[low_at] = STORE(gradient * share);
        dx[low_at + half] = STORE(gradient * (1 - share));
    }
}

/* Of a winner's byte: its side, plus its pixel of the window times TAP. */
#define LOW 0
#define HIGH 1
#define TIE 2
#define TAP 4

/* Where a pixel of a window begins in a convolution's output. */
#define PIXEL(window, tap)                                                                                             \
    (((quotient(window, columns) * pool + (tap) / pool) * width + remainder_of(window, columns) * pool + (tap) % pool) \
     * 2 * half)

/* convolved (rows, width, 2 half), bias, y (rows / pool, width / pool, half), winners' bytes; sizes: values of y,
 * half, pool, width. The rows of a batch's images follow each other, each a multiple of pool of them. */
KERNEL(NAME(compete))(Arguments a) {
    const T *ALONE convolved = (const T *)a.buffers[0], *ALONE bias = (const T *)a.buffers[1];
    T *ALONE y = (T *)a.buffers[2];
    unsigned char *ALONE winners = (unsigned char *)a.buffers[3];
    const Int count = a.sizes[0], half = a.sizes[1], pool = a.sizes[2], width = a.sizes[3], columns = width / pool;
    FOR_EACH(i, count) {
        Int window = quotient(i, half), channel = i - window * half, tap;
        A low_bias = LOAD(bias[channel]), high_bias = LOAD(bias[half + channel]), best = 0;
        int winner = 0;
        for (tap = 0; tap < pool * pool; tap++) {
            const T *ALONE pixel = convolved + PIXEL(window, tap) + channel;
            A low = LOAD(pixel[0]) + low_bias, high = LOAD(pixel[half]) + high_bias;
            A value = NAME(exceeds)(low, high) ? low : high;
            if (tap == 0 || NAME(exceeds)(value, best)) {
                best = value;
                winner = (int)tap * TAP + (low == high ? TIE : (low > high ? LOW : HIGH));
            }
        }
        y[i] = STORE(best);
        winners[i] = (unsigned char)winner;
    }
}

/* gradient of y, winners' bytes, gradient of convolved; sizes as above. */
KERNEL(NAME(give))(Arguments a) {
    const T *ALONE dy = (const T *)a.buffers[0];
    const unsigned char *ALONE winners = (const unsigned char *)a.buffers[1];
    T *ALONE convolved = (T *)a.buffers[2];
    const Int count = a.sizes[0], half = a.sizes[1], pool = a.sizes[2], width = a.sizes[3], columns = width / pool;
    FOR_EACH(i, count) {
        Int window = quotient(i, half), channel = i - window * half, tap;
        A gradient = LOAD(dy[i]);
        for (tap = 0; tap < pool * pool; tap++) {
            T *pixel = convolved + PIXEL(window, tap) + channel;
            int side = winners[i] - (int)tap * TAP;
            A shared = side == TIE ? gradient * (A)0.5 : 0;
            pixel[0] = STORE(side == LOW ? gradient : shared);
            pixel[half] = STORE(side == HIGH ? gradient : shared);
        }
    }
}

/* The winners of eight channels. */
typedef struct TOGETHER(8) {
    unsigned char values[8];
} NAME(EightBytes);

/* compete, of eight channels at once, for a half that is a multiple of them; sizes: eights of y, half, pool, width. */
KERNEL(NAME(compete_eight))(Arguments a) {
    const T *ALONE convolved = (const T *)a.buffers[0], *ALONE bias = (const T *)a.buffers[1];
    NAME(Eight) *ALONE y = (NAME(Eight) *)a.buffers[2];
    NAME(EightBytes) *ALONE winners = (NAME(EightBytes) *)a.buffers[3];
    const Int count = a.sizes[0], half = a.sizes[1], pool = a.sizes[2], width = a.sizes[3], columns = width / pool;
    ONE_BY_ONE(i, count) {
        Int window = quotient(i, half / 8), channel = (i - window * (half / 8)) * 8, tap;
        A best[8], low_bias[8], high_bias[8];
        NAME(Eight) result;
        NAME(EightBytes) won;
        int k;
        for (k = 0; k < 8; k++) {
            low_bias[k] = LOAD(bias[channel + k]);
            high_bias[k] = LOAD(bias[half + channel + k]);
        }
        for (tap = 0; tap < pool * pool; tap++) {
            const T *ALONE pixel = convolved + PIXEL(window, tap) + channel;
            const NAME(Eight) lows = *(const NAME(Eight) *)pixel, highs = *(const NAME(Eight) *)(pixel + half);
            for (k = 0; k < 8; k++) {
                A low = LOAD(lows.values[k]) + low_bias[k], high = LOAD(highs.values[k]) + high_bias[k];
                A value = NAME(exceeds)(low, high) ? low : high;
                if (tap == 0 || NAME(exceeds)(value, best[k])) {
                    best[k] = value;
                    won.values[k] = (unsigned char)((int)tap * TAP + (low == high ? TIE : (low > high ? LOW : HIGH)));
                }
            }
        }
        for (k = 0; k < 8; k++) result.values[k] = STORE(best[k]);
        y[i] = result;
        winners[i] = won;
    }
}

/* give, likewise. */
KERNEL(NAME(give_eight))(Arguments a) {
    const NAME(Eight) *ALONE dy = (const NAME(Eight) *)a.buffers[0];
    const NAME(EightBytes) *ALONE winners = (const NAME(EightBytes) *)a.buffers[1];
    NAME(Eight) *ALONE convolved = (NAME(Eight) *)a.buffers[2];
    const Int count = a.sizes[0], half = a.sizes[1], pool = a.sizes[2], width = a.sizes[3], columns = width / pool;
    ONE_BY_ONE(i, count) {
        Int window = quotient(i, half / 8), channel = (i - window * (half / 8)) * 8, tap;
        const NAME(Eight) gradients = dy[i];
        const NAME(EightBytes) won = winners[i];
        for (tap = 0; tap < pool * pool; tap++) {
            const Int at = (PIXEL(window, tap) + channel) / 8;
            NAME(Eight) lows, highs;
            int k;
            for (k = 0; k < 8; k++) {
                int side = won.values[k] - (int)tap * TAP;
                A gradient = LOAD(gradients.values[k]), shared = side == TIE ? gradient * (A)0.5 : 0;
                lows.values[k] = STORE(side == LOW ? gradient : shared);
                highs.values[k] = STORE(side == HIGH ? gradient : shared);
            }
            convolved[at] = lows;
            convolved[at + half / 8] = highs;
        }
    }
}

#undef LOW
#undef HIGH
#undef TIE
#undef TAP
#undef PIXEL
