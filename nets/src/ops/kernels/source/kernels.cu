/* Every kernel, once for each number type: `name_f32`, `name_f64`, `name_bf16`, `name_f16`. */

#include "machine.h"
#include "numbers.h"

#define PASTED(name, type) name##_##type
#define TYPED(name, type) PASTED(name, type)
#define NAME(name) TYPED(name, TYPE)
#define T NAME(T)
#define A NAME(A)
#define LOAD NAME(load)
#define STORE NAME(store)

#define TYPE f32
#include "ops.h"
#undef TYPE

#define TYPE f64
#include "ops.h"
#undef TYPE

#define TYPE bf16
#include "ops.h"
#undef TYPE

#define TYPE f16
#include "ops.h"
#undef TYPE
