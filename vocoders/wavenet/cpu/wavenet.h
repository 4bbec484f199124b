// WaveNet, sample by sample, on one processor core per group of streams. The network is network.py's. This file is
// compiled once for each instruction set (generic.cpp, avx2.cpp, ...); Python calls the C functions at its end.
//
// One sample costs 0.9 million multiply-adds, each with another weight. The time goes into reading weights, and into
// the latency of layers that depend on one another. Therefore
//
//   - streams run in groups of up to eight, which read each weight together (matrix.h);
//   - bfloat16 and bytes halve and quarter both the memory traffic and the number of instructions (vector.h);
//   - a layer's products with sample t - d and with the conditioning are known d samples early. They are computed
//     ahead, for a block of samples at once; a layer of dilation 1, 2, .. does so every 1, 2, .. samples. Sample by
//     sample remain, in each layer, W_cur x, the gate, and [W_skip; W_res] z as one product; and the two output layers;
//   - a layer's past is a ring of exactly d inputs, packed for the product. A block reads x[t - d ..] just before
//     x[t ..] replaces it.
//
// The mel is brought to the rate of samples a frame at a time, so memory does not grow with length. The transposed
// convolutions are products too: output i reads the window of inputs that ends at (i + crop) / stride, through the
// weights of its phase (i + crop) % stride. So outputs one stride apart are columns of one product, and their inputs
// are overlapping windows of memory.
//
// Random numbers, and how a sample is drawn with them, are those of sampling.py.

#pragma once

#include <type_traits>

#include "interface.h"
#include "matrix.h"
#include "team.h"

namespace {

enum Output { MULAW, GAUSSIAN, MOL };

// As engine.py lays it out.
struct Shape {
    int32_t layers, cycle, residual, skip, classes, outputs, output, features, bands, stages;
    int32_t window[8], stride[8];
    float mel_scale;  // 1 + value * mel_scale is -1 at the floor, 1 at 0 dB

    int hop() const {
        int product = 1;
        for (int i = 0; i < stages; i++) product *= stride[i];
        return product;
    }
    int dilation(int layer) const { return 1 << layer % cycle; }
};

constexpr int BLOCK = 16;  // samples times streams that are computed ahead together

// Philox4x32-10 (Salmon et al., SC 2011): the first two of four words, as numbers in (0, 1]. As philox.py has it.
struct Uniforms {
    float first, second;

