// What the kernel needs of a GPU: thread numbers, barriers, other blocks' shared memory, shuffles, 16-bit numbers,
// tensor cores. The kernel itself names no hardware. The tests have a second file of these names, emulator.h, for the
// CPU.
//
// It includes nothing, since NVRTC comes without headers. What NVRTC lacks is one PTX instruction each.

#pragma once

#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 1)
#define PLAIN_KERNEL extern "C" __global__ void

#if BITS == 32
typedef float Number;
#else
typedef unsigned short Number;
#endif

struct alignas(16) Words {
    unsigned word[4];
};

namespace {

DEVICE int thread_number() { return threadIdx.x; }
DEVICE int block_number() { return blockIdx.x; }
DEVICE int block_size() { return blockDim.x; }

DEVICE char* shared_memory() {
    extern __shared__ __align__(128) char memory[];
    return memory;
}

// --- barriers -------------------------------------------------------------------------------------------------------

DEVICE void sync() { __syncthreads(); }    // of the block
DEVICE void sync_warp() { __syncwarp(); }  // of the warp: what its threads wrote, all of them see

#if BLOCKS > 1
// The cluster's barrier in two halves. What was written before `arrive`, also to other blocks' shared memory, is
// visible to all threads after `wait`. Between the two a thread may do work that does not depend on it.
DEVICE void arrive() { asm volatile("barrier.cluster.arrive.release;" ::: "memory"); }
DEVICE void wait() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }

// The same place in the shared memory of the cluster's block `rank`.
template <class T> DEVICE T* peer(T* mine, int rank) {
    unsigned long long theirs;
    asm("mapa.u64 %0, %1, %2;" : "=l"(theirs) : "l"(reinterpret_cast<unsigned long long>(mine)), "r"(rank));
    return reinterpret_cast<T*>(theirs);
}
#else
DEVICE void arrive() {}
DEVICE void wait() { __syncthreads(); }
template <class T> DEVICE T* peer(T* mine, int) { return mine; }
#endif

// --- shuffles: among `width` neighbouring threads of a warp, a power of two -----------------------------------------

template <int width> DEVICE unsigned group() {
    return width == 32 ? 0xffffffffu : ((1u << (width % 32)) - 1) << (threadIdx.x % 32 / width * width);
}
template <int width, class T> DEVICE T shuffle(T value, int from) {
    return __shfl_sync(group<width>(), value, from, width);
}
// With the thread whose number differs in the bit `distance`.
template <int width, class T> DEVICE T exchange(T value, int distance) {
    return __shfl_xor_sync(group<width>(), value, distance, width);
}

// --- numbers --------------------------------------------------------------------------------------------------------

// Compute it here and not later.
DEVICE void now(float& x) { asm volatile("" : "+f"(x)); }

DEVICE float divide(float a, float b) { return __fdividef(a, b); }
DEVICE float exp2_(float x) { return exp2f(x); }
DEVICE float cos_of_turns(float x) { return cospif(2 * x); }

#if BITS == 32
DEVICE Number number(float x) { return x; }
DEVICE float value(Number x) { return x; }
DEVICE void unpack(unsigned word, float* to) { to[0] = __uint_as_float(word); }
#elif BFLOAT
DEVICE Number number(float x) {
    unsigned bits = __float_as_uint(x);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
DEVICE float value(Number x) { return __uint_as_float(unsigned(x) << 16); }
DEVICE void unpack(unsigned word, float* to) {
    to[0] = __uint_as_float(word << 16), to[1] = __uint_as_float(word & 0xffff0000u);
}
#else
DEVICE Number number(float x) {
    Number bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(fminf(fmaxf(x, -65504.0f), 65504.0f)));
    return bits;
}
DEVICE float value(Number x) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(x));
    return result;
}
DEVICE void unpack(unsigned word, float* to) { to[0] = value(word & 0xffff), to[1] = value(word >> 16); }
#endif

// --- tensor cores: 16 rows of weights times 16 vectors, 16 numbers of each ------------------------------------------

#if TENSOR
#if BFLOAT
#define KIND "bf16"
#define PRODUCT "wmma.mma.sync.aligned.row.col.m16n16k16.f32.bf16.bf16.f32"
#define REGISTERS "{%0, %1, %2, %3}"
#define OUTPUTS_OF(r) "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
#define AFTER(first, second) first
constexpr int WORDS = 4;
#else
#define KIND "f16"
#define PRODUCT "wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32"
#define REGISTERS "{%0, %1, %2, %3, %4, %5, %6, %7}"
#define OUTPUTS_OF(r) "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]), "=r"(r[4]), "=r"(r[5]), "=r"(r[6]), "=r"(r[7])
#define AFTER(first, second) second
constexpr int WORDS = 8;
#endif

// clang-format off: the operands of PTX, with one line for each group of registers
struct WeightTile {
    unsigned r[WORDS];
    DEVICE void load(const Number* from) {  // 16 rows of 16, one after the other
        asm volatile("wmma.load.a.sync.aligned.row.m16n16k16." KIND " " REGISTERS ", [" AFTER("%4", "%8") "], 16;"
                     : OUTPUTS_OF(r)
                     : "l"(from));
    }
};

struct VectorTile {
    unsigned r[WORDS];
    DEVICE void load(const Number* from, int pitch) {  // 16 vectors, `pitch` numbers apart
        asm volatile("wmma.load.b.sync.aligned.col.m16n16k16." KIND " " REGISTERS
                     ", [" AFTER("%4", "%8") "], " AFTER("%5", "%9") ";"
                     : OUTPUTS_OF(r)
                     : "l"(from), "r"(pitch));
    }
};

struct SumTile {
    float s[8];
    DEVICE void clear() {
        UNROLL
        for (int i = 0; i < 8; i++) s[i] = 0;
    }
    DEVICE void add(const WeightTile& a, const VectorTile& b) {
        asm volatile(PRODUCT " {%0, %1, %2, %3, %4, %5, %6, %7}, "
#if BFLOAT
                             "{%8, %9, %10, %11}, {%12, %13, %14, %15}, "
#else
                             "{%8, %9, %10, %11, %12, %13, %14, %15}, {%16, %17, %18, %19, %20, %21, %22, %23}, "
#endif
                             "{%0, %1, %2, %3, %4, %5, %6, %7};"
                     : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3]), "+f"(s[4]), "+f"(s[5]), "+f"(s[6]), "+f"(s[7])
                     : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]),
#if !BFLOAT
                       "r"(a.r[4]), "r"(a.r[5]), "r"(a.r[6]), "r"(a.r[7]),
#endif
                       "r"(b.r[0]), "r"(b.r[1]), "r"(b.r[2]), "r"(b.r[3])
#if !BFLOAT
                       , "r"(b.r[4]), "r"(b.r[5]), "r"(b.r[6]), "r"(b.r[7])
#endif
        );
    }
    DEVICE void store(float* to, int pitch) const {  // row after row
        asm volatile("wmma.store.d.sync.aligned.row.m16n16k16.f32 [%0], {%1, %2, %3, %4, %5, %6, %7, %8}, %9;"
                     :
                     : "l"(to), "f"(s[0]), "f"(s[1]), "f"(s[2]), "f"(s[3]), "f"(s[4]), "f"(s[5]), "f"(s[6]), "f"(s[7]),
                       "r"(pitch)
                     : "memory");
    }
};
// clang-format on
#endif  // TENSOR

}  // namespace
