// WaveNet's layers in training: all samples at once, forward and backward, in bfloat16 with sums in float32.
//
// training_stack.py says what is computed; layer_stack.py is the same in plain PyTorch. There a layer is ten operations
// over all samples, and each reads and writes memory, which takes most of the time. Here a sequence passes the layers
// in chunks of 512 samples, which fit one core's caches, and a chunk is computed 32 samples at a time.
//
//   forward    For each chunk: all layers, then the sum of their skips as one product over all layers. Each layer's
//              input (x) and its two gates are kept for the backward pass.
//   backward   The chunks from the last to the first, the layers from the last to the first. The gradient of sample t
//              has a part from sample t + dilation, which is in the same chunk or in one that is done. The weights'
//              gradients are products over time, summed chunk by chunk.
//
// Rows: before each sequence there are `pad` rows of zeros, as many as the largest dilation. So sample t of sequence b
// is row b * (pad + samples) + pad + t, and sample t - dilation is a row too. After the last sequence there are zeros
// as well, which the backward pass reads.
//
// Products are made of tiles of 16 rows x 16 columns x 32 summands: one instruction of AMX, or 256 of AVX-512.

#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#include "matrix.h"

#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

using Half = uint16_t;  // a bfloat16

constexpr int SIDE = 16, DEPTH = 32, ROWS = 2 * SIDE, TILE = SIDE * DEPTH;
constexpr int CHUNK = 512;  // samples
constexpr int NEAR = 64;    // samples computed with one tile of weights before the next: both stay in the L1 cache

// As training_stack.py lays it out. Numbers of channels and of samples are multiples of 32.
struct Stack {
    int32_t layers, cycle, residual, skip, width, sequences, samples;
    // Weights, layer after layer: prev and cur (layers, 2 residual, residual), cond (layers, 2 residual, width), bias
    // (layers, 2 residual); res (layers - 1, residual, residual), res_bias (layers - 1, residual); out (layers, skip,
    // residual), out_bias (skip).
    const float *prev, *cur, *cond, *bias, *res, *res_bias, *out, *out_bias;
    // Inputs and outputs of the forward pass.
    const float* first;  // (sequences * samples, residual): the input of layer 0
    const Half* u;       // (rows, width)
    Half* x;             // (layers, rows, residual): the input of each layer
    Half* gates;         // (layers, sequences * samples, 2 residual): tanh a, sigmoid b
    Half* sum;           // (sequences * samples, skip)
    // Inputs and outputs of the backward pass.
    const Half* dsum;
    Half* du;  // as u is
    float* dfirst;
    // Gradients of the weights, which are added to; all null where none are wanted.
    float *dprev, *dcur, *dcond, *dbias, *dres, *dres_bias, *dout, *dout_bias;

    int dilation(int layer) const { return 1 << layer % cycle; }
    int pad() const { return 1 << (std::min(layers, cycle) - 1); }
    int64_t dense() const { return int64_t(sequences) * samples; }
    // Samples of the chunks that hold one chunk and the past, or the future, that it reads.
    int ring() const { return (pad() + 2 * CHUNK - 1) / CHUNK * CHUNK; }
    int64_t rows() const { return int64_t(sequences) * (pad() + samples) + pad(); }
};

inline F widened(const Half* from) {
    return (F)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 16);
}
inline void narrow(Half* to, F v) { store(to, _mm512_cvtneps_pbh((__m512)v)); }

// 2^x for |x| < 126 within 1e-4, a small part of a bfloat16's rounding; 1 / x likewise.
inline F nearly_exp2(F x) {
    F rounded = x + ROUND, f = x - (rounded - ROUND);
    F p = f * 0.05517166f + 0.24261112f;
    p = p * f + 0.69326099f;
    p = p * f + 0.99992807f;
    return (F)((I)p + ((I)rounded << 23));
}
inline F nearly_inverse(F x) { return (F)_mm512_rcp14_ps((__m512)x); }