    Uniforms(uint64_t seed, uint32_t stream, uint64_t t) {
        uint32_t c[4] = {uint32_t(t), uint32_t(t >> 32), stream, 0}, key[2] = {uint32_t(seed), uint32_t(seed >> 32)};
        for (int i = 0; i < 10; i++) {
            uint64_t a = uint64_t(0xD2511F53) * c[0], b = uint64_t(0xCD9E8D57) * c[2];
            c[0] = uint32_t(b >> 32) ^ c[1] ^ key[0], c[2] = uint32_t(a >> 32) ^ c[3] ^ key[1];
            c[1] = uint32_t(b), c[3] = uint32_t(a);
            key[0] += 0x9E3779B9, key[1] += 0xBB67AE85;
        }
        first = (float(c[0] >> 8) + 0.5f) * 0x1p-24f;
        second = (float(c[1] >> 8) + 0.5f) * 0x1p-24f;
    }
};

// --- the weights ----------------------------------------------------------------------------------------------------

template <class P> struct Weights {
    // Bytes are too coarse for the upsampling of the mel, which costs little in bfloat16.
    using Up = std::conditional_t<std::is_same_v<P, Fp32>, Fp32, Bf16>;

    struct Stage {
        int stride, crop, taps, inputs;  // taps: inputs that an output reads
        std::vector<Matrix<Up>> phases;
    };

    Shape shape;
    Buffer<float> embed_prev, embed_cur;  // (classes, residual) by class, or (1, residual) times the sample
    Buffer<float> embed_bias;             // (residual,)
    std::vector<Stage> stages;
    std::vector<Matrix<P>> cond, prev, cur, post;  // post: [skip; res], the last layer's skip alone
    Matrix<P> out, end;

    // from: all weights in float32, in the order of WaveNet's state_dict with each layer's res after its skip.
    Weights(const Shape& s, const float* from) : shape(s) {
        auto take = [&](size_t n) { return from += n, from - n; };
        const int R = s.residual, bands = s.bands;
        auto none = [](int) { return 0.0f; };
        auto copy = [&](size_t n) {
            Buffer<float> b(n);
            std::memcpy(b + 0, take(n), n * 4);
            return b;
        };
        size_t table = size_t(s.output == MULAW ? s.classes : 1) * R;
        embed_prev = copy(table), embed_cur = copy(table);
        embed_bias = s.output == MULAW ? Buffer<float>(R) : copy(R);

        for (int i = 0; i < s.stages; i++) {
            int window = s.window[i], stride = s.stride[i], inputs = i ? bands : s.features, wide = padded(inputs);
            const float *w = take(size_t(inputs) * bands * window), *b = take(bands);
            Stage stage{stride, (window - stride) / 2, (window + stride - 1) / stride, inputs, {}};
            for (int phase = 0; phase < stride; phase++)
                stage.phases.emplace_back(
                    bands, stage.taps * wide, false,
                    [&](int row, int column) {  // the window's inputs run forward in time, the taps backward
                        int input = column % wide, k = phase + (stage.taps - 1 - column / wide) * stride;
                        return input < inputs && k < window ? w[(size_t(input) * bands + row) * window + k] : 0.0f;
                    },
                    [&](int row) { return b[row]; });
            stages.push_back(std::move(stage));
        }

        auto dense = [](const float* w, int columns) {
            return [=](int r, int c) { return w[size_t(r) * columns + c]; };
        };
        auto vector = [](const float* b) { return [=](int r) { return b[r]; }; };
        for (int l = 0; l < s.layers; l++) {
            const float *w_prev = take(2 * R * R), *w_cur = take(2 * R * R);
            const float *bias = take(2 * R), *w_cond = take(2 * R * bands);
            const float *w_skip = take(size_t(s.skip) * R), *b_skip = take(s.skip);
            bool last = l + 1 == s.layers;
            const float *w_res = last ? nullptr : take(R * R), *b_res = last ? nullptr : take(R);
            cond.emplace_back(2 * R, bands, false, dense(w_cond, bands), vector(bias));
            prev.emplace_back(2 * R, R, false, dense(w_prev, R), none);
            cur.emplace_back(2 * R, R, false, dense(w_cur, R), none);
            post.emplace_back(
                s.skip + (last ? 0 : R), R, false,
                [=](int r, int c) { return r < s.skip ? w_skip[size_t(r) * R + c] : w_res[(r - s.skip) * R + c]; },
                [=](int r) { return r < s.skip ? b_skip[r] : b_res[r - s.skip]; });
        }
        const float *w_out = take(size_t(s.classes) * s.skip), *b_out = take(s.classes);
        out = Matrix<P>(s.classes, s.skip, true, dense(w_out, s.skip), vector(b_out));
        const float *w_end = take(size_t(s.outputs) * s.classes), *b_end = take(s.outputs);
        end = Matrix<P>(s.outputs, s.classes, true, dense(w_end, s.classes), vector(b_end));
    }
};

// --- a group of streams ---------------------------------------------------------------------------------------------

struct Stream {
    const float* mel;  // (frames, features)
    int64_t frames;
    uint32_t number;      // of its random numbers
    float previous, now;  // samples t - 2 and t - 1; codes where samples are codes
};

template <class P> class Group {
   public:
    Group(const Weights<P>& weights, std::vector<Stream> streams, uint64_t seed, float temperature)
        : weights_(weights), streams_(std::move(streams)), seed_(seed), temperature_(temperature) {
        const Shape& s = weights.shape;
        N = int(streams_.size()), R = s.residual, hop_ = s.hop();
        for (block_ = 1; 2 * block_ * N <= BLOCK && hop_ % (2 * block_) == 0;) block_ *= 2;
        for (int l = 0; l < s.layers; l++) rings_.emplace_back(size_t(s.dilation(l)) * N * x_words_());
        ahead_ = Buffer<float>(size_t(s.layers) * block_ * N * 2 * R);
        u_ = Buffer<Word>(size_t(hop_) * N * u_words_());
        state_ = Buffer<float>(N * state_size_());
        z_ = Buffer<float>(R), packed_ = Buffer<Word>(size_t(N) * packed_size_());
        hidden_ = Buffer<float>(size_t(N) * padded(s.classes));
        outputs_ = Buffer<float>(size_t(N) * padded(s.outputs));
        sums_ = Buffer<float>(padded(s.outputs));
        plan_upsampling_();
    }

    // The next `frames` frames. Stream i's samples go to samples[i], as far as its mel reaches. With `outputs` the
    // samples are read there instead (teacher forcing), and the network's outputs go to outputs[i], (samples, outputs).
    void step(int64_t frames, float* const* samples, float* const* outputs) {
        for (int64_t f = 0; f < frames; f++, frame_++) {
            for (int n = 0; n < N; n++) upsample_(n);
            for (int i = 0; i < hop_; i += block_) {
                condition_(i);
                for (int j = 0; j < block_; j++, t_++) {
                    sample_(j);
                    for (int n = 0; n < N; n++) {
                        Stream& s = streams_[n];
                        float drawn = 0;
                        if (frame_ < s.frames) {
                            int64_t place = f * hop_ + i + j;
                            const float* expected = outputs_ + n * padded(weights_.shape.outputs);
                            if (outputs) {
                                int width = weights_.shape.outputs;
                                std::memcpy(outputs[n] + place * width, expected, size_t(width) * 4);
                                drawn = samples[n][place];
                            } else {
                                samples[n][place] = drawn = draw_(expected, s.number);
                            }
                        }
                        s.previous = s.now, s.now = drawn;
                    }
                }
            }
        }
    }

   private:
    using Up = typename Weights<P>::Up;

    int x_words_() const { return words<P>(R); }
    int u_words_() const { return words<P>(weights_.shape.bands); }
    int state_size_() const { return weights_.shape.skip + R; }
    int packed_size_() const { return words<P>(std::max({R, weights_.shape.skip, weights_.shape.classes})); }

    // --- mel -> u

    struct Level {  // a stage's inputs for one frame; `first` is relative to the frame's first input
        int first, count, rate;
        Buffer<Word> packed;
    };

    // From the samples of a frame back to the inputs of each stage that they depend on.
    void plan_upsampling_() {
        int first = 0, end = hop_, rate = hop_;
        levels_.resize(weights_.stages.size());
        for (int i = int(levels_.size()) - 1; i >= 0; i--) {
            const auto& stage = weights_.stages[i];
            auto last_input = [&](int output) { return int(std::floor(double(output + stage.crop) / stage.stride)); };
            first = last_input(first) - (stage.taps - 1), end = last_input(end - 1) + 1, rate /= stage.stride;
            levels_[i] = {first, end - first, rate, Buffer<Word>(size_t(end - first) * words<Up>(stage.inputs))};
        }
        int widest = std::max(padded(weights_.shape.features), padded(weights_.shape.bands));
        wide_ = Buffer<float>(size_t(hop_) * widest);
    }

    void upsample_(int n) {
        const Shape& s = weights_.shape;
        const Stream& stream = streams_[n];
        Level& mel = levels_[0];
        for (int i = 0; i < mel.count; i++) {
            int64_t f = frame_ + mel.first + i;
            for (int c = 0; c < s.features; c++) {
                bool there = f >= 0 && f < stream.frames;
                float value = there ? stream.mel[f * s.features + c] : 0;
                wide_[c] = !there ? 0 : c < s.bands ? 1 + value * s.mel_scale : value;
            }
            Up::template pack<false>(wide_ + 0, padded(s.features), mel.packed + i * words<Up>(s.features));
        }
        for (size_t i = 0; i < levels_.size(); i++) {
            const auto& stage = weights_.stages[i];
            bool last = i + 1 == levels_.size();
            int first = last ? 0 : levels_[i + 1].first, count = last ? hop_ : levels_[i + 1].count;
            int64_t rate = int64_t(levels_[i].rate) * stage.stride, start = frame_ * rate, end = stream.frames * rate;
            int in = words<Up>(stage.inputs), bands = padded(s.bands);
            for (int k = 0; k < std::min(stage.stride, count); k++) {  // outputs first + k, first + k + stride, ..
                int from = first + k + stage.crop, phase = (from % stage.stride + stage.stride) % stage.stride;
                int window = (from - phase) / stage.stride - (stage.taps - 1) - levels_[i].first;
                int columns = (count - k + stage.stride - 1) / stage.stride;
                const Word* inputs = levels_[i].packed + window * in;
                stage.phases[phase].template times<false>(inputs, in, columns, wide_ + 0, bands);
                for (int c = 0; c < columns; c++) {
                    int place = k + c * stage.stride;
                    float* column = wide_ + c * bands;
                    int64_t at = start + first + place;
                    if (at < 0 || at >= end) std::fill(column, column + bands, 0.0f);
                    if (last) P::template pack<false>(column, bands, u_ + (ptrdiff_t(place) * N + n) * u_words_());
                    else Up::template pack<false>(column, bands, levels_[i + 1].packed + place * words<Up>(s.bands));
                }
            }
        }
    }

    // --- u, x -> outputs of the network

    float* ahead_of_(int layer, int j) const { return ahead_ + (size_t(layer) * block_ + j) * N * 2 * R; }

    // Every layer's product with the conditioning, for the block of samples that begins i samples into the frame.
    void condition_(int i) {
        const Word* u = u_ + ptrdiff_t(i) * N * u_words_();
        for (int l = 0; l < weights_.shape.layers; l++)
            weights_.cond[l].template times<false>(u, u_words_(), block_ * N, ahead_of_(l, 0), 2 * R);
    }

    // Sample j of the block: to outputs_.
    void sample_(int j) {
        const Shape& s = weights_.shape;
        const int layers = s.layers, size = state_size_(), x = x_words_(), packed = packed_size_();
        for (int n = 0; n < N; n++) embed_(streams_[n], state_ + n * size);
        for (int l = 0; l < layers; l++) {
            int dilation = s.dilation(l), known = std::min(dilation, block_);
            float* gates = ahead_of_(l, j);
            Word* now = rings_[l] + t_ % dilation * N * x;
            if (t_ % known == 0) weights_.prev[l].template times<true>(now, x, known * N, gates, 2 * R);
            for (int n = 0; n < N; n++) P::template pack<false>(state_ + n * size + s.skip, R, now + n * x);
            weights_.cur[l].template times<true>(now, x, N, gates, 2 * R);
            for (int n = 0; n < N; n++) {
                const float* g = gates + n * 2 * R;
                for (int i = 0; i < R; i += LANES) store(z_ + i, gate(load<F>(g + i), load<F>(g + R + i)));
                P::template pack<false>(z_ + 0, R, packed_ + n * packed);
            }
            weights_.post[l].template times<true>(packed_ + 0, packed, N, state_ + 0, size);
        }
        int classes = padded(s.classes);
        for (int n = 0; n < N; n++) P::template pack<true>(state_ + n * size, s.skip, packed_ + n * packed);
        weights_.out.template times<false>(packed_ + 0, packed, N, hidden_ + 0, classes);
        for (int n = 0; n < N; n++) P::template pack<true>(hidden_ + n * classes, classes, packed_ + n * packed);
        weights_.end.template times<false>(packed_ + 0, packed, N, outputs_ + 0, padded(s.outputs));
    }

    // [skip; x] at the beginning of a sample.
    void embed_(const Stream& stream, float* state) const {
        const Shape& s = weights_.shape;
        bool codes = s.output == MULAW;
        const float* previous = weights_.embed_prev + (codes ? int(stream.previous) * R : 0);
        const float* now = weights_.embed_cur + (codes ? int(stream.now) * R : 0);
        float p = codes ? 1 : stream.previous, q = codes ? 1 : stream.now;
        std::fill(state, state + s.skip, 0.0f);
        for (int i = 0; i < R; i++) state[s.skip + i] = p * previous[i] + q * now[i] + weights_.embed_bias[i];
    }

    // --- outputs of the network -> a sample

    float draw_(const float* expected, uint32_t stream) {
        const Shape& s = weights_.shape;
        Uniforms u(seed_, stream, uint64_t(t_));
        if (s.output == MULAW) return float(draw_class_(expected, s.outputs, u.first));
        float mean, scale, noise;
        if (s.output == GAUSSIAN) {
            mean = expected[0], scale = std::exp(expected[1]);
            noise = std::sqrt(-2 * std::log(u.first)) * std::cos(6.28318530717958648f * u.second);
        } else {
            int mixtures = s.outputs / 3, chosen = draw_class_(expected, mixtures, u.first);
            mean = expected[mixtures + chosen], scale = std::exp(expected[2 * mixtures + chosen]);
            noise = std::log(u.second) - std::log(1 - u.second);
        }
        float wave = temperature_ > 0 ? mean + temperature_ * scale * noise : mean;
        return std::min(1.0f, std::max(-1.0f, wave));
    }

    // The first class up to which the probabilities sum to more than u; the sums in order of the classes.
    int draw_class_(const float* logits, int classes, float u) {
        if (temperature_ == 0) return int(std::max_element(logits, logits + classes) - logits);
        int full = padded(classes);
        std::copy(logits, logits + classes, sums_ + 0);
        std::fill(sums_ + classes, sums_ + full, logits[0]);
        F top = load<F>(sums_ + 0), divisor = all(temperature_);
        for (int i = 0; i < full; i += LANES) top = maximum(top, load<F>(sums_ + i));
        top = greatest(top);
        for (int i = 0; i < full; i += LANES)
            store(sums_ + i, exp2(maximum((load<F>(sums_ + i) - top) / divisor * LOG2E, all(-125.0f))));
        for (int i = 1; i < classes; i++) sums_[i] += sums_[i - 1];
        // u may be 1, to which the largest rounds: then the last class that adds to the sum is drawn.
        const float *begin = sums_ + 0, *end = begin + classes, *found = std::upper_bound(begin, end, u * end[-1]);
        return int((found < end ? found : std::lower_bound(begin, end, end[-1])) - begin);
    }

    const Weights<P>& weights_;
    std::vector<Stream> streams_;
    uint64_t seed_;
    float temperature_;
    int N, R, hop_, block_;  // streams, residual channels, samples a frame, samples computed ahead
    int64_t frame_ = 0, t_ = 0;
    std::vector<Level> levels_;
    Buffer<Word> u_;                   // conditioning of a frame: (hop, N, words)
    Buffer<float> wide_;               // columns before they are packed
    std::vector<Buffer<Word>> rings_;  // by layer: (dilation, N, words)
    Buffer<float> ahead_;              // the gates' sums: (layers, block, N, 2 R)
    Buffer<float> state_;              // (N, skip + R)
    Buffer<float> z_, hidden_, outputs_, sums_;
    Buffer<Word> packed_;
};

// --- Python's interface ---------------------------------------------------------------------------------------------

struct Session {
    virtual ~Session() = default;
    virtual void step(int64_t frames, float* const* samples, float* const* outputs, int threads) = 0;
};

template <class P> class Groups : public Session {
   public:
    Groups(const Weights<P>& weights, const std::vector<Stream>& streams, int size, uint64_t seed, float temperature)
        : size_(size) {
        for (size_t i = 0; i < streams.size(); i += size) {
            auto begin = streams.begin() + i, end = streams.begin() + std::min(i + size, streams.size());
            groups_.emplace_back(weights, std::vector<Stream>(begin, end), seed, temperature);
        }
    }

    void step(int64_t frames, float* const* samples, float* const* outputs, int threads) override {
        Team::of(std::min(threads, int(groups_.size())), [&](Team& team, int) {
            team.each(int(groups_.size()), [&](int i) {
                groups_[i].step(frames, samples + i * size_, outputs ? outputs + i * size_ : nullptr);
            });
        });
    }

   private:
    size_t size_;
    std::vector<Group<P>> groups_;
};

struct Engine {
    virtual ~Engine() = default;
    virtual Session* start(const std::vector<Stream>& streams, int size, uint64_t seed, float temperature) const = 0;
};

template <class P> struct EngineOf : Engine {
    EngineOf(const Shape& shape, const float* weights) : weights(shape, weights) {}
    Session* start(const std::vector<Stream>& streams, int size, uint64_t seed, float temperature) const override {
        return new Groups<P>(weights, streams, size, seed, temperature);
    }
    Weights<P> weights;
};

}  // namespace

