/* What a kernel asks of the machine that runs it.
 *
 * The kernels are written in what C and CUDA C++ have in common: nvcc compiles them for GPUs, and a C
 * compiler for the emulator of `emulator.c`, on which their arithmetic is held against the CPU's ops. */

typedef long long Int;

/* The one parameter of every kernel; each says which entries it reads. */
typedef struct {
    void *buffers[6];
    Int sizes[12];
    double numbers[8];
} Arguments;

#ifdef __CUDACC__
/* No block is larger: a thread may have as many registers as leave room for it. */
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(512) name
#define INLINE static __device__ __forceinline__
#define SHARED __shared__
#define BARRIER() __syncthreads()
#define UNROLLED _Pragma("unroll 4")
/* Of a type that is read and written whole. */
#define TOGETHER(bytes) __align__(bytes)
/* No other pointer of the kernel leads to the same values. */
#define ALONE __restrict__
#else
typedef struct {
    unsigned x, y, z;
} Index;
extern Index threadIdx, blockIdx, blockDim, gridDim;
void barrier(void);
#define KERNEL(name) void name
#define INLINE static inline
#define SHARED static
#define BARRIER() barrier()
#define UNROLLED
#define TOGETHER(bytes)
#define ALONE restrict
#endif

/* Every i below count, shared out among all threads of a grid. */
#define ONE_BY_ONE(i, count)                                                                                           \
    for (Int i = (Int)blockIdx.x * blockDim.x + threadIdx.x; i < (count); i += (Int)gridDim.x * blockDim.x)
/* The same; a thread's next few are under way together. */
#define FOR_EACH(i, count) UNROLLED ONE_BY_ONE(i, count)

/* Division of non-negative numbers: in 32 bits where both fit, which is several times faster. */
INLINE Int quotient(Int a, Int b) {
    return (unsigned long long)(a | b) >> 32 ? a / b : (Int)((unsigned)a / (unsigned)b);
}
INLINE Int remainder_of(Int a, Int b) { return a - quotient(a, b) * b; }
