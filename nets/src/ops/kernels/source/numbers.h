/* The number types: how each is stored (T_) and what it is computed in (A_).
 *
 * Half-precision types travel as their bits, so that no header of any compiler is needed. */

typedef float T_f32, A_f32, A_bf16, A_f16;
typedef double T_f64, A_f64;
typedef unsigned short T_bf16, T_f16;

INLINE float load_f32(float value) { return value; }
INLINE float store_f32(float value) { return value; }
INLINE double load_f64(double value) { return value; }
INLINE double store_f64(double value) { return value; }

#ifdef __CUDACC__
INLINE float load_bf16(T_bf16 bits) { return __uint_as_float((unsigned)bits << 16); }
INLINE T_bf16 store_bf16(float value) {
    T_bf16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
INLINE float load_f16(T_f16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
INLINE T_f16 store_f16(float value) {
    T_f16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
INLINE float root_f32(float value) { return sqrtf(value); }
INLINE float tanh_f32(float value) { return tanhf(value); }
INLINE float round_f32(float value) { return rintf(value); }
INLINE double root_f64(double value) { return sqrt(value); }
INLINE double tanh_f64(double value) { return tanh(value); }
INLINE double round_f64(double value) { return rint(value); }
#else
INLINE float load_bf16(T_bf16 bits) {
    union {
        unsigned bits;
        float value;
    } both;
    both.bits = (unsigned)bits << 16;
    return both.value;
}
INLINE T_bf16 store_bf16(float value) {
    union {
        unsigned bits;
        float value;
    } both;
    both.value = value;
    /* To the nearest, ties to even; what is no number stays none. */
    if (value != value) return 0x7fff;
    return (T_bf16)((both.bits + 0x7fff + ((both.bits >> 16) & 1)) >> 16);
}
INLINE float load_f16(T_f16 bits) {
    union {
        unsigned short bits;
        _Float16 value;
    } both;
    both.bits = bits;
    return (float)both.value;
}
INLINE T_f16 store_f16(float value) {
    union {
        unsigned short bits;
        _Float16 value;
    } both;
    both.value = (_Float16)value;
    return both.bits;
}
INLINE float root_f32(float value) { return __builtin_sqrtf(value); }
INLINE float tanh_f32(float value) { return __builtin_tanhf(value); }
INLINE float round_f32(float value) { return __builtin_rintf(value); }
INLINE double root_f64(double value) { return __builtin_sqrt(value); }
INLINE double tanh_f64(double value) { return __builtin_tanh(value); }
INLINE double round_f64(double value) { return __builtin_rint(value); }
#endif

/* Whether a number is one, and no infinity. */
INLINE int is_finite(double value) { return value - value == 0; }

INLINE float root_bf16(float value) { return root_f32(value); }
INLINE float root_f16(float value) { return root_f32(value); }
INLINE float tanh_bf16(float value) { return tanh_f32(value); }
INLINE float tanh_f16(float value) { return tanh_f32(value); }
INLINE float round_bf16(float value) { return round_f32(value); }
INLINE float round_f16(float value) { return round_f32(value); }
