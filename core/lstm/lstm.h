// A bidirectional LSTM over several sequences at once, of torch.nn.LSTM's weights.
//
// Two products make a step's gates: of its features, which are known beforehand and go many steps at a time, and of the
// hidden state, whose weights are read once for all sequences. Both are Matrix's, so a sequence's numbers do not depend
// on the others. The gates stay float32.

#include "interface.h"
#include "matrix.h"
#include "team.h"

namespace {

constexpr int VECTORS = 64;  // of features that are multiplied at a time: their gates stay in the cache

inline F sigmoid(F x) {
    x = minimum(maximum(x, all(-60.0f)), all(60.0f));
    return 1.0f / (1.0f + exp2(x * -LOG2E));
}

// What is asked of a layer, with distances in floats.
struct Work {
    int32_t sequences, steps, skip;  // the first `skip` steps of each direction are computed and not stored
    const float* x;                  // (sequences, steps + skip, inputs)
    float* out;                      // (sequences, steps - skip, 2 hidden): forward beside backward
};

class Lstm {
   public:
    virtual ~Lstm() = default;
    virtual void run(const Work& work, int threads) const = 0;
};

// What a direction keeps of some sequences while it runs.
template <class P> struct Scratch {
    Scratch(int sequences, int inputs, int hidden)
        : chunk(std::max(1, VECTORS / sequences)), gates(size_t(chunk) * sequences * 4 * hidden),
          cell(size_t(sequences) * hidden), state(size_t(sequences) * hidden),
          features(size_t(chunk) * sequences * words<P>(inputs)), packed(size_t(sequences) * words<P>(hidden)) {}

    int chunk;  // steps whose features are multiplied at a time
    Buffer<float> gates, cell, state;
    Buffer<Word> features, packed;  // packed: the state
};

template <class P> class Direction {
   public:
    // weights: (4 hidden, inputs), (4 hidden, hidden), (4 hidden,), rows as PyTorch has them: i, f, g, o.
    Direction(int inputs, int hidden, const float* weights)
        : D(inputs), H(hidden), input_(4 * H, D, false, at(weights, D), bias(weights + ptrdiff_t(4) * H * (D + H))),
          hidden_(4 * H, H, false, at(weights + ptrdiff_t(4) * H * D, H), [](int) { return 0.0f; }) {}

    // Some sequences. x, out: of the first one's first step; a step is `forward` steps from the one before, 1 or -1.
    void run(const Work& work, int sequences, const float* x, float* out, int forward, const Scratch<P>& own) const {
        const int steps = work.steps, d = words<P>(D), h = words<P>(H);
        const ptrdiff_t x_sequence = ptrdiff_t(steps + work.skip) * D,
                        out_sequence = ptrdiff_t(steps - work.skip) * 2 * H;
        for (ptrdiff_t n = 0; n < sequences; n++) P::template pack<false>(own.state + n * H, H, own.packed + n * h);
        for (int first = 0; first < steps; first += own.chunk) {
            const int count = std::min(own.chunk, steps - first);
            for (int i = 0; i < count * sequences; i++) {
                const ptrdiff_t n = i % sequences, step = forward * ptrdiff_t(first + i / sequences);
                P::template pack<false>(x + n * x_sequence + step * D, D, own.features + ptrdiff_t(i) * d);
            }
            input_.template times<false>(own.features + 0, d, count * sequences, own.gates + 0, 4 * H);
            for (int s = 0; s < count; s++) {
                float* now = own.gates + ptrdiff_t(s) * sequences * 4 * H;
                hidden_.template times<true>(own.packed + 0, h, sequences, now, 4 * H);
                const ptrdiff_t stored = first + s - work.skip;
                for (ptrdiff_t n = 0; n < sequences; n++) {
                    float* state = own.state + n * H;
                    step_(now + n * 4 * H, own.cell + n * H, state);
                    P::template pack<false>(state, H, own.packed + n * h);
                    if (stored >= 0) std::copy_n(state, H, out + n * out_sequence + forward * stored * 2 * H);
                }
            }
        }
    }

   private:
    static auto at(const float* matrix, int columns) {
        return [=](int row, int column) { return matrix[ptrdiff_t(row) * columns + column]; };
    }
    static auto bias(const float* bias) {
        return [=](int row) { return bias[row]; };
    }

    void step_(const float* gates, float* cell, float* state) const {
        for (int i = 0; i < H; i += LANES) {
            F now = sigmoid(load<F>(gates + H + i)) * load<F>(cell + i) +
                    gate(load<F>(gates + 2 * H + i), load<F>(gates + i));
            store(cell + i, now);
            store(state + i, gate(now, load<F>(gates + 3 * H + i)));
        }
    }

    const int D, H;
    Matrix<P> input_, hidden_;
};

template <class P> class LstmOf : public Lstm {
   public:
    LstmOf(int inputs, int hidden, const float* weights)
        : D(inputs), H(hidden), forward_(D, H, weights), backward_(D, H, weights + ptrdiff_t(4) * H * (D + H + 1)) {}

    void run(const Work& work, int threads) const override {
        const int shares = std::min(work.sequences, (threads + 1) / 2);  // of the sequences, in each direction
        const auto begin = [&](int share) { return int(int64_t(work.sequences) * share / shares); };
        std::vector<Scratch<P>> scratch;  // made before there are threads, out of which no exception may come
        for (int piece = 0; piece < 2 * shares; piece++) {
            scratch.emplace_back(begin(piece / 2 + 1) - begin(piece / 2), D, H);
        }
        Team::of(std::min(threads, 2 * shares), [&](Team& team, int) {
            team.each(2 * shares, [&](int piece) {
                const int first = begin(piece / 2), count = begin(piece / 2 + 1) - first;
                const float* x = work.x + ptrdiff_t(first) * (work.steps + work.skip) * D;
                float* out = work.out + ptrdiff_t(first) * (work.steps - work.skip) * 2 * H;
                if (piece % 2 == 0) return forward_.run(work, count, x, out, 1, scratch[piece]);
                const ptrdiff_t last = work.steps + work.skip - 1;
                backward_.run(work, count, x + last * D, out + ptrdiff_t(work.steps - work.skip - 1) * 2 * H + H, -1,
                              scratch[piece]);
            });
        });
    }

   private:
    const int D, H;
    const Direction<P> forward_, backward_;
};

}  // namespace

// weights: forward's and then backward's, as `Direction` takes them. bits: 32 or 8, of a number in a product.
PUBLIC void* lstm_layer(int inputs, int hidden, const float* weights, int bits) {
    return guarded([&]() -> Lstm* {
        if (bits == 32) return new LstmOf<Fp32>(inputs, hidden, weights);
        return new LstmOf<Int8>(inputs, hidden, weights);
    });
}

PUBLIC int lstm_run(const void* layer, const Work* work, int threads) {
    return guarded([&] { return static_cast<const Lstm*>(layer)->run(*work, threads), 1; });
}

PUBLIC void lstm_end(void* layer) { delete static_cast<Lstm*>(layer); }
PUBLIC int lstm_supported() { return supported(); }
