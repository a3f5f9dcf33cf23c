/* Sums over whole tensors, and what is divided by them. Each is taken in two halves: blocks of 256 threads make
 * partial sums, then whoever needs the sum adds those, always in one order. */

/* The block's sum over its 256 threads. */
INLINE A NAME(block_total)(A value, A *sums) {
    unsigned half;
    A total;
    sums[threadIdx.x] = value;
    BARRIER();
    for (half = 128; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        BARRIER();
    }
    total = sums[0];
    BARRIER();
    return total;
}

/* The sum of at most 256 partial sums. */
INLINE A NAME(total_of_parts)(const A *parts, Int count, A *sums) {
    return NAME(block_total)(threadIdx.x < count ? parts[threadIdx.x] : 0, sums);
}

/* x, partial sums of its squares in f64; sizes: values, the first partial sum's place. */
KERNEL(NAME(square_sums))(Arguments a) {
    SHARED A sums[256];
    const T *ALONE x = (const T *)a.buffers[0];
    double *parts = (double *)a.buffers[1];
    const Int count = a.sizes[0];
    A sum = 0;
    FOR_EACH(i, count) {
        A value = LOAD(x[i]);
        sum += value * value;
    }
    sum = NAME(block_total)(sum, sums);
    if (threadIdx.x == 0) parts[a.sizes[1] + blockIdx.x] = sum;
}

/* x, the root of its sum; sizes: values. One block. */
KERNEL(NAME(root_of_sum))(Arguments a) {
    SHARED A sums[256];
    const T *ALONE x = (const T *)a.buffers[0];
    const Int count = a.sizes[0];
    A sum = 0;
    FOR_EACH(i, count) sum += LOAD(x[i]);
    sum = NAME(block_total)(sum, sums);
    if (threadIdx.x == 0) *(T *)a.buffers[1] = STORE(NAME(root)(sum));
}

/* x, x over its length; sizes: values; numbers: the least length. One block. */
KERNEL(NAME(unit))(Arguments a) {
    SHARED A sums[256];
    const T *ALONE x = (const T *)a.buffers[0];
    T *ALONE y = (T *)a.buffers[1];
    const Int count = a.sizes[0];
    const A least = (A)a.numbers[0];
    A sum = 0, length;
    FOR_EACH(i, count) {
        A value = LOAD(x[i]);
        sum += value * value;
    }
    length = NAME(root)(NAME(block_total)(sum, sums));
    if (length < least) length = least;
    FOR_EACH(i, count) y[i] = STORE(LOAD(x[i]) / length);
}

/* x, y or nothing, partial sums of |x - y|; sizes: values. */
KERNEL(NAME(distance_sums))(Arguments a) {
    SHARED A sums[256];
    const T *x = (const T *)a.buffers[0], *y = (const T *)a.buffers[1];
    A *parts = (A *)a.buffers[2], sum = 0;
    const Int count = a.sizes[0];
    FOR_EACH(i, count) {
        A difference = LOAD(x[i]) - (y ? LOAD(y[i]) : 0);
        sum += difference < 0 ? -difference : difference;
    }
    sum = NAME(block_total)(sum, sums);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/* partial sums, their mean over all values; sizes: partial sums, values. One block. */
KERNEL(NAME(mean_of_parts))(Arguments a) {
    SHARED A sums[256];
    A sum = NAME(total_of_parts)((const A *)a.buffers[0], a.sizes[0], sums);
    if (threadIdx.x == 0) *(T *)a.buffers[1] = STORE(sum / (A)a.sizes[1]);
}

/* x, y, the gradient of the mean of |x - y|, that of x; sizes: values. */
KERNEL(NAME(distance_gradient))(Arguments a) {
    const T *ALONE x = (const T *)a.buffers[0], *ALONE y = (const T *)a.buffers[1];
    T *ALONE dx = (T *)a.buffers[3];
    const Int count = a.sizes[0];
    const A share = LOAD(*(const T *)a.buffers[2]) / (A)count;
    FOR_EACH(i, count) {
        A difference = LOAD(x[i]) - LOAD(y[i]);
        dx[i] = STORE(difference > 0 ? share : (difference < 0 ? -share : (difference == 0 ? 0 : difference)));
    }
}

/* weight (outputs, inputs), left (outputs), right (inputs), partial sums of left weight right; sizes: values,
 * inputs. */
KERNEL(NAME(bilinear_sums))(Arguments a) {
    SHARED A sums[256];
    const T *ALONE w = (const T *)a.buffers[0], *ALONE left = (const T *)a.buffers[1];
    const T *ALONE right = (const T *)a.buffers[2];
    A *parts = (A *)a.buffers[3], sum = 0;
    const Int count = a.sizes[0], inputs = a.sizes[1];
    FOR_EACH(i, count) {
        Int row = quotient(i, inputs);
        sum += LOAD(left[row]) * LOAD(w[i]) * LOAD(right[i - row * inputs]);
    }
    sum = NAME(block_total)(sum, sums);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/* weight, partial sums, weight over their sum, the sum; sizes: values, partial sums. */
KERNEL(NAME(divided))(Arguments a) {
    SHARED A sums[256];
    const T *ALONE w = (const T *)a.buffers[0];
    T *ALONE y = (T *)a.buffers[2];
    const Int count = a.sizes[0];
    const A sum = NAME(total_of_parts)((const A *)a.buffers[1], a.sizes[1], sums);
    if (blockIdx.x == 0 && threadIdx.x == 0) *(A *)a.buffers[3] = sum;
    FOR_EACH(i, count) y[i] = STORE(LOAD(w[i]) / sum);
}

/* x, y, partial sums of their products; sizes: values. */
KERNEL(NAME(product_sums))(Arguments a) {
    SHARED A sums[256];
    const T *ALONE x = (const T *)a.buffers[0], *ALONE y = (const T *)a.buffers[1];
    A *parts = (A *)a.buffers[2], sum = 0;
    const Int count = a.sizes[0];
    FOR_EACH(i, count) sum += LOAD(x[i]) * LOAD(y[i]);
    sum = NAME(block_total)(sum, sums);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/* gradient of weight over s, which is left weight right; partial sums of its product with weight; s, left, right,
 * gradient of weight; sizes: values, partial sums, inputs. */
KERNEL(NAME(divided_gradient))(Arguments a) {
    SHARED A sums[256];
    const T *ALONE g = (const T *)a.buffers[0], *ALONE left = (const T *)a.buffers[3];
    const T *ALONE right = (const T *)a.buffers[4];
    T *ALONE dw = (T *)a.buffers[5];
    const Int count = a.sizes[0], inputs = a.sizes[2];
    const A s = *(const A *)a.buffers[2];
    const A along = NAME(total_of_parts)((const A *)a.buffers[1], a.sizes[1], sums) / s;
    FOR_EACH(i, count) {
        Int row = quotient(i, inputs);
        dw[i] = STORE((LOAD(g[i]) - along * LOAD(left[row]) * LOAD(right[i - row * inputs])) / s);
    }
}
