// -mavx512f -mavx512bw -mavx512vl -mfma -mavx512bf16 -mamx-tile -mamx-bf16: a tile's product is one instruction.
// Compilers knew AMX's instructions before __builtin_cpu_supports knew AMX, so the processor is asked directly.
#include <cpuid.h>
static bool has_amx() {
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1);  // AMX-BF16, AMX-TILE
}
#define SUPPORTED (__builtin_cpu_supports("avx512bf16") && has_amx())
#include "stack.h"
