// WaveNet on a GPU: one launch draws thousands of samples of many streams, with all state of a sample on the chip.
//
// The network is network.py's. Sizes, precision and the shape of a launch are constants that plan.py passes to the
// compiler:
//
//   LAYERS CYCLE                      layer l looks back 2 ** (l % CYCLE) samples
//   RESIDUAL SKIP HIDDEN ENDS BANDS   channels, padded with zeros to multiples of 16
//   OUTPUT OUTPUTS CLASSES            the distribution, its parameters a sample, rows of the embeddings (1: no codes)
//   BITS BFLOAT TENSOR                of a weight and an activation; whether tensor cores multiply them
//   BLOCKS STREAMS THREADS LANES      blocks that share STREAMS streams; threads of a block; threads for a dot product
//   RESIDENT FETCH                    weights of a block in shared memory, the rest is read through L2; see `fetch`
//   SPECIALISED                       1: the kernel of specialised.h instead of this one
//   AT_...                            places in shared memory, in bytes
//
// Samples depend on one another, and so do layers. So the latency of one layer decides the speed. As the network is
// written, a layer has two products in sequence, W_cur x for the gate and W_res z for the next x. Here it has one:
//
//     [a b]  =  ahead  +  W_cur x' + (W_cur W_res') z'      x', z': of the layer before; W_cur W_res' is precomputed
//     x      =  x' + W_res' z'
//     z      =  tanh(a) sigmoid(b)
//
// A cluster of BLOCKS thread blocks (Hopper) shares the rows of every matrix. Each block holds its rows in its own
// shared memory, computes its channels, and writes their x and z into the shared memory of all. That is one stage,
// which ends with a barrier of the cluster. The barrier has two halves, `arrive` and `wait`. Between them the block
// does what the next stage does not need: the skip sum, the layer's past, and the products of the layer after next with
// its past and with the conditioning (`ahead` = W_prev x[t - d] + W_cond u[t] + bias).
//
// A single block does the same with its own barrier, and reads the weights that do not fit its shared memory through
// L2. Older GPUs run this way, and so does a launch for throughput: many blocks with many streams each.
//
// In `ahead`, `xz` and `kept` a stage reads what was written two stages ago, and may overwrite what was read two stages
// ago: a thread past `wait` knows that all threads have arrived, but not that they have finished the stage after. Hence
// three slots. Each block keeps its own copy of the past, which its own barrier guards.
//
// The order of each sum does not depend on the other streams.

#if defined(__CUDACC__)
#include "device.h"
#else
#include "emulator.h"
#endif
#include "sampling.h"
#include "upsample.h"
#include "layout.h"

#if SPECIALISED
#include "specialised.h"
#else
namespace {

constexpr int WARPS = THREADS / 32;
constexpr int NO_SPLIT = 1 << 30;

// Vectors of activations have a pitch of their length and one chunk more, so that they begin in different banks.
constexpr int XZ = 2 * RESIDUAL + CHUNK, PAST = RESIDUAL + CHUNK, MEL = BANDS + CHUNK;
constexpr int SKIPPED = SKIP + CHUNK, BETWEEN = HIDDEN + CHUNK;

// One vector for each stream. Its numbers from `split` on are stored at `second`.
struct Vectors {
    const Number* first;
    int pitch;
    const Number* second = nullptr;
    int second_pitch = 0, split = NO_SPLIT;

