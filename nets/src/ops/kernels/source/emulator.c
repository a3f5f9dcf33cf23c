/* Runs the kernels on a CPU, one thread of a block at a time: each goes on until it waits at a barrier, then
 * the next one does. Slow, and right only of kernels whose threads all reach the same barriers. */

#include <stdlib.h>
#include <ucontext.h>

#include "kernels.cu"

Index threadIdx, blockIdx, blockDim, gridDim;

#define STACK (64 << 10)

typedef struct {
    ucontext_t context;
    Index index;
    int running;
} Thread;

static Thread *threads;
static unsigned current;
static ucontext_t scheduler;
static void (*kernel_of_threads)(Arguments);
static Arguments arguments_of_threads;

void barrier(void) {
    swapcontext(&threads[current].context, &scheduler);
    threadIdx = threads[current].index;
}

static void run_thread(void) {
    kernel_of_threads(arguments_of_threads);
    threads[current].running = 0;
}

/* Runs a kernel over a whole grid. Returns 0 when there was memory for its threads. */
int emulate(void (*kernel)(Arguments), const Arguments *arguments, const unsigned *grid, const unsigned *block) {
    const unsigned count = block[0] * block[1] * block[2];
    char *stacks = malloc((size_t)count * STACK);
    unsigned nth, left;
    threads = calloc(count, sizeof *threads);
    if (!stacks || !threads) return 1;
    kernel_of_threads = kernel;
    arguments_of_threads = *arguments;
    gridDim = (Index){grid[0], grid[1], grid[2]};
    blockDim = (Index){block[0], block[1], block[2]};
    for (blockIdx.z = 0; blockIdx.z < grid[2]; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++) {
                for (nth = 0; nth < count; nth++) {
                    Thread *thread = &threads[nth];
                    getcontext(&thread->context);
                    thread->context.uc_stack.ss_sp = stacks + (size_t)nth * STACK;
                    thread->context.uc_stack.ss_size = STACK;
                    thread->context.uc_link = &scheduler;
                    thread->running = 1;
                    thread->index = (Index){nth % block[0], nth / block[0] % block[1], nth / block[0] / block[1]};
                    makecontext(&thread->context, run_thread, 0);
                }
                do {
                    left = 0;
                    for (current = 0; current < count; current++) {
                        if (!threads[current].running) continue;
                        threadIdx = threads[current].index;
                        swapcontext(&scheduler, &threads[current].context);
                        left += threads[current].running;
                    }
                } while (left > 0);
            }
    free(threads);
    free(stacks);
    return 0;
}
