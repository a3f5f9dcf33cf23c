/* The rooms of kernels.cu, for the number type TYPE. */

#include "bias.h"
#include "convolution.h"
#include "instance_norm.h"
#include "max_feature_map.h"
#include "optimizers.h"
#include "pools.h"
