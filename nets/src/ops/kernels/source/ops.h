/* The rooms of kernels.cu, for the number type TYPE. */

/* Eight values that lie side by side. */
typedef struct TOGETHER(16) {
    T values[8];
} NAME(Eight);

#include "bias.h"
#include "convolution.h"
#include "instance_norm.h"
#include "last_layer.h"
#include "max_feature_map.h"
#include "optimizers.h"
#include "pools.h"
#include "sums.h"