// --- products of tiles ----------------------------------------------------------------------------------------------

// The right side of a product, laid out tile after tile: for 16 columns, all summands in pairs.
class Right {
   public:
    Right() = default;
    template <class At>
    Right(int summands, int columns, At at) : stride_(size_t(summands) * SIDE), halves_(size_t(summands) * columns) {
        for (int c = 0; c < columns; c++)
            for (int k = 0; k < summands; k++)
                halves_[c / SIDE * stride_ + k / 2 * 2 * SIDE + c % SIDE * 2 + k % 2] = Half(Bf16::round(at(k, c)));
    }
    const Half* columns(int tile) const { return halves_ + tile * stride_; }

   private:
    size_t stride_ = 0;
    Buffer<Half> halves_;
};

// One term of a block: two tiles of rows times two tiles of columns, over `steps` x 32 summands.
struct Term {
    const Half *upper, *lower;
    ptrdiff_t stride, advance;  // halves: from row to row, from step to step
    const Half *left, *right;
    int steps;

    // 32 rows in their place in memory.
    Term(const Half* rows, ptrdiff_t stride, const Right& b, int left, int right, int summands)
        : upper(rows), lower(rows + SIDE * stride), stride(stride), advance(DEPTH), left(b.columns(left)),
          right(b.columns(right)), steps(summands / DEPTH) {}
    // Two neighbouring tiles of each of two panels.
    Term(const Half* rows, const Half* columns, int steps)
        : upper(rows), lower(rows + steps * TILE), stride(DEPTH), advance(TILE), left(columns),
          right(columns + steps * TILE), steps(steps) {}
};

struct Block {
    alignas(64) float sums[2][2][SIDE][SIDE];  // rows, columns

    F row(int column, int i) const { return load<F>(sums[i / SIDE][column][i % SIDE]); }
};

#if defined(__AMX_BF16__)
struct Tiles {  // a thread's tile registers, for its lifetime
    Tiles() {
        struct {
            uint8_t palette = 1, start = 0, reserved[14] = {};
            uint16_t bytes[16] = {};
            uint8_t rows[16] = {};
        } config;
        for (int i = 0; i < 8; i++) config.bytes[i] = 64, config.rows[i] = SIDE;
        _tile_loadconfig(&config);
    }
    ~Tiles() { _tile_release(); }
};

