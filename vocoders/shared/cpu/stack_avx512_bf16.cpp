// -mavx512f -mavx512bw -mavx512vl -mfma -mavx512bf16: a tile's product is 256 instructions
#define SUPPORTED \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && \
     __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx512bf16"))
#include "stack.h"