    DEVICE const Number* at(int stream, int k) const {
        return k < split ? first + stream * pitch + k : second + stream * second_pitch + (k - split);
    }
#if TENSOR
    DEVICE int pitch_at(int k) const { return k < split ? pitch : second_pitch; }
#endif
};

// The blocks to which a thread sends a result: first, first + step, ..
struct Share {
    int first, step;
};

struct Block {
    const int thread = thread_number(), rank = block_number() % BLOCKS, cluster = block_number() / BLOCKS;
    char* const memory = shared_memory();
    Number* const resident = at<Number>(AT_RESIDENT);  // the first RESIDENT weights
    Number* const xz = at<Number>(AT_XZ);              // (3, STREAMS, [x, z]) by layer % 3, of all blocks
    float* const ahead = at<float>(AT_AHEAD);          // (3, UNITS, 2, STREAMS) by layer % 3
    float* const kept = at<float>(AT_KEPT);            // (2, UNITS, STREAMS): x of this block's channels in float32
    float* const skip = at<float>(AT_SKIP);            // (SKIP / BLOCKS, STREAMS); later the logits (STREAMS, ENDS)
    float* const logits = skip;
    Number* const skipped = at<Number>(AT_SKIPPED);  // (STREAMS, SKIP), past the relu
    Number* const between = at<Number>(AT_BETWEEN);  // (STREAMS, HIDDEN)
    Number* const past = at<Number>(AT_PAST);        // (LAYERS, STREAMS, RESIDUAL), then (STREAMS, BANDS), if FETCH
    Number* const mel = past + LAYERS * STREAMS * PAST;
    float* const scratch = at<float>(AT_SCRATCH);  // (rows, STREAMS), if TENSOR
    float* const last = at<float>(AT_LAST);        // (2, STREAMS): samples t - 2 and t - 1

    const Number* weights;  // of this block
    const float* biases;
    Number* rings;    // of this block: (layers' dilations, STREAMS, RESIDUAL)
    const Number* u;  // of this launch: (samples, streams, BANDS), from this cluster's first stream on
    long long u_pitch;

    template <class T> DEVICE T* at(int bytes) { return reinterpret_cast<T*>(memory + bytes); }

    template <class Body> DEVICE void each(int count, Body body) {
        for (int i = thread; i < count; i += THREADS) body(i);
    }

    DEVICE const Number* weights_at(int offset, int count) {
        return offset + count <= RESIDENT ? resident + offset : weights + offset;
    }

    // --- products ---------------------------------------------------------------------------------------------------

    // sums[j] = weights of row (unit, j) times the stream's vector of K numbers, passed to done(unit, stream, sums,
    // share) for each of COUNT units of BUNDLE rows and each stream. The work is shifted by `turn` threads, so that
    // products which can wait are not computed by the threads of those which cannot.
    template <int BUNDLE, int COUNT, int K, class Done>
    DEVICE void product(int offset, const Vectors& in, int turn, Done done) {
        const Number* w = RESIDENT >= TABLES ? resident + offset : weights_at(offset, rows(BUNDLE * COUNT) * K);
#if TENSOR
        constexpr int COLUMNS = STREAMS / 16;
        for (int tile = (thread / 32 + turn / 32) % WARPS; tile < rows(BUNDLE * COUNT) / 16; tile += WARPS) {
            SumTile sums[COLUMNS];
            UNROLL
            for (int c = 0; c < COLUMNS; c++) sums[c].clear();
            UNROLL
            for (int k = 0; k < K; k += 16) {
                WeightTile a;
                a.load(w + tile * 16 * K + k * 16);
                UNROLL
                for (int c = 0; c < COLUMNS; c++) {
                    VectorTile b;
                    b.load(in.at(c * 16, k), in.pitch_at(k));
                    sums[c].add(a, b);
                }
            }
            UNROLL
            for (int c = 0; c < COLUMNS; c++) sums[c].store(scratch + tile * 16 * STREAMS + c * 16, STREAMS);
        }
        sync();
        each(COUNT * STREAMS, [&](int i) {
            int unit = i / STREAMS, stream = i % STREAMS;
            float sums[BUNDLE];
            UNROLL
            for (int j = 0; j < BUNDLE; j++) sums[j] = scratch[(unit * BUNDLE + j) * STREAMS + stream];
            done(unit, stream, sums, Share{0, 1});
        });
        sync();
#else
        constexpr int TOGETHER = STREAMS < 4 ? STREAMS : 4;  // streams that read a weight together
        const int turned = (thread + turn) % THREADS, lane = turned % LANES;
        for (int unit = turned / LANES; unit < COUNT; unit += THREADS / LANES) {
            for (int first = 0; first < STREAMS; first += TOGETHER) {
                float sums[TOGETHER][BUNDLE] = {};
                UNROLL
                for (int k = lane * CHUNK; k < K; k += LANES * CHUNK) {
                    float x[TOGETHER][CHUNK];
                    UNROLL
                    for (int n = 0; n < TOGETHER; n++) read(in.at(first + n, k), x[n]);
                    UNROLL
                    for (int j = 0; j < BUNDLE; j++) {
                        float weight[CHUNK];
                        read(w + (unit * BUNDLE + j) * K + k, weight);
                        UNROLL
                        for (int n = 0; n < TOGETHER; n++) {
                            UNROLL
                            for (int i = 0; i < CHUNK; i++) sums[n][j] += weight[i] * x[n][i];
                        }
                    }
                }
                UNROLL
                for (int distance = 1; distance < LANES; distance *= 2) {
                    UNROLL
                    for (int n = 0; n < TOGETHER; n++) {
                        UNROLL
                        for (int j = 0; j < BUNDLE; j++) sums[n][j] += exchange<LANES>(sums[n][j], distance);
                    }
                }
                UNROLL
                for (int n = 0; n < TOGETHER; n++) done(unit, first + n, sums[n], Share{lane, LANES});
            }
        }
#endif
    }

#if !TENSOR
    static DEVICE void read(const Number* from, float* to) {
        Words words = *reinterpret_cast<const Words*>(from);
        UNROLL
        for (int i = 0; i < 4; i++) unpack(words.word[i], to + i * CHUNK / 4);
    }
#endif

