/* The optimizers' updates, in place. None is made by gradients whose norm is no number: it would ruin the weights
 * before anybody has seen that norm. */

/* weights, mean, square, gradient, norm (f64); sizes: values; numbers: beta1, 1 - beta1, beta2, 1 - beta2, rate over
 * the correction of the mean, correction of the square, epsilon. */
KERNEL(NAME(adam))(Arguments a) {
    T *ALONE w = (T *)a.buffers[0], *ALONE mean = (T *)a.buffers[1], *ALONE square = (T *)a.buffers[2];
    const T *ALONE g = (const T *)a.buffers[3];
    const Int count = a.sizes[0];
    const A beta1 = (A)a.numbers[0], rest1 = (A)a.numbers[1], beta2 = (A)a.numbers[2], rest2 = (A)a.numbers[3];
    const A rate = (A)a.numbers[4], correction = (A)a.numbers[5], epsilon = (A)a.numbers[6];
    if (!is_finite(*(const double *)a.buffers[4])) return;
    FOR_EACH(i, count) {
        A gradient = LOAD(g[i]);
        A m = beta1 * LOAD(mean[i]) + rest1 * gradient;
        A v = beta2 * LOAD(square[i]) + rest2 * (gradient * gradient);
        mean[i] = STORE(m);
        square[i] = STORE(v);
        w[i] = STORE(LOAD(w[i]) - rate * m / (NAME(root)(v / correction) + epsilon));
    }
}

/* weights, velocity, gradient, norm (f64); sizes: values; numbers: momentum, what gradients of a larger norm are
 * brought down to or 0, decay, rate. */
KERNEL(NAME(sgd))(Arguments a) {
    T *ALONE w = (T *)a.buffers[0], *ALONE velocity = (T *)a.buffers[1];
    const T *ALONE g = (const T *)a.buffers[2];
    const Int count = a.sizes[0];
    const A momentum = (A)a.numbers[0], decay = (A)a.numbers[2], rate = (A)a.numbers[3];
    const double norm = *(const double *)a.buffers[3], limit = a.numbers[1];
    const A factor = (A)(limit > 0 && norm > limit ? limit / norm : 1);
    if (!is_finite(norm)) return;
    FOR_EACH(i, count) {
        A weight = LOAD(w[i]);
        A v = momentum * LOAD(velocity[i]) + factor * LOAD(g[i]) + decay * weight;
        velocity[i] = STORE(v);
        w[i] = STORE(weight - rate * v);
    }
}

/* average, weights; sizes: values; numbers: share. */
KERNEL(NAME(moving_average))(Arguments a) {
    T *ALONE average = (T *)a.buffers[0];
    const T *ALONE w = (const T *)a.buffers[1];
    const Int count = a.sizes[0];
    const A share = (A)a.numbers[0];
    FOR_EACH(i, count) {
        A old = LOAD(average[i]);
        average[i] = STORE(old + share * (LOAD(w[i]) - old));
    }
}
