// -mavx512f -mavx512bw -mavx512vl
#define SUPPORTED \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && \
     __builtin_cpu_supports("fma"))
#include "wavenet.h"