PUBLIC void* wavenet_engine(const Shape* shape, const float* weights, int precision) {
    return guarded([&]() -> Engine* {
        switch (precision) {
            case 32: return new EngineOf<Fp32>(*shape, weights);
            case 16: return new EngineOf<Bf16>(*shape, weights);
            default: return new EngineOf<Int8>(*shape, weights);
        }
    });
}

// Streams in groups of `size`. mels: (frames, features) each, which must outlive the session. numbers: the streams'
// numbers in the random generator.
PUBLIC void* wavenet_session(const void* engine, int streams, const float* const* mels, const int64_t* frames,
                             const uint32_t* numbers, int size, uint64_t seed, float temperature, float silence) {
    return guarded([&] {
        std::vector<Stream> all;
        for (int i = 0; i < streams; i++) all.push_back({mels[i], frames[i], numbers[i], silence, silence});
        return static_cast<const Engine*>(engine)->start(all, size, seed, temperature);
    });
}

PUBLIC int wavenet_step(void* session, int64_t frames, float* const* samples, float* const* outputs, int threads) {
    return guarded([&] { return static_cast<Session*>(session)->step(frames, samples, outputs, threads), 1; });
}

PUBLIC void wavenet_end_session(void* session) { delete static_cast<Session*>(session); }
PUBLIC void wavenet_end_engine(void* engine) { delete static_cast<Engine*>(engine); }

PUBLIC int wavenet_supported() { return supported(); }
