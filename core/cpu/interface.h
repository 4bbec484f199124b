// What the C interfaces of the kernels have in common.

#pragma once

#include <exception>

#define PUBLIC extern "C" __attribute__((visibility("default")))

namespace {

// No exception may leave a C function. A failure, which can only be a lack of memory, returns null or zero.
template <class Work> auto guarded(Work work) -> decltype(work()) {
    try {
        return work();
    } catch (const std::exception&) {
        return {};
    }
}

// Whether this processor has the instructions that this file is compiled for.
inline bool supported() {
#if defined(__AVX512F__)
    bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#if defined(__AVX512VNNI__)
    has = has && __builtin_cpu_supports("avx512vnni");
#endif
#if defined(__AVX512BF16__)
    has = has && __builtin_cpu_supports("avx512bf16");
#endif
    return has;
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return true;
#endif
}

}  // namespace
