// Vectors of the processor, exp2, and the product of packed numbers in three precisions.
//
// Vectors are GNU vector extensions as wide as the instruction set that this file is compiled for. So the kernel is
// written once, in plain operators, and runs wherever g++ or clang does. Intrinsics are used where no operator exists
// (the dot products of bfloat16 and of bytes) and where the compiler's code is slower.
//
// The header is compiled once for each instruction set. All of it is in an unnamed namespace, so that the linker never
// merges functions of different builds.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#pragma GCC diagnostic push
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 finds some in its own header (GCC bug 105593)
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#define ALWAYS_INLINE inline __attribute__((always_inline))

namespace {

// TILES x COLUMNS: sums of a product at a time, in registers (matrix.h). Multiply-adds need eight to hide their latency.
#if defined(__AVX512F__)
constexpr int LANES = 16, TILES = 4, COLUMNS = 4;  // half of 32 registers
#elif defined(__AVX2__)
constexpr int LANES = 8, TILES = 3, COLUMNS = 4;  // 12 of 16 registers; 3 for weights, 1 for an activation
#else
constexpr int LANES = 4, TILES = 4, COLUMNS = 2;
#endif

typedef float F __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));
typedef uint32_t U __attribute__((vector_size(4 * LANES)));
typedef int16_t S __attribute__((vector_size(4 * LANES)));
typedef uint16_t U16 __attribute__((vector_size(2 * LANES)));
typedef uint8_t U8 __attribute__((vector_size(LANES)));

using Word = int32_t;  // 32 bits of packed numbers: 1 float, 2 bfloat16 or 4 bytes

template <class V> inline V load(const void* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <class V> inline void store(void* to, V v) { std::memcpy(to, &v, sizeof v); }
// body(0), body(1), .. body(n - 1), unrolled, each with its number as a constant. Arrays of vectors with such indices
// live in registers. (In a loop that g++ unrolls, they stay in memory.)
template <class Body, int... i> ALWAYS_INLINE void repeat(Body body, std::integer_sequence<int, i...>) {
    (body(std::integral_constant<int, i>{}), ...);
}
template <int n, class Body> ALWAYS_INLINE void repeat(Body body) {
    repeat(body, std::make_integer_sequence<int, n>{});
}

inline F all(float x) { return x - F{}; }  // x - 0 is x, -0 included: no addition is left of it
inline I all(int32_t x) { return x - I{}; }

inline F minimum(F a, F b) {
#if defined(__AVX512F__)
    return (F)_mm512_min_ps((__m512)a, (__m512)b);  // g++ makes two instructions of what is below
#else
    return a < b ? a : b;
#endif
}
inline F maximum(F a, F b) {
#if defined(__AVX512F__)
    return (F)_mm512_max_ps((__m512)a, (__m512)b);
#else
    return a > b ? a : b;
#endif
}

// The greatest of a vector's numbers, in every lane.
template <int... i> inline F rotated(F v, int by, std::integer_sequence<int, i...>) {
    return F{v[(i + by) % LANES]...};
}
inline F greatest(F v) {
    for (int by = LANES / 2; by; by /= 2) v = maximum(v, rotated(v, by, std::make_integer_sequence<int, LANES>{}));
    return v;
}

// Store the low bytes, or the low halves, of a vector's words as LANES bytes or halves.
inline void store_bytes(void* to, U words) {
#if defined(__AVX512F__)
    store(to, _mm512_cvtepi32_epi8((__m512i)words));
#elif defined(__AVX2__)
    __m256i masked = (__m256i)(words & 255);
    __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(masked), _mm256_extracti128_si256(masked, 1));
    _mm_storel_epi64(static_cast<__m128i*>(to), _mm_packus_epi16(halves, halves));
#else
    store(to, __builtin_convertvector(words, U8));
#endif
}
inline void store_halves(void* to, U words) {
#if defined(__AVX512F__)
    store(to, _mm512_cvtepi32_epi16((__m512i)words));
#elif defined(__AVX2__)
    __m256i masked = (__m256i)(words & 0xffff);
    store(to, _mm_packus_epi32(_mm256_castsi256_si128(masked), _mm256_extracti128_si256(masked, 1)));
#else
    store(to, __builtin_convertvector(words, U16));
#endif
}

// 2^23 * 1.5: added to a float below 2^22, it puts the nearest integer into the low bits.
constexpr float ROUND = 12582912.0f;

// 2^x for |x| < 126, within 1e-7: the nearest integer goes into the exponent, 2 to the rest is a minimax polynomial.
inline F exp2(F x) {
    F rounded = x + ROUND, f = x - (rounded - ROUND);
    F p = f * 1.326472731307149e-3f + 9.671512991189957e-3f;
    p = p * f + 5.550733581185341e-2f;
    p = p * f + 2.402224242687225e-1f;
    p = p * f + 6.931470036506653e-1f;
    p = p * f + 1.0f;
    return (F)((I)p + ((I)rounded << 23));
}

constexpr float LOG2E = 1.4426950408889634f;

// tanh(a) * sigmoid(b) with one division: (1 - p) / ((1 + p) (1 + q)), p = e^-2a, q = e^-b. Beyond the bounds the
// result does not change in float32.
inline F gate(F a, F b) {
    a = minimum(maximum(a, all(-9.5f)), all(9.5f));
    b = minimum(maximum(b, all(-60.0f)), all(60.0f));
    F p = exp2(a * (-2 * LOG2E)), q = exp2(b * -LOG2E);
    return (1.0f - p) / ((1.0f + p) * (1.0f + q));
}

