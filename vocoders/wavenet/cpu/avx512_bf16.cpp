// -mavx512f -mavx512bw -mavx512vl -mavx512vnni -mavx512bf16: bytes and bfloat16 are multiplied and added by one
// instruction
#define SUPPORTED \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && \
     __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16"))
#include "wavenet.h"