template <bool ADD> void multiply(const Term* terms, int count, Block& out) {
    asm volatile("" ::: "memory");  // g++ 12 does not know that a tile's load reads memory, and may store too late
    if (ADD) {                      // (the intrinsics are macros, and some are statements)
        _tile_loadd(0, out.sums[0][0], 64);
        _tile_loadd(1, out.sums[0][1], 64);
        _tile_loadd(2, out.sums[1][0], 64);
        _tile_loadd(3, out.sums[1][1], 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (const Term* t = terms; t < terms + count; t++)
        for (int k = 0; k < t->steps; k++) {
            _tile_loadd(4, t->upper + k * t->advance, t->stride * 2);
            _tile_loadd(6, t->left + k * TILE, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, t->right + k * TILE, 64);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, t->lower + k * t->advance, t->stride * 2);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    _tile_stored(0, out.sums[0][0], 64);
    _tile_stored(1, out.sums[0][1], 64);
    _tile_stored(2, out.sums[1][0], 64);
    _tile_stored(3, out.sums[1][1], 64);
}

inline bool may_use_tiles() {
    constexpr int REQUEST = 0x1023, TILE_DATA = 18;  // arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}
#else
struct Tiles {
    Tiles() {}  // not trivial, so that an unused variable of it makes no warning
};

template <bool ADD> void multiply(const Term* terms, int count, Block& out) {
    for (int half = 0; half < 2; half++)
        for (int column = 0; column < 2; column++) {
            F sum[SIDE];
            repeat<SIDE>([&](auto i) INLINED { sum[i] = ADD ? load<F>(out.sums[half][column][i]) : F{}; });
            for (const Term* t = terms; t < terms + count; t++)
                for (int k = 0; k < t->steps; k++) {
                    const Half *a = (half ? t->lower : t->upper) + k * t->advance,
                               *b = (column ? t->right : t->left) + k * TILE;
                    for (int pair = 0; pair < DEPTH; pair += 2) {
                        I weights = load<I>(b + pair * SIDE);
                        repeat<SIDE>([&](auto i) INLINED {
                            sum[i] = Bf16::dot(sum[i], weights, all(load<int32_t>(a + i * t->stride + pair)));
                        });
                    }
                }
            repeat<SIDE>([&](auto i) INLINED { store(out.sums[half][column][i], sum[i]); });
        }
}

inline bool may_use_tiles() { return true; }
#endif

// --- panels: rows of memory as sides of a product over time ---------------------------------------------------------

// 16 channels of two rows, interleaved.
inline __m512i pairs(const Half* row, ptrdiff_t stride) {
    auto wide = [](const Half* at) {
        return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
    };
    return _mm512_or_si512(wide(row), _mm512_slli_epi32(wide(row + stride), 16));
}

// Transpose 16 x 16 words: in pairs, in fours, then quarters of vectors, twice.
inline void transpose(__m512i r[SIDE]) {
    __m512i s[SIDE];
    for (int i = 0; i < SIDE; i += 2)
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]), s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    for (int i = 0; i < SIDE; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(s[i + j], s[i + j + 2]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(s[i + j], s[i + j + 2]);
        }
    for (int i = 0; i < SIDE; i += 8)
        for (int j = 0; j < 4; j++) {
            s[i + j] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0x88);
            s[i + j + 4] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        r[j] = _mm512_shuffle_i32x4(s[j], s[j + 8], 0x88);
        r[j + 8] = _mm512_shuffle_i32x4(s[j], s[j + 8], 0xdd);
    }
}

// (32 steps, channels) as a left side (channels are rows) or a right side (channels are columns), in tiles of 16
// channels.
template <bool LEFT> void fill(Half* panel, const Half* rows, ptrdiff_t stride, int channels, int steps) {
    for (int k = 0; k < steps; k++)
        for (int c = 0; c < channels; c += SIDE) {
            const Half* from = rows + k * DEPTH * stride + c;
            Half* to = panel + (c / SIDE * steps + k) * TILE;
            __m512i r[SIDE];
            repeat<SIDE>([&](auto i) INLINED { r[i] = pairs(from + 2 * i * stride, stride); });
            if (LEFT) transpose(r);
            repeat<SIDE>([&](auto i) INLINED { store(to + i * DEPTH, r[i]); });
        }
}

// The gradient of a weight (rows, columns), as blocks to which products over time are added.
class Gradient {
   public:
    Gradient(int rows, int columns) : rows_(rows / ROWS), columns_(columns / ROWS), blocks_(rows_ * columns_) {}

    // += left x right, panels of `steps` steps; the right one has columns first, first + 1, ..
    void add(const Half* left, const Half* right, int columns, int first, int steps) {
        for (int r = 0; r < rows_; r++)
            for (int c = 0; c < columns / ROWS; c++) {
                const Term term(left + 2 * r * steps * TILE, right + 2 * c * steps * TILE, steps);
                multiply<true>(&term, 1, blocks_[r * columns_ + first / ROWS + c]);
            }
    }
    // Add columns first, first + 1, .. of it to (rows, columns) float32.
    void give(float* to, int columns, int first) const {
        for (int r = 0; r < rows_ * ROWS; r++)
            for (int c = 0; c < columns; c++) {
                const int at = first + c;
                to[size_t(r) * columns + c] += blocks_[r / ROWS * columns_ + at / ROWS]
                                                   .sums[r % ROWS / SIDE][at % ROWS / SIDE][r % SIDE][at % SIDE];
            }
    }

   private:
    int rows_, columns_;
    Buffer<Block> blocks_;
};

// --- the layers -----------------------------------------------------------------------------------------------------

// A layer's weights as right sides, for the forward and the backward pass.
struct Layer {
    Right prev, cur, cond, res, out, back_prev, back_cur, back_cond, back_res, back_out;

    Layer(const Stack& s, int l) {
        const int R = s.residual, W = s.width, S = s.skip;
        const bool last = l + 1 == s.layers;
        auto of = [l](const float* w, int rows, int columns) { return w + size_t(l) * rows * columns; };
        auto straight = [](const float* w, int columns) {
            return [=](int k, int n) { return w[size_t(n) * columns + k]; };
        };
        auto turned = [](const float* w, int columns) {
            return [=](int k, int n) { return w[size_t(k) * columns + n]; };
        };
        const float *p = of(s.prev, 2 * R, R), *c = of(s.cur, 2 * R, R), *u = of(s.cond, 2 * R, W),
                    *o = of(s.out, S, R);
        const float* r = last ? nullptr : of(s.res, R, R);
        if (!s.dsum) {
            prev = Right(R, 2 * R, straight(p, R)), cur = Right(R, 2 * R, straight(c, R));
            cond = Right(W, 2 * R, straight(u, W)), out = Right(R, S, straight(o, R));
            if (r) res = Right(R, R, straight(r, R));
        } else {
            back_prev = Right(2 * R, R, turned(p, R)), back_cur = Right(2 * R, R, turned(c, R));
            back_cond = Right(2 * R, W, turned(u, W)), back_out = Right(S, R, turned(o, R));
            if (r) back_res = Right(R, R, turned(r, R));
        }
    }
};

// A thread's own memory: a chunk's sums, its panels, and its part of the gradients.
struct Work {
    Buffer<float> x;
    Buffer<Half> z;       // forward (layers, CHUNK, residual), backward (CHUNK, residual)
    Buffer<Half> dgates;  // (layers, ring + 32, 2 residual): sample t in place t % ring; the last 32 repeat the first
    Buffer<Half> dx, left_gates, left_dx, left_sum, past, now, right_u, right_z;
    std::vector<Gradient> gates, res, out;  // gates: of [prev, cur, cond]
    Buffer<float> bias, res_bias, out_bias;

    explicit Work(const Stack& s) : x(size_t(CHUNK) * s.residual) {
        const size_t R = s.residual;
        z = Buffer<Half>(CHUNK * R * (s.dsum ? 1 : s.layers));
        if (!s.dsum) return;
        dgates = Buffer<Half>(size_t(s.layers) * (s.ring() + ROWS) * 2 * R);
        dx = Buffer<Half>(CHUNK * R), left_gates = Buffer<Half>(CHUNK * 2 * R), left_dx = Buffer<Half>(CHUNK * R);
        left_sum = Buffer<Half>(size_t(CHUNK) * s.skip), right_u = Buffer<Half>(size_t(CHUNK) * s.width);
        past = Buffer<Half>(CHUNK * R), now = Buffer<Half>(CHUNK * R), right_z = Buffer<Half>(CHUNK * R);
        bias = Buffer<float>(s.layers * 2 * R), res_bias = Buffer<float>(s.layers * R),
        out_bias = Buffer<float>(s.skip);
        for (int l = 0; l < s.layers; l++) {
            gates.emplace_back(2 * s.residual, 2 * s.residual + s.width), out.emplace_back(s.skip, s.residual);
            if (l + 1 < s.layers) res.emplace_back(s.residual, s.residual);
        }
    }

    void give(const Stack& s) const {
        const size_t R = s.residual, W = s.width;
        auto add = [](float* to, const Buffer<float>& from, size_t count) {
            for (size_t i = 0; i < count; i++) to[i] += from[i];
        };
        for (int l = 0; l < s.layers; l++) {
            gates[l].give(s.dprev + l * 2 * R * R, R, 0), gates[l].give(s.dcur + l * 2 * R * R, R, R);
            gates[l].give(s.dcond + l * 2 * R * W, W, 2 * R), out[l].give(s.dout + l * s.skip * R, R, 0);
            if (l + 1 < s.layers) res[l].give(s.dres + l * R * R, R, 0);
        }
        add(s.dbias, bias, s.layers * 2 * R), add(s.dres_bias, res_bias, (s.layers - 1) * R);
        add(s.dout_bias, out_bias, s.skip);
    }
};

class Passes {
   public:
    explicit Passes(const Stack& s) : s_(s), R(s.residual), S(s.skip), W(s.width), T(s.samples) {
        for (int l = 0; l < s.layers; l++) layers_.emplace_back(s, l);
    }

    void forward(int b, Work& work) const {
        for (int l = 0; l < s_.layers; l++) {
            clear_before_(s_.x + l * s_.rows() * R, b, R);
            if (b + 1 == s_.sequences) clear_after_(s_.x + l * s_.rows() * R, b, R);
        }
        for (int begin = 0; begin < T; begin += CHUNK) {
            const int count = std::min(CHUNK, T - begin);
            const At at{int64_t(b) * T + begin, row_(b) + begin};
            std::memcpy(work.x + 0, s_.first + at.dense * R, size_t(count) * R * 4);
            for (int l = 0; l < s_.layers; l++) {
                Half* x = x_(l, at);
                for (int i = 0; i < count * R; i += LANES) narrow(x + i, load<F>(work.x + i));
                for (int t = 0; t < count; t += NEAR) {
                    const int near = std::min(NEAR, count - t);
                    Half* z = work.z + ptrdiff_t(l * CHUNK + t) * R;
                    gates_(l, at + t, near, z);
                    if (l + 1 < s_.layers) residual_(l, near, z, work.x + ptrdiff_t(t) * R);
                }
            }
            for (int t = 0; t < count; t += NEAR) skips_(at + t, std::min(NEAR, count - t), work.z + ptrdiff_t(t) * R);
        }
    }

    void backward(int b, Work& work) const {
        std::memset(work.dgates + 0, 0, size_t(s_.layers) * (s_.ring() + ROWS) * 2 * R * sizeof(Half));
        for (int begin = (T - 1) / CHUNK * CHUNK; begin >= 0; begin -= CHUNK) {
            const int count = std::min(CHUNK, T - begin), steps = count / DEPTH;
            const At at{int64_t(b) * T + begin, row_(b) + begin};
            std::memset(work.x + 0, 0, size_t(count) * R * 4);
            fill<true>(work.left_sum + 0, s_.dsum + at.dense * S, S, S, steps);
            fill<false>(work.right_u + 0, s_.u + at.row * W, W, W, steps);
            for (int c = 0; c < S; c += LANES) {
                F sum = load<F>(work.out_bias + c);
                for (int i = 0; i < count; i++) sum += widened(s_.dsum + (at.dense + i) * S + c);
                store(work.out_bias + c, sum);
            }
            for (int l = s_.layers; l-- > 0;) {
                Half* dgates = dgates_(l, begin, work);
                for (int t = 0; t < count; t += NEAR)
                    through_gates_(l, at + t, t, std::min(NEAR, count - t), dgates, work);
                if (begin % s_.ring() == 0)
                    std::memcpy(dgates + s_.ring() * 2 * R, dgates, ROWS * 2 * R * sizeof(Half));
                if (s_.dprev) to_weights_(l, at, steps, dgates, work);
                for (int t = 0; t < count; t += NEAR) to_input_(l, begin + t, std::min(NEAR, count - t), t, work);
            }
            std::memcpy(s_.dfirst + at.dense * R, work.x + 0, size_t(count) * R * 4);
            for (int t = 0; t < count; t += NEAR) to_conditioning_(at + t, begin + t, std::min(NEAR, count - t), work);
        }
    }

   private:
    // A sample's index among the samples, and among the rows.
    struct At {
        int64_t dense, row;
        At operator+(int t) const { return {dense + t, row + t}; }
    };

    int64_t row_(int b) const { return int64_t(b) * (s_.pad() + T) + s_.pad(); }
    Half* x_(int l, At at) const { return s_.x + (l * s_.rows() + at.row) * R; }
    Half* gate_(int l, At at) const { return s_.gates + (l * s_.dense() + at.dense) * 2 * R; }
    Half* dgates_(int l, int t, Work& work) const {
        return work.dgates + (ptrdiff_t(l) * (s_.ring() + ROWS) + t % s_.ring()) * 2 * R;
    }

    // Write zeros before a sequence, or after it.
    void clear_before_(Half* rows, int b, int width) const { clear_(rows, row_(b) - s_.pad(), width); }
    void clear_after_(Half* rows, int b, int width) const { clear_(rows, row_(b) + T, width); }
    void clear_(Half* rows, int64_t from, int width) const {
        std::memset(rows + from * width, 0, size_t(s_.pad()) * width * sizeof(Half));
    }

    // The following functions take `count` samples, 32 at a time.

    void gates_(int l, At at, int count, Half* z) const {
        const Layer& w = layers_[l];
        const int tiles = R / SIDE;
        const float* bias = s_.bias + size_t(l) * 2 * R;
        const Half *x = x_(l, at), *u = s_.u + at.row * W;
        Half* gates = gate_(l, at);
        Block block;
        for (int j = 0; j < tiles; j++)
            for (ptrdiff_t t = 0; t < count; t += ROWS) {
                const Term terms[] = {{x + (t - s_.dilation(l)) * R, R, w.prev, j, tiles + j, R},
                                      {x + t * R, R, w.cur, j, tiles + j, R},
                                      {u + t * W, W, w.cond, j, tiles + j, W}};
                multiply<false>(terms, 3, block);
                const F bias_a = load<F>(bias + j * SIDE), bias_b = load<F>(bias + R + j * SIDE);
                for (int i = 0; i < ROWS; i++) {
                    // In this order of arguments a NaN stays a NaN.
                    F a = minimum(all(9.5f), maximum(all(-9.5f), block.row(0, i) + bias_a));
                    F b = minimum(all(60.0f), maximum(all(-60.0f), block.row(1, i) + bias_b));
                    F p = nearly_exp2(a * (-2 * LOG2E)) + 1.0f, q = nearly_exp2(b * -LOG2E) + 1.0f;
                    F r = nearly_inverse(p * q), tanh = (2.0f - p) * (q * r), sigmoid = p * r;
                    Half* to = gates + (t + i) * 2 * R + j * SIDE;
                    narrow(to, tanh), narrow(to + R, sigmoid), narrow(z + (t + i) * R + j * SIDE, tanh * sigmoid);
                }
            }
    }

    void residual_(int l, int count, const Half* z, float* x) const {
        const float* bias = s_.res_bias + size_t(l) * R;
        product_(
            R, count,
            [&](int j, ptrdiff_t t, std::vector<Term>& terms) {
                terms.emplace_back(z + t * R, R, layers_[l].res, j, j + 1, R);
            },
            [&](ptrdiff_t t, int c, F sum) INLINED { add_(x + t * R + c, sum + load<F>(bias + c)); });
    }

    void skips_(At at, int count, const Half* z) const {
        product_(
            S, count,
            [&](int j, ptrdiff_t t, std::vector<Term>& terms) {
                for (int l = 0; l < s_.layers; l++)
                    terms.emplace_back(z + (ptrdiff_t(l) * CHUNK + t) * R, R, layers_[l].out, j, j + 1, R);
            },
            [&](ptrdiff_t t, int c, F sum)
                INLINED { narrow(s_.sum + (at.dense + t) * S + c, sum + load<F>(s_.out_bias + c)); });
    }

    // The gradient at the output of a layer, for samples first, first + 1, .. of a chunk, through the gates to
    // `dgates`. For the weights' gradients also z, the layer's gated output, and dx, the gradient of its residual
    // output.
    void through_gates_(int l, At at, int first, int count, Half* dgates, Work& work) const {
        const bool last = l + 1 == s_.layers;
        const float* from = work.x + ptrdiff_t(first) * R;
        Half *dx = work.dx + ptrdiff_t(first) * R, *z = work.z + ptrdiff_t(first) * R;
        const Half *gates = gate_(l, at), *dsum = s_.dsum + at.dense * S;
        dgates += ptrdiff_t(first) * 2 * R;
        if (!last) {
            float* bias = work.res_bias + ptrdiff_t(l) * R;
            for (int c = 0; c < R; c += LANES) {
                F sum = load<F>(bias + c);
                for (int i = 0; i < count; i++) {
                    F d = load<F>(from + i * R + c);
                    sum += d;
                    narrow(dx + i * R + c, d);
                }
                store(bias + c, sum);
            }
        }
        float* bias = work.bias + ptrdiff_t(l) * 2 * R;
        Block block;
        for (int j = 0; j < R / SIDE; j += 2)
            for (ptrdiff_t t = 0; t < count; t += ROWS) {
                const Term terms[] = {{dsum + t * S, S, layers_[l].back_out, j, j + 1, S},
                                      {dx + t * R, R, layers_[l].back_res, j, j + 1, R}};
                multiply<false>(terms, last ? 1 : 2, block);
                for (int c = 0; c < 2; c++) {
                    const int place = (j + c) * SIDE;
                    F sum_a = load<F>(bias + place), sum_b = load<F>(bias + R + place);
                    for (int i = 0; i < ROWS; i++) {
                        const Half* gate = gates + (t + i) * 2 * R + place;
                        Half* to = dgates + (t + i) * 2 * R + place;
                        F tanh = widened(gate), sigmoid = widened(gate + R), through = tanh * sigmoid;
                        F d = block.row(c, i);
                        F da = d * (sigmoid - tanh * through), db = d * (through - sigmoid * through);
                        sum_a += da, sum_b += db;
                        narrow(to, da), narrow(to + R, db), narrow(z + (t + i) * R + place, through);
                    }
                    store(bias + place, sum_a), store(bias + R + place, sum_b);
                }
            }
    }

    void to_weights_(int l, At at, int steps, const Half* dgates, Work& work) const {
        fill<true>(work.left_gates + 0, dgates, 2 * R, 2 * R, steps);
        fill<false>(work.past + 0, x_(l, at) - ptrdiff_t(s_.dilation(l)) * R, R, R, steps);
        fill<false>(work.now + 0, x_(l, at), R, R, steps);
        fill<false>(work.right_z + 0, work.z + 0, R, R, steps);
        work.gates[l].add(work.left_gates + 0, work.past + 0, R, 0, steps);
        work.gates[l].add(work.left_gates + 0, work.now + 0, R, R, steps);
        work.gates[l].add(work.left_gates + 0, work.right_u + 0, W, 2 * R, steps);
        work.out[l].add(work.left_sum + 0, work.right_z + 0, R, 0, steps);
        if (l + 1 == s_.layers) return;
        fill<true>(work.left_dx + 0, work.dx + 0, R, R, steps);
        work.res[l].add(work.left_dx + 0, work.right_z + 0, R, 0, steps);
    }

    // From the gates to the layer's input, at the same sample and a dilation before. first: of the sequence; in_chunk:
    // the same sample's place in the chunk.
    void to_input_(int l, int first, int count, int in_chunk, Work& work) const {
        const Layer& w = layers_[l];
        float* dx = work.x + ptrdiff_t(in_chunk) * R;
        product_(
            R, count,
            [&](int j, ptrdiff_t t, std::vector<Term>& terms) {
                const int at = first + int(t);
                terms.emplace_back(dgates_(l, at, work), 2 * R, w.back_cur, j, j + 1, 2 * R);
                terms.emplace_back(dgates_(l, at + s_.dilation(l), work), 2 * R, w.back_prev, j, j + 1, 2 * R);
            },
            [&](ptrdiff_t t, int c, F sum) INLINED { add_(dx + t * R + c, sum); });
    }

    // The gradient of the conditioning, summed over all layers.
    void to_conditioning_(At at, int first, int count, Work& work) const {
        product_(
            W, count,
            [&](int j, ptrdiff_t t, std::vector<Term>& terms) {
                for (int l = 0; l < s_.layers; l++)
                    terms.emplace_back(dgates_(l, first + int(t), work), 2 * R, layers_[l].back_cond, j, j + 1, 2 * R);
            },
            [&](ptrdiff_t t, int c, F sum) INLINED { narrow(s_.du + (at.row + t) * W + c, sum); });
    }

    // A product of `count` rows x `columns` columns: terms(j, t, ..) lists the terms of the tiles of columns j and j +
    // 1 in the 32 rows from t on, and each(row, column, sum) takes 16 columns of a row.
    template <class Terms, class Each> static void product_(int columns, int count, Terms terms, Each each) {
        std::vector<Term> listed;
        Block block;
        for (int j = 0; j < columns / SIDE; j += 2)
            for (ptrdiff_t t = 0; t < count; t += ROWS) {
                listed.clear();
                terms(j, t, listed);
                multiply<false>(listed.data(), int(listed.size()), block);
                for (int c = 0; c < 2; c++)
                    for (int i = 0; i < ROWS; i++) each(t + i, (j + c) * SIDE, block.row(c, i));
            }
    }
    static void add_(float* to, F sum) { store(to, load<F>(to) + sum); }

    const Stack& s_;
    const int R, S, W, T;
    std::vector<Layer> layers_;
};

// Share the sequences among threads. A thread takes the same ones every time, so that sums are the same to the bit. All
// threads are new: tile registers are a thread's state, and the caller's thread may use its own.
inline bool run(const Stack& stack, int threads) {
    const Passes passes(stack);
    threads = std::max(1, std::min(threads, int(stack.sequences)));
    std::vector<std::unique_ptr<Work>> works(threads);
    std::atomic<bool> failed{false};
    auto work = [&](int number) {
        try {
            Tiles tiles;
            works[number] = std::make_unique<Work>(stack);
            for (int b = number; b < stack.sequences; b += threads)
                stack.dsum ? passes.backward(b, *works[number]) : passes.forward(b, *works[number]);
        } catch (const std::exception&) {
            failed = true;
        }
    };
    std::vector<std::thread> workers;
    try {
        for (int i = 0; i < threads; i++) workers.emplace_back(work, i);
    } catch (const std::exception&) {
        failed = true;
    }
    for (auto& worker : workers) worker.join();
    if (!failed && stack.dprev)
        for (const auto& each : works) each->give(stack);
    return !failed;
}

}  // namespace

#define PUBLIC extern "C" __attribute__((visibility("default")))

// The forward pass, or with `dsum` the backward pass. Returns 0 where memory or threads cannot be had.
PUBLIC int stack_run(const Stack* stack, int threads) {
    try {
        return run(*stack, threads);
    } catch (const std::exception&) {
        return 0;
    }
}

// Whether this processor has the instructions. SUPPORTED is defined by the file that includes this one.
PUBLIC int stack_supported() { return SUPPORTED && may_use_tiles(); }