    // To the same place in every block.
    template <class T> DEVICE void send(T* to, T what, Share share) {
        for (int r = share.first; r < BLOCKS; r += share.step) *peer(to, r) = what;
    }

    // --- a sample's stages -----------------------------------------------------------------------------------------

    DEVICE Number* xz_of(int layer) { return xz + (layer + 3) % 3 * STREAMS * XZ; }

    // x and z of a layer, to all blocks.
    DEVICE void gates(int layer) {
        const float* known = ahead + layer % 3 * UNITS * 2 * STREAMS;
        const float* bias = biases + RES_BIAS + layer * RESIDUAL + rank * UNITS;
        const float* before = kept + (layer + 1) % 2 * UNITS * STREAMS;
        float* now = kept + layer % 2 * UNITS * STREAMS;
        Number* to = xz_of(layer) + rank * UNITS;
        auto done = [&](int unit, int n, const float* sums, Share share) {
            const float* of = known + unit * 2 * STREAMS + n;
            float x = before[unit * STREAMS + n] + sums[2] + bias[unit];
            float z = gate(of[0] + sums[0], of[STREAMS] + sums[1]);
            if (share.first == 0) now[unit * STREAMS + n] = x;
            send(to + n * XZ + unit, number(x), share);
            send(to + n * XZ + RESIDUAL + unit, number(z), share);
        };
        product<3, UNITS, 2 * RESIDUAL>(layer * LAYER, {xz_of(layer - 1), XZ}, 0, done);
    }

    // A layer's products with sample t - d and with the conditioning, for sample t, the i-th of this launch.
    DEVICE void look_ahead(int layer, int i, long long t) {
        if (layer >= LAYERS) return;
        float* to = ahead + layer % 3 * UNITS * 2 * STREAMS;
        const float* bias = biases + 2 * (layer * RESIDUAL + rank * UNITS);
        Vectors in = FETCH ? Vectors{past + layer * STREAMS * PAST, PAST, mel, MEL, RESIDUAL}
                           : Vectors{ring(layer, t), RESIDUAL, u + i * u_pitch, BANDS, RESIDUAL};
        auto done = [&](int unit, int n, const float* sums, Share share) {
            if (share.first) return;
            to[unit * 2 * STREAMS + n] = sums[0] + bias[2 * unit];
            to[(unit * 2 + 1) * STREAMS + n] = sums[1] + bias[2 * unit + 1];
        };
        product<2, UNITS, RESIDUAL + BANDS>(layer * LAYER + GATES, in, THREADS / 2, done);
    }

