// The student of Parallel WaveNet, a block of samples at a time, on the processor's cores. The network is network.py's.
// This file is compiled once for each instruction set (generic.cpp, avx2.cpp, ...); Python calls the C functions at
// its end.
//
// No sample waits for another, so a layer is a product with many columns (matrix.h): the block is cut into pieces of a
// few samples, whose numbers stay in a core's first cache, and the threads take piece after piece (team.h). A layer
// reads the d samples before a piece, so all have done a layer before any begins the next.
//
// A layer's input lies packed for the product, behind the last d inputs of the block before. Residual sums, skip sums,
// the noise and all that is computed of it stay float32.

#pragma once

#include "interface.h"
#include "matrix.h"
#include "team.h"

namespace {

constexpr int MAX_FLOWS = 16;
constexpr int PIECE = 32;  // samples

// As engine.py lays it out.
struct Shape {
    int32_t flows, cycle, residual, skip, width;  // width: channels of the conditioning
    int32_t layers[MAX_FLOWS];
    float least_log_scale, greatest_log_scale;

    int dilation(int layer) const { return 1 << layer % cycle; }
};

// --- the weights ----------------------------------------------------------------------------------------------------

template <class P> struct Flow {
    Buffer<float> input_prev, input_cur, input_bias;  // (residual,)
    std::vector<Matrix<P>> cond, prev, cur, post;     // by layer; post: [skip; res], the last layer's skip alone
    Matrix<P> out;
    Matrix<Fp32> end;  // a mean that is rounded is noise

    // from: moved on; all weights in float32, in the order of the state_dict with each layer's res after its skip.
    Flow(const Shape& s, int layers, const float*& from) {
        auto take = [&](size_t n) { return from += n, from - n; };
        auto copy = [&](size_t n) {
            Buffer<float> b(n);
            std::memcpy(b + 0, take(n), n * 4);
            return b;
        };
        auto dense = [](const float* w, int columns) {
            return [=](int r, int c) { return w[size_t(r) * columns + c]; };
        };
        auto vector = [](const float* b) { return [=](int r) { return b[r]; }; };
        auto none = [](int) { return 0.0f; };
        const int R = s.residual, S = s.skip;
        const size_t square = size_t(R) * R;
        input_prev = copy(R), input_cur = copy(R), input_bias = copy(R);
        for (int l = 0; l < layers; l++) {
            const float *w_prev = take(2 * square), *w_cur = take(2 * square);
            const float *bias = take(2 * R), *w_cond = take(2 * size_t(R) * s.width);
            const float *w_skip = take(size_t(S) * R), *b_skip = take(S);
            bool last = l + 1 == layers;
            const float *w_res = last ? nullptr : take(square), *b_res = last ? nullptr : take(R);
            cond.emplace_back(2 * R, s.width, false, dense(w_cond, s.width), vector(bias));
            prev.emplace_back(2 * R, R, false, dense(w_prev, R), none);
            cur.emplace_back(2 * R, R, false, dense(w_cur, R), none);
            post.emplace_back(
                S + (last ? 0 : R), R, false,
                [=](int r, int c) { return r < S ? w_skip[size_t(r) * R + c] : w_res[size_t(r - S) * R + c]; },
                [=](int r) { return r < S ? b_skip[r] : b_res[r - S]; });
        }
        const float *w_out = take(size_t(S) * S), *b_out = take(S);
        out = Matrix<P>(S, S, true, dense(w_out, S), vector(b_out));
        const float *w_end = take(2 * size_t(S)), *b_end = take(2);
        end = Matrix<Fp32>(2, S, true, dense(w_end, S), vector(b_end));
    }
};

struct Session {
    virtual ~Session() = default;
    virtual void step(int samples, float* z, const float* u, int threads) = 0;
};

struct Engine {
    virtual ~Engine() = default;
    virtual Session* start() const = 0;
};

template <class P> class SessionOf;

template <class P> struct EngineOf : Engine {
    EngineOf(const Shape& s, const float* weights) : shape(s) {
        for (int f = 0; f < s.flows; f++) flows.emplace_back(s, s.layers[f], weights);
    }
    Session* start() const override { return new SessionOf<P>(*this); }

    Shape shape;
    std::vector<Flow<P>> flows;
};

// --- one stream -----------------------------------------------------------------------------------------------------

template <class P> class SessionOf : public Session {
   public:
    explicit SessionOf(const EngineOf<P>& engine)
        : flows_(engine.flows), shape_(engine.shape), R(shape_.residual), S(shape_.skip), x_(words<P>(R)),
          u_words_(words<P>(shape_.width)) {
        for (int f = 0; f < shape_.flows; f++) {
            before_.emplace_back(2);
            for (int l = 0; l < shape_.layers[f]; l++) past_.emplace_back(size_t(shape_.dilation(l)) * x_);
        }
    }

    // z: (samples,) noise, replaced by samples. u: (samples, width) conditioning.
    void step(int samples, float* z, const float* u, int threads) override {
        z_ = z, T = samples, pieces_ = (T + PIECE - 1) / PIECE;
        threads = std::max(1, std::min(threads, pieces_));
        work_ = begin_work_(threads);
        Team::of(threads, [&](Team& team, int member) { run_(team, u, work_.scratch[member]); });
        work_ = Work();
    }

   private:
    struct Scratch {  // of a thread
        Buffer<float> gates, z, wide;
        Buffer<Word> packed;
    };

    struct Work {                      // of a block; a stream that waits for its next keeps none
        Buffer<Word> inputs[2];        // of layers in turn: (dilation + T, words)
        Buffer<Word> u;                // (T, words)
        Buffer<float> state;           // skip sums and x, (T, S + R)
        std::vector<Scratch> scratch;  // by thread
    };

    Work begin_work_(int threads) const {
        int longest = 0;
        for (int f = 0; f < shape_.flows; f++)
            for (int l = 0; l < shape_.layers[f]; l++) longest = std::max(longest, shape_.dilation(l));
        Work work;
        for (auto& input : work.inputs) input = Buffer<Word>(size_t(longest + T) * x_);
        work.u = Buffer<Word>(size_t(T) * u_words_);
        work.state = Buffer<float>(size_t(T) * (S + R));
        int widest = std::max({2 * R, S, padded(shape_.width)});
        for (int i = 0; i < threads; i++)
            work.scratch.push_back({Buffer<float>(size_t(PIECE) * widest), Buffer<float>(R), Buffer<float>(widest),
                                    Buffer<Word>(size_t(PIECE) * words<Fp32>(widest))});
        return work;
    }

    // What each thread does: pieces of every step of every flow.
    void run_(Team& team, const float* u, Scratch& own) {
        auto pieces = [&](auto work) {
            team.each(pieces_, [&](int i) {
                int first = i * PIECE;
                work(first, std::min(PIECE, T - first));
            });
        };
        pieces([&](int first, int count) {
            for (int t = first; t < first + count; t++) {
                std::memcpy(own.wide + 0, u + size_t(t) * shape_.width, size_t(shape_.width) * 4);
                std::fill(own.wide + shape_.width, own.wide + padded(shape_.width), 0.0f);
                P::template pack<false>(own.wide + 0, padded(shape_.width), work_.u + ptrdiff_t(t) * u_words_);
            }
        });
        int layer = 0;  // of all flows
        for (int f = 0; f < shape_.flows; f++) {
            pieces([&](int first, int count) { begin_(f, layer, first, count); });
            for (int l = 0; l < shape_.layers[f]; l++, layer++)
                pieces([&](int first, int count) { layer_(f, l, layer, first, count, own); });
            pieces([&](int first, int count) { end_(f, first, count, own); });
        }
    }

    Word* input_(int layer) const { return work_.inputs[layer % 2] + 0; }

    // The inputs of a layer before this block, to the front of its input. By whoever does the first piece.
    void recall_(int layer, int dilation) {
        std::memcpy(input_(layer), past_[layer] + 0, size_t(dilation) * x_ * sizeof(Word));
    }
    void keep_(int layer, int dilation) {
        std::memcpy(past_[layer] + 0, input_(layer) + ptrdiff_t(T) * x_, size_t(dilation) * x_ * sizeof(Word));
    }

    // The input of a flow's first layer: of samples t - 2 and t - 1.
    void begin_(int f, int layer, int first, int count) {
        const Flow<P>& flow = flows_[f];
        if (first == 0) recall_(layer, shape_.dilation(0));
        Word* now = input_(layer) + ptrdiff_t(shape_.dilation(0)) * x_;
        for (int t = first; t < first + count; t++) {
            float* state = work_.state + ptrdiff_t(t) * (S + R);
            float p = t < 2 ? before_[f][t] : z_[t - 2], q = t < 1 ? before_[f][1] : z_[t - 1];
            std::fill(state, state + S, 0.0f);
            for (int i = 0; i < R; i++)
                state[S + i] = p * flow.input_prev[i] + q * flow.input_cur[i] + flow.input_bias[i];
            P::template pack<false>(state + S, R, now + ptrdiff_t(t) * x_);
        }
        if (first == 0) before_[f][0] = T > 1 ? z_[T - 2] : before_[f][1], before_[f][1] = z_[T - 1];
    }

    // l: of the flow; layer: of all flows.
    void layer_(int f, int l, int layer, int first, int count, Scratch& own) {
        const Flow<P>& flow = flows_[f];
        const int dilation = shape_.dilation(l), size = S + R;
        bool last = l + 1 == shape_.layers[f];
        const Word *past = input_(layer) + ptrdiff_t(first) * x_, *now = past + ptrdiff_t(dilation) * x_;
        int next_dilation = shape_.dilation(l + 1);
        if (first == 0) {
            keep_(layer, dilation);
            if (!last) recall_(layer + 1, next_dilation);
        }
        float* state = work_.state + ptrdiff_t(first) * size;
        flow.cond[l].template times<false>(work_.u + ptrdiff_t(first) * u_words_, u_words_, count, own.gates + 0,
                                           2 * R);
        flow.prev[l].template times<true>(past, x_, count, own.gates + 0, 2 * R);
        flow.cur[l].template times<true>(now, x_, count, own.gates + 0, 2 * R);
        for (int n = 0; n < count; n++) {
            const float* g = own.gates + n * 2 * R;
            for (int i = 0; i < R; i += LANES) store(own.z + i, gate(load<F>(g + i), load<F>(g + R + i)));
            P::template pack<false>(own.z + 0, R, own.packed + n * x_);
        }
        flow.post[l].template times<true>(own.packed + 0, x_, count, state, size);
        if (last) return;
        Word* next = input_(layer + 1) + ptrdiff_t(next_dilation + first) * x_;
        for (int n = 0; n < count; n++) P::template pack<false>(state + n * size + S, R, next + n * x_);
    }

    // Skip sums -> the samples that the flow makes of its own.
    void end_(int f, int first, int count, Scratch& own) {
        const Flow<P>& flow = flows_[f];
        const int size = S + R, s = words<P>(S), s_wide = words<Fp32>(S), outputs = padded(2);
        const float* state = work_.state + ptrdiff_t(first) * size;
        for (int n = 0; n < count; n++) P::template pack<true>(state + n * size, S, own.packed + n * s);
        flow.out.template times<false>(own.packed + 0, s, count, own.gates + 0, S);
        for (int n = 0; n < count; n++) Fp32::pack<true>(own.gates + n * S, S, own.packed + n * s_wide);
        flow.end.template times<false>(own.packed + 0, s_wide, count, own.gates + 0, outputs);
        for (int n = 0; n < count; n++) {
            float mean = own.gates[n * outputs], log_scale = own.gates[n * outputs + 1];
            log_scale = std::min(std::max(log_scale, shape_.least_log_scale), shape_.greatest_log_scale);
            z_[first + n] = z_[first + n] * std::exp(log_scale) + mean;
        }
    }

    const std::vector<Flow<P>>& flows_;
    const Shape shape_;
    const int R, S, x_, u_words_;        // channels, and words that one sample's take
    std::vector<Buffer<float>> before_;  // by flow: its last two inputs
    std::vector<Buffer<Word>> past_;     // by layer of all flows: its last d inputs, (dilation, words)
    int T = 0, pieces_ = 0;              // of the block: samples and pieces
    float* z_ = nullptr;                 // (T,)
    Work work_;
};

}  // namespace

// weights: as `Flow` takes them, flow after flow. bits: 32 or 8, of a number in a product.
PUBLIC void* student_engine(const Shape* shape, const float* weights, int bits) {
    return guarded([&]() -> Engine* {
        if (bits == 32) return new EngineOf<Fp32>(*shape, weights);
        return new EngineOf<Int8>(*shape, weights);
    });
}

PUBLIC void* student_session(const void* engine) {
    return guarded([&] { return static_cast<const Engine*>(engine)->start(); });
}

// The next samples of a stream: z is the noise, (samples,), which they replace; u the conditioning, (samples, width).
PUBLIC int student_step(void* session, int samples, float* z, const float* u, int threads) {
    return guarded([&] { return static_cast<Session*>(session)->step(samples, z, u, threads), 1; });
}

PUBLIC void student_end_session(void* session) { delete static_cast<Session*>(session); }
PUBLIC void student_end_engine(void* engine) { delete static_cast<Engine*>(engine); }
PUBLIC int student_supported() { return supported(); }
