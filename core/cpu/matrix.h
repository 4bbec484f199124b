// A matrix packed for reading once from front to back, and its product with several vectors at a time.
//
// A tile is as many rows as a vector has lanes; up to TILES tiles make a group. Memory holds group after group; a group
// holds the columns word after word; a word's place holds one vector for each tile. The product keeps the sums of one
// group x up to COLUMNS vectors in registers. So a weight is read once for COLUMNS vectors, an activation is broadcast
// once for TILES tiles, and there are enough independent sums to hide the latency of the multiply-adds.
//
// Each sum is bias (+ the old value) + column 0 + column 1 + ..., in this order for any number of vectors. So a
// stream's numbers do not depend on the other streams.

#pragma once

#include <cstdlib>
#include <memory>
#include <new>

#include "vector.h"

#define INLINED __attribute__((always_inline))  // of lambdas, which take no `inline`

namespace {

// Rows and columns are padded with zeros to a multiple of this, the lanes of the widest vectors.
constexpr int MULTIPLE = 16;

inline int padded(int n) { return (n + MULTIPLE - 1) / MULTIPLE * MULTIPLE; }

// Zeroed memory, aligned to cache lines.
template <class T> class Buffer {
   public:
    Buffer() = default;
    explicit Buffer(size_t size) {
        size_t bytes = (size * sizeof(T) + 63) / 64 * 64 + 64;  // one line more: vectors may be stored past the end
        data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
        if (!data_) throw std::bad_alloc();
        std::memset(static_cast<void*>(data_.get()), 0, bytes);
    }
    T* operator+(ptrdiff_t i) const { return data_.get() + i; }
    T& operator[](ptrdiff_t i) const { return data_.get()[i]; }

   private:
    struct Free {
        void operator()(T* p) const { std::free(p); }
    };
    std::unique_ptr<T[], Free> data_;
};

template <class P> constexpr int words(int n) { return padded(n) / P::PER_WORD + P::EXTRA; }

template <class P> class Matrix {
   public:
    Matrix() = default;

    // weight(row, column) and bias(row) are called within rows x columns. positive: activations are packed with RELU.
    template <class Weight, class Bias>
    Matrix(int rows, int columns, bool positive, Weight weight, Bias bias)
        : tiles_(padded(rows) / LANES), steps_(padded(columns) / P::PER_WORD) {
        int full = padded(rows), wide = padded(columns);
        weights_ = Buffer<Word>(size_t(full) * steps_);
        bias_ = Buffer<float>(full), scale_ = Buffer<float>(full), offset_ = Buffer<Word>(full);
        Buffer<float> row(wide);
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < columns; c++) row[c] = weight(r, c);
            scale_[r] = Int8::scale(row + 0, wide);
            int tile = r / LANES, first = tile / TILES * TILES, tiles = std::min(TILES, tiles_ - first);
            Word* place = weights_ + (size_t(first) * steps_ + tile - first) * LANES + r % LANES;
            for (int k = 0; k < steps_; k++)
                place[size_t(k) * tiles * LANES] = P::weights(row + k * P::PER_WORD, scale_[r]);
            if (!positive)
                for (int c = 0; c < columns; c++) offset_[r] -= 128 * Int8::level(row[c], scale_[r]);
            bias_[r] = bias(r);
        }
    }

    // out = bias + W x, or with ADD out += bias + W x, for `columns` vectors. xs: words from one x to the next; os:
    // floats from one out to the next.
    template <bool ADD> void times(const Word* x, ptrdiff_t xs, int columns, float* out, ptrdiff_t os) const {
        int first = 0;
        for (; first + TILES <= tiles_; first += TILES) group<TILES, ADD>(first, x, xs, columns, out, os);
        switch (tiles_ - first) {
            case 1: return group<1, ADD>(first, x, xs, columns, out, os);
            case 2: return group<2, ADD>(first, x, xs, columns, out, os);
            case 3: return group<3, ADD>(first, x, xs, columns, out, os);
        }
    }

   private:
    template <int T, bool ADD>
    void group(int first, const Word* x, ptrdiff_t xs, int columns, float* out, ptrdiff_t os) const {
        out += first * LANES;
        for (; columns >= COLUMNS; columns -= COLUMNS, x += COLUMNS * xs, out += COLUMNS * os)
            sums<T, COLUMNS, ADD>(first, x, xs, out, os);
        if constexpr (COLUMNS > 2) {
            if (columns & 2) sums<T, 2, ADD>(first, x, xs, out, os), x += 2 * xs, out += 2 * os;
        }
        if (columns & 1) sums<T, 1, ADD>(first, x, xs, out, os);
    }

    template <int T, int C, bool ADD>
    void sums(int first, const Word* x, ptrdiff_t xs, float* out, ptrdiff_t os) const {
        constexpr bool INTEGER = P::EXTRA != 0;
        const int steps = steps_;
        const float *bias = bias_ + first * LANES, *scale = scale_ + first * LANES;
        const Word *offset = offset_ + first * LANES, *w = weights_ + size_t(first) * LANES * steps;
        auto base = [=](int c, int t) INLINED {
            F b = load<F>(bias + t * LANES);
            return ADD ? b + load<F>(out + c * os + t * LANES) : b;
        };

        typename P::Sum sum[C][T];
        repeat<C>([&](auto c) INLINED {
            repeat<T>([&](auto t) INLINED {
                if constexpr (INTEGER) sum[c][t] = load<I>(offset + t * LANES);
                else sum[c][t] = base(c, t);
            });
        });
        for (const Word* end = w + size_t(steps) * T * LANES; w < end; w += T * LANES, x++) {
            I weights[T];
            repeat<T>([&](auto t) INLINED {
                weights[t] = load<I>(w + t * LANES);
#if defined(__AVX2__)
                // Kept in a register. As a memory operand of the multiply-adds it would be read once for each vector.
                if constexpr (C > 1) asm("" : "+v"(weights[t]));
#endif
            });
            repeat<C>([&](auto c) INLINED {
                I activation = all(x[c * xs]);
                repeat<T>([&](auto t) INLINED { sum[c][t] = P::dot(sum[c][t], weights[t], activation); });
            });
        }
        repeat<C>([&](auto c) INLINED {
            float of_vector = 0;
            if constexpr (INTEGER) std::memcpy(&of_vector, x + c * xs, 4);
            repeat<T>([&](auto t) INLINED {
                F result;
                if constexpr (INTEGER) {
                    F factor = load<F>(scale + t * LANES) * of_vector;
                    result = base(c, t) + __builtin_convertvector(sum[c][t], F) * factor;
                } else {
                    result = sum[c][t];
                }
                store(out + c * os + t * LANES, result);
            });
        });
    }

    int tiles_ = 0, steps_ = 0;
    Buffer<Word> weights_;  // packed; then by row:
    Buffer<float> bias_, scale_;
    Buffer<Word> offset_;
};

}  // namespace