    // Add a layer's part to the skip sum. The last layer sends the sum, past the relu, to all blocks.
    DEVICE void add_skip(int layer) {
        constexpr int COUNT = SKIP / BLOCKS;
        const bool first = layer == 0, last_one = layer == LAYERS - 1;
        Number* to = skipped + rank * COUNT;
        auto done = [&](int unit, int n, const float* sums, Share share) {
            float* sum = skip + unit * STREAMS + n;
            float now = first ? sums[0] : *sum + sums[0];
            if (last_one) {
                float bias = biases[SKIP_BIAS + rank * COUNT + unit];
                send(to + n * SKIPPED + unit, number(fmaxf(now + bias, 0)), share);
            } else if (share.first == 0) {
                *sum = now;
            }
        };
        product<1, COUNT, RESIDUAL>(layer * LAYER + GATES + AHEAD, {xz_of(layer) + RESIDUAL, XZ}, THREADS / 2, done);
    }

    DEVICE void hidden_layer() {
        constexpr int COUNT = HIDDEN / BLOCKS;
        Number* to = between + rank * COUNT;
        product<1, COUNT, SKIP>(OUT, {skipped, SKIPPED}, 0, [&](int unit, int n, const float* sums, Share share) {
            float bias = biases[OUT_BIAS + rank * COUNT + unit];
            send(to + n * BETWEEN + unit, number(fmaxf(sums[0] + bias, 0)), share);
        });
    }

    DEVICE void end_layer() {
        constexpr int COUNT = ENDS / BLOCKS;
        float* to = logits + rank * COUNT;
        product<1, COUNT, HIDDEN>(END, {between, BETWEEN}, 0, [&](int unit, int n, const float* sums, Share share) {
            send(to + n * ENDS + unit, sums[0] + biases[END_BIAS + rank * COUNT + unit], share);
        });
    }

    // --- the past ---------------------------------------------------------------------------------------------------

    DEVICE Number* ring(int layer, long long t) {
        return rings + (rings_below(layer) + int(t & (dilation(layer) - 1))) * STREAMS * RESIDUAL;
    }

    static DEVICE void copy(const Number* from, Number* to) {
        *reinterpret_cast<Words*>(to) = *reinterpret_cast<const Words*>(from);
    }

    // x of a layer replaces the one of a dilation ago, which has been read.
    DEVICE void remember(int layer, long long t) {
        Number *from = xz_of(layer), *to = ring(layer, t);
        each(STREAMS * RESIDUAL / CHUNK, [&](int i) {
            int n = i * CHUNK / RESIDUAL, k = i * CHUNK % RESIDUAL;
            copy(from + n * XZ + k, to + n * RESIDUAL + k);
        });
    }

    // Copy all that sample t needs of the past and of the conditioning to shared memory: one latency of L2 a sample
    // instead of one a layer. With many streams there is no room for it, and their work hides the latency.
    DEVICE void fetch(int i, long long t) {
        if (!FETCH) return;
        each(LAYERS * STREAMS * RESIDUAL / CHUNK, [&](int j) {
            int k = j * CHUNK % RESIDUAL, n = j * CHUNK / RESIDUAL % STREAMS, layer = j * CHUNK / (RESIDUAL * STREAMS);
            copy(ring(layer, t) + n * RESIDUAL + k, past + (layer * STREAMS + n) * PAST + k);
        });
        each(STREAMS * BANDS / CHUNK, [&](int j) {
            int k = j * CHUNK % BANDS, n = j * CHUNK / BANDS;
            copy(u + i * u_pitch + n * BANDS + k, mel + n * MEL + k);
        });
    }