// --- three precisions -----------------------------------------------------------------------------------------------
// Each defines how many numbers a word holds; how a vector of activations is packed into words (`pack`, with RELU after
// a relu); how weights are (`weights`); and one step of a product (`dot`): each lane's word of weights times one word
// of activations.

struct Fp32 {
    using Sum = F;
    static constexpr int PER_WORD = 1, EXTRA = 0;

    static Word weights(const float* w, float) {
        Word word;
        std::memcpy(&word, w, 4);
        return word;
    }
    template <bool RELU> static void pack(const float* x, int n, Word* out) {
        for (int i = 0; i < n; i += LANES) {
            F v = load<F>(x + i);
            store(out + i, RELU ? maximum(v, F{}) : v);
        }
    }
    static F dot(F sum, I w, I x) { return (F)w * (F)x + sum; }
};

struct Bf16 {
    using Sum = F;
    static constexpr int PER_WORD = 2, EXTRA = 0;

    static uint32_t round(float x) {  // to the nearest, ties to even
        uint32_t bits;
        std::memcpy(&bits, &x, 4);
        return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
    static Word weights(const float* w, float) { return Word(round(w[0]) | round(w[1]) << 16); }
    template <bool RELU> static void pack(const float* x, int n, Word* out) {
        for (int i = 0; i < n; i += LANES) {
            F v = load<F>(x + i);
            if (RELU) v = maximum(v, F{});
            U bits = (U)v;
            bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
            store_halves(reinterpret_cast<uint16_t*>(out) + i, bits);
        }
    }
    static F dot(F sum, I w, I x) {
#if defined(__AVX512BF16__)
        return (F)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)x);
#else
        sum = (F)(w << 16) * (F)(x << 16) + sum;
        constexpr int32_t HIGH = int32_t(0xffff0000);
        return (F)(w & HIGH) * (F)(x & HIGH) + sum;
#endif
    }
};

// Bytes: weights are -127..127 times a scale of their row, activations 0..255 times a scale of their vector. That scale
// is stored in the word after them. Signed activations are stored with 128 added, which the row's `offset` subtracts
// again. Sums are exact integers. Where one instruction adds two products in 16 bits, which it would clip, the scale of
// a row is such that neighbouring weights add up to 128 at most: 255 * 128 < 2^15.
struct Int8 {
    using Sum = I;
    static constexpr int PER_WORD = 4, EXTRA = 1;
#if defined(__AVX2__) && !defined(__AVX512VNNI__)
    static constexpr bool PAIRED = true;
#else
    static constexpr bool PAIRED = false;
#endif

    // Of a row of n weights, n even.
    static float scale(const float* w, int n) {
        float most = 0;
        for (int i = 0; i < n; i += 2) {
            float a = std::fabs(w[i]), b = std::fabs(w[i + 1]);
            most = std::max(most, PAIRED ? a + b : std::max(a, b));
        }
        return most / 127;
    }

    static Word weights(const float* w, float scale) {
        uint32_t word = 0;
        for (int i = 0; i < 4; i++) word |= uint32_t(uint8_t(level(w[i], scale))) << 8 * i;
        return Word(word);
    }
    static int level(float w, float scale) { return scale > 0 ? int(w / scale + 128.5f) - 128 : 0; }
    template <bool RELU> static void pack(const float* x, int n, Word* out) {
        F top = all(1e-30f);  // not 0: a silent vector is divided by it too
        for (int i = 0; i < n; i += LANES) {
            F v = load<F>(x + i);
            top = maximum(top, RELU ? v : maximum(v, -v));
        }
        top = greatest(top);
        constexpr float LEVELS = RELU ? 255 : 127;
        F inverse = LEVELS / top;
        for (int i = 0; i < n; i += LANES) {
            F v = load<F>(x + i);
            if (RELU) v = maximum(v, F{});
            store_bytes(reinterpret_cast<uint8_t*>(out) + i, (U)(v * inverse + (ROUND + (RELU ? 0 : 128))));
        }
        float scale = top[0] / LEVELS;
        std::memcpy(out + n / 4, &scale, 4);
    }
    static I dot(I sum, I w, I x) {
#if defined(__AVX512VNNI__)
        return (I)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)w);
#elif defined(__AVX512BW__)
        __m512i pairs = _mm512_maddubs_epi16((__m512i)x, (__m512i)w);
        return sum + (I)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#elif defined(__AVX2__)
        __m256i pairs = _mm256_maddubs_epi16((__m256i)x, (__m256i)w);
        return sum + (I)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#elif defined(__SSE2__)  // bytes 0 and 2 of each word, then 1 and 3, as 16-bit numbers
        S even = (S)w << 8 >> 8, odd = (S)w >> 8;
        S x_even = (S)(x & 0x00ff00ff), x_odd = (S)((I)((U)x >> 8) & 0x00ff00ff);
        return sum + multiply_add(even, x_even) + multiply_add(odd, x_odd);
#else
        for (int i = 0; i < 4; i++) sum += (w << (24 - 8 * i) >> 24) * (x >> 8 * i & 255);
        return sum;
#endif
    }

   private:
#if defined(__SSE2__) && !defined(__AVX2__)
    static I multiply_add(S a, S b) { return (I)_mm_madd_epi16((__m128i)a, (__m128i)b); }
#endif
};

}  // namespace