    // The last two samples as the input of layer 0, in every block.
    DEVICE void embed() {
        const Number *current = weights_at(TABLES, TABLE), *previous = weights_at(TABLES + TABLE, TABLE);
        Number* to = xz_of(-1);
        each(STREAMS * RESIDUAL, [&](int i) {
            int n = i / RESIDUAL, k = i % RESIDUAL;
            float p = last[n], c = last[STREAMS + n];
            float x = OUTPUT == MULAW ? value(previous[int(p) * RESIDUAL + k]) + value(current[int(c) * RESIDUAL + k])
                                      : p * value(previous[k]) + c * value(current[k]) + biases[EMBED_BIAS + k];
            to[n * XZ + k] = number(x), to[n * XZ + RESIDUAL + k] = number(0);
            if (k / UNITS == rank) kept[(UNITS + k % UNITS) * STREAMS + n] = x;
        });
    }
};

}  // namespace

// `count` samples from sample t0 on.
//   weights   (BLOCKS, TOTAL)
//   rings     (clusters, BLOCKS, RING), and last (streams, 2): the state, kept from launch to launch
//   u         (count, streams, BANDS): the conditioning
//   numbers   (streams,): the streams' numbers in the random generator
//   samples   (streams, count): written; or read, where `expected` is not null (teacher forcing)
//   expected  (streams, count, OUTPUTS) or null: the network's outputs, written
KERNEL wavenet(const Number* weights, const float* biases, Number* rings, const Number* u, const unsigned* numbers,
               float* last, float* samples, float* expected, long long t0, int count, int streams,
               unsigned long long seed, float temperature) {
    Block b;
    const int thread = b.thread, first = b.cluster * STREAMS;
    b.weights = weights + (long long)b.rank * TOTAL, b.biases = biases;
    b.rings = rings + (long long)(b.cluster * BLOCKS + b.rank) * RING;
    b.u = u + (long long)first * BANDS, b.u_pitch = (long long)streams * BANDS;

    constexpr int COPIED = RESIDENT < TOTAL ? RESIDENT : TOTAL;
    b.each(COPIED / CHUNK, [&](int i) { Block::copy(b.weights + i * CHUNK, b.resident + i * CHUNK); });
    b.each(2 * STREAMS, [&](int i) { b.last[i] = last[(first + i % STREAMS) * 2 + i / STREAMS]; });
    b.fetch(0, t0);
    sync();
    b.look_ahead(0, 0, t0);
    b.look_ahead(1, 0, t0);
    b.embed();
    arrive(), wait();  // until all blocks of the cluster have begun

    for (int i = 0; i < count; i++) {
        const long long t = t0 + i;
        const bool more = i + 1 < count;
        for (int layer = 0; layer < LAYERS; layer++) {
            b.gates(layer);
            arrive();
            if (layer > 0) b.add_skip(layer - 1), b.remember(layer - 1, t);
            b.look_ahead(layer + 2, i, t);
            wait();
        }
        sync();  // the skip sum is complete
        b.remember(LAYERS - 1, t);
        b.add_skip(LAYERS - 1);
        arrive(), wait();
        b.hidden_layer();
        arrive();
        if (more) b.fetch(i + 1, t + 1);
        wait();
        b.end_layer();
        arrive();
        if (more) {
            sync();  // the fetched values are in shared memory
            b.look_ahead(0, i + 1, t + 1);
            b.look_ahead(1, i + 1, t + 1);
        }
        wait();
        for (int n = thread / 32; n < STREAMS; n += WARPS) {  // every block draws the same
            const float* of = b.logits + n * ENDS;
            long long place = (long long)(first + n) * count + i;
            float drawn = expected ? samples[place] : draw(of, Uniforms(seed, numbers[first + n], t), temperature);
            if (b.rank == 0) {
                if (expected) {
                    for (int k = thread % 32; k < OUTPUTS; k += 32) expected[place * OUTPUTS + k] = of[k];
                } else if (thread % 32 == 0) {
                    samples[place] = drawn;
                }
            }
            if (thread % 32 == 0) b.last[n] = b.last[STREAMS + n], b.last[STREAMS + n] = drawn;
        }
        sync();
        b.embed();
        sync();
    }
    if (b.rank == 0) b.each(2 * STREAMS, [&](int i) { last[(first + i % STREAMS) * 2 + i / STREAMS] = b.last[i]; });
}
#endif  // SPECIALISED
