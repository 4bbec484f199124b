// One stream as fast as can be, on a cluster of Hopper's: the kernel `wavenet` with warps of three roles.
//
// Its constants and its network are wavenet.cu's, with STREAMS = 1, and in addition
//
//   CHAIN_WARPS OUTPUT_WARPS AHEAD_WARPS   warps of each role in a block
//
// No barrier of the block or of the cluster is passed while samples are drawn. A result is stored to all blocks
// asynchronously (`store`) and completes on an mbarrier there, on which its readers wait. There is one mbarrier for
// each layer's input, and one for each of the skip sum, the hidden layer and the logits; each ends one phase a sample,
// so sample i waits for parity i % 2. What a role does:
//
//   chain    the layers' gates one after the other, then the draw and the embedding. Weights are in registers before
//            the wait. So between two stages there is a dot product, the sum over LANES lanes, the gate and a store.
//   output   the skip sum, layer by layer as z arrives, kept by each lane for its columns; then the layers after it.
//   ahead    of its own layers (every AHEAD_WARPS-th): remembers x, and computes `ahead` for the next sample.
//
// Why nothing is overwritten before it is read, although nobody waits for readers. Slot l + 1 (layer l's x and z) is
// written once a sample, and a block can send it for sample t + 1 only when it has all logits of sample t. Each block
// sends its logits of t after its output warps have read all of the sample's z, and after `between` has completed,
// on which each ahead warp arrives once it has read its last x. Its chain warps have read each slot before they sent
// the next. `skipped`, `between` and the logits are read by each block before it sends what follows from them.
//
// Who re-arms an mbarrier (arrives for its next phase) has seen its phase end: for the input of layer l it is the ahead
// warp of that layer, after it has computed `ahead`; so one wait of the chain is for both.

#if defined(__CUDACC__)
#include "mbarrier.h"
#endif

namespace {

static_assert(STREAMS == 1 && BLOCKS > 1 && !TENSOR && LANES <= 8, "see plan.py");

// Numbers that a warp computes side by side and that go to a block in one store.
DEVICE constexpr int packed(int count) { return count % 4 == 0 ? 4 : count % 2 == 0 ? 2 : 1; }

constexpr int WIDE = 2 * RESIDUAL;  // [x, z] of a layer
constexpr int SKIPPED = LAYERS + 1, BETWEEN = LAYERS + 2, LOGITS = LAYERS + 3, SIGNALS = LAYERS + 4;
constexpr int SIZE = sizeof(Number);

// A lane's part of a row of K weights, in registers: every LANES-th chunk.
template <int K> struct Row {
    static constexpr int CHUNKS = (K / CHUNK + LANES - 1) / LANES;
    float of[CHUNKS][CHUNK];

    static DEVICE bool has(int part, int j) { return K / CHUNK % LANES == 0 || part + j * LANES < K / CHUNK; }

    static DEVICE void read(const Number* from, float* to) {
        Words words = *reinterpret_cast<const Words*>(from);
        UNROLL
        for (int i = 0; i < 4; i++) unpack(words.word[i], to + i * CHUNK / 4);
    }

    DEVICE void load(const Number* row, int part) {
        UNROLL
        for (int j = 0; j < CHUNKS; j++) {
            if (has(part, j)) read(row + (part + j * LANES) * CHUNK, of[j]);
        }
    }

    // Times the same part of a vector.
    DEVICE float times(const Number* vector, int part) const {
        float sums[2] = {};  // two, for half the latency
        UNROLL
        for (int j = 0; j < CHUNKS; j++) {
            if (!has(part, j)) continue;
            float x[CHUNK];
            read(vector + (part + j * LANES) * CHUNK, x);
            UNROLL
            for (int i = 0; i < CHUNK; i++) sums[i % 2] += of[j][i] * x[i];
        }
        return sums[0] + sums[1];
    }
};

struct Block {
    const int thread = thread_number(), lane = thread % 32, part = lane % LANES, group = lane / LANES;
    const int rank = block_number() % BLOCKS, stream = block_number() / BLOCKS;
    char* const memory = shared_memory();
    Number* const resident = at<Number>(AT_RESIDENT);  // the first RESIDENT weights
    Number* const slots = at<Number>(AT_SLOTS);        // (LAYERS, [x, z]): slot l + 1 is layer l's
    Number* const embedded = at<Number>(AT_EMBEDDED);  // (CHAIN_WARPS, [x, 0]): layer 0's input, for each warp its own
    float* const ahead = at<float>(AT_AHEAD);          // (2, LAYERS, UNITS, 2) by sample % 2
    Number* const skipped = at<Number>(AT_SKIPPED);    // (SKIP,), past the relu
    Number* const between = at<Number>(AT_BETWEEN);    // (HIDDEN,)
    float* const logits = at<float>(AT_LOGITS);        // (ENDS,)
    Mbarrier* const signals = at<Mbarrier>(AT_SIGNALS);  // of layer l's input: l; then SKIPPED, BETWEEN, LOGITS

    const Number* weights;  // of this block
    const float* biases;
    Number* rings;    // of this block: (layers' dilations, RESIDUAL)
    const Number* u;  // of this launch and stream: (samples, BANDS), u_pitch apart
    long long u_pitch;

    template <class T> DEVICE T* at(int bytes) { return reinterpret_cast<T*>(memory + bytes); }
    DEVICE Number* slot(int layer_input) { return slots + (layer_input - 1) * WIDE; }
    DEVICE const Number* weights_at(int offset, int count) {
        return offset + count <= RESIDENT ? resident + offset : weights + offset;
    }
    DEVICE const Number* matrix_at(int offset, int count) {
        return RESIDENT >= TABLES ? resident + offset : weights_at(offset, count);
    }

    static DEVICE float over_lanes(float sum) {
        UNROLL
        for (int distance = 1; distance < LANES; distance *= 2) sum += exchange<32>(sum, distance);
        return sum;
    }

    // COUNT numbers, one of each group of lanes, to all blocks: lane r stores to block r.
    template <int COUNT, class T> DEVICE void send(const Remote& to, T mine) {
        union {
            T numbers[COUNT];
            unsigned words[COUNT * sizeof(T) / 4];
        } what;
        UNROLL
        for (int j = 0; j < COUNT; j++) what.numbers[j] = shuffle<32>(mine, j * LANES);
        if (lane < BLOCKS) store(to, what.words);
    }

    // Two numbers of each group at once: lane r stores x to block r, and lane 16 + r stores z.
    template <int COUNT> DEVICE void send(const Remote& to, float x, float z) {
        const bool second = lane >= 16;
        union {
            Number numbers[COUNT];
            unsigned words[COUNT * SIZE / 4];
        } what;
#if BITS == 32
        UNROLL
        for (int j = 0; j < COUNT; j++) {
            float of_x = shuffle<32>(x, j * LANES), of_z = shuffle<32>(z, j * LANES);
            what.numbers[j] = second ? of_z : of_x;
        }
#else
        const unsigned both = number(x) | unsigned(number(z)) << 16;
        UNROLL
        for (int j = 0; j < COUNT; j++) {
            unsigned of_both = shuffle<32>(both, j * LANES);
            what.numbers[j] = Number(second ? of_both >> 16 : of_both);
        }
#endif
        if (lane % 16 < BLOCKS) store(to, what.words);
    }

    DEVICE Remote everywhere(void* to, int signal) { return Remote(to, signals + signal, lane % 16 % BLOCKS); }

    // --- chain ------------------------------------------------------------------------------------------------------

    // The gates of a layer for sample i. x: of this lane's channel, in float32; of the layer before, then of this one.
    DEVICE void gates(int warp, int layer, int i, float& x) {
        constexpr int COUNT = packed(UNITS);
        const int first = rank * UNITS + warp * COUNT, unit = warp * COUNT + group % COUNT;
        const Number* w = matrix_at(layer * LAYER, GATES) + unit * 3 * WIDE;
        Row<WIDE> a, b;
        Row<RESIDUAL> res;
        a.load(w, part), b.load(w + WIDE, part);
        res.load(w + 2 * WIDE + RESIDUAL, part);  // its other half are zeros
        const float bias = biases[RES_BIAS + layer * RESIDUAL + rank * UNITS + unit];
        const Number* in = layer ? slot(layer) : embedded + warp * WIDE;
        const float* known = ahead + ((i % 2 * LAYERS + layer) * UNITS + unit) * 2;
        const Remote to = everywhere(slot(layer + 1) + first + (lane < 16 ? 0 : RESIDUAL), layer + 1);
        wait(signals + layer, i % 2);
        const float known_a = known[0], known_b = known[1];
        float sum_a = a.times(in, part), sum_b = b.times(in, part), sum_x = res.times(in + RESIDUAL, part);
        UNROLL
        for (int distance = 1; distance < LANES; distance *= 2) {  // side by side
            sum_a += exchange<32>(sum_a, distance), sum_b += exchange<32>(sum_b, distance);
            sum_x += exchange<32>(sum_x, distance);
        }
        x += sum_x + bias;
        send<COUNT>(to, x, gate(known_a + sum_a, known_b + sum_b));
    }

    // A sample as a part of layer 0's input: of the channels that this lane writes, and of its own.
    struct Embedding {
        float channels[(RESIDUAL + 31) / 32], own;
    };

    DEVICE Embedding embedding(int warp, int offset, float sample) {
        const Number* table = weights_at(offset, TABLE);
        auto at = [&](int k) {
            return OUTPUT == MULAW ? value(table[int(sample) * RESIDUAL + k]) : sample * value(table[k]);
        };
        Embedding found = {};
        UNROLL
        for (int j = 0; j < (RESIDUAL + 31) / 32; j++) {
            if (lane + 32 * j < RESIDUAL) found.channels[j] = at(lane + 32 * j);
        }
        constexpr int COUNT = packed(UNITS);
        found.own = at(rank * UNITS + warp * COUNT + group % COUNT);
        return found;
    }

    // The last two samples as the input of layer 0; returns x of this lane's channel.
    DEVICE float embed(int warp, const Embedding& before, float sample) {
        constexpr int COUNT = packed(UNITS);
        const Embedding current = embedding(warp, TABLES, sample);
        const float* bias = biases + EMBED_BIAS;
        Number* to = embedded + warp * WIDE;
        sync_warp();
        UNROLL
        for (int j = 0; j < (RESIDUAL + 31) / 32; j++) {
            const int k = lane + 32 * j;
            if (k >= RESIDUAL) continue;
            float x = before.channels[j] + current.channels[j];
            to[k] = number(OUTPUT == MULAW ? x : x + bias[k]), to[RESIDUAL + k] = number(0);
        }
        sync_warp();
        float x = before.own + current.own;
        return OUTPUT == MULAW ? x : x + bias[rank * UNITS + warp * COUNT + group % COUNT];
    }

    // --- output -----------------------------------------------------------------------------------------------------

    // One of the layers after the skip sum: the block's rows of a (ROWS * BLOCKS, K) matrix times `in`, to all blocks.
    template <int ROWS, int K, class T>
    DEVICE void dense(int warp, int i, int offset, int bias, const Number* in, int signal, bool relu, T* to) {
        constexpr int COUNT = packed(ROWS);
        for (int p = warp; p < ROWS / COUNT; p += OUTPUT_WARPS) {
            const int row = p * COUNT + group % COUNT;
            Row<K> w;
            w.load(matrix_at(offset, ROWS * K) + row * K, part);
            const Remote there = everywhere(to + rank * ROWS + p * COUNT, signal + 1);
            const float b = biases[bias + rank * ROWS + row];
            wait(signals + signal, i % 2);
            float sum = over_lanes(w.times(in, part)) + b;
            if constexpr (sizeof(T) == SIZE) {
                send<COUNT>(there, number(relu ? fmaxf(sum, 0) : sum));
            } else {
                send<COUNT>(there, sum);
            }
        }
        if (warp == 0 && lane == 0) arrive(signals + signal, K * SIZE);  // for the next sample
    }

    DEVICE void output(int warp, int count) {
        constexpr int ROWS = SKIP / BLOCKS, COUNT = packed(ROWS);
        constexpr int TURNS = (ROWS / COUNT + OUTPUT_WARPS - 1) / OUTPUT_WARPS;
        for (int i = 0; i < count; i++) {
            float sums[TURNS] = {};
            for (int layer = 0; layer < LAYERS; layer++) {
                const Number* w = matrix_at(layer * LAYER + GATES + AHEAD, ROWS * RESIDUAL);
                Row<RESIDUAL> rows[TURNS];
                UNROLL
                for (int n = 0; n < TURNS; n++) {
                    const int p = n * OUTPUT_WARPS + warp;
                    if (p < ROWS / COUNT) rows[n].load(w + (p * COUNT + group % COUNT) * RESIDUAL, part);
                }
                wait(signals + layer + 1, i % 2);
                UNROLL
                for (int n = 0; n < TURNS; n++) {
                    if (n * OUTPUT_WARPS + warp < ROWS / COUNT)
                        sums[n] += rows[n].times(slot(layer + 1) + RESIDUAL, part);
                }
            }
            UNROLL
            for (int n = 0; n < TURNS; n++) {
                const int p = n * OUTPUT_WARPS + warp, first = rank * ROWS + p * COUNT;
                if (p >= ROWS / COUNT) continue;
                float sum = over_lanes(sums[n]) + biases[SKIP_BIAS + first + group % COUNT];
                send<COUNT>(everywhere(skipped + first, SKIPPED), number(fmaxf(sum, 0)));
            }
            dense<HIDDEN / BLOCKS, SKIP>(warp, i, OUT, OUT_BIAS, skipped, SKIPPED, true, between);
            dense<ENDS / BLOCKS, HIDDEN>(warp, i, END, END_BIAS, between, BETWEEN, false, logits);
        }
    }

    // --- ahead ------------------------------------------------------------------------------------------------------

    DEVICE Number* ring(int layer, long long t) {
        return rings + (rings_below(layer) + int(t & (dilation(layer) - 1))) * RESIDUAL;
    }

    // A layer's products with sample t - d and with the conditioning, for sample t, the i-th of this launch; and its
    // input's mbarrier is armed.
    DEVICE void look_ahead(int layer, int i, long long t) {
        constexpr int COUNT = packed(UNITS);
        const Number *past = ring(layer, t), *mel = u + i * u_pitch;
        float* to = ahead + (i % 2 * LAYERS + layer) * UNITS * 2;
        for (int p = 0; p < UNITS / COUNT; p++) {
            const int unit = p * COUNT + group % COUNT;
            UNROLL
            for (int j = 0; j < 2; j++) {
                const Number* w = matrix_at(layer * LAYER + GATES, AHEAD) + (unit * 2 + j) * (RESIDUAL + BANDS);
                Row<RESIDUAL> of_past;
                Row<BANDS> of_mel;
                of_past.load(w, part), of_mel.load(w + RESIDUAL, part);
                float sum = over_lanes(of_past.times(past, part) + of_mel.times(mel, part));
                if (part == 0 && group < COUNT)
                    to[unit * 2 + j] = sum + biases[2 * (layer * RESIDUAL + rank * UNITS + unit) + j];
            }
        }
        sync_warp();
        if (lane == 0) {
            arrive(signals + layer, layer ? WIDE * SIZE : 0);
            if (layer == LAYERS - 1) arrive(signals + LAYERS, WIDE * SIZE);
        }
    }

    DEVICE void remember_and_look_ahead(int warp, int count, long long t0) {
        for (int layer = warp; layer < LAYERS; layer += AHEAD_WARPS) look_ahead(layer, 0, t0);
        for (int i = 0; i < count; i++) {
            for (int layer = warp; layer < LAYERS; layer += AHEAD_WARPS) {
                wait(signals + layer + 1, i % 2);
                Number* to = ring(layer, t0 + i);  // x of a dilation ago, which has been read
                for (int k = lane * CHUNK; k < RESIDUAL; k += 32 * CHUNK)
                    *reinterpret_cast<Words*>(to + k) = *reinterpret_cast<const Words*>(slot(layer + 1) + k);
                sync_warp();
                if (layer + AHEAD_WARPS >= LAYERS && lane == 0) arrive(signals + BETWEEN);  // all x are read
                if (i + 1 < count) look_ahead(layer, i + 1, t0 + i + 1);
            }
        }
    }
};

}  // namespace

// The arguments are wavenet.cu's.
KERNEL wavenet(const Number* weights, const float* biases, Number* rings, const Number* u, const unsigned* numbers,
               float* last, float* samples, float* expected, long long t0, int count, int streams,
               unsigned long long seed, float temperature) {
    Block b;
    b.weights = weights + (long long)b.rank * TOTAL, b.biases = biases;
    b.rings = rings + (long long)(b.stream * BLOCKS + b.rank) * RING;
    b.u = u + (long long)b.stream * BANDS, b.u_pitch = (long long)streams * BANDS;

    constexpr int COPIED = RESIDENT < TOTAL ? RESIDENT : TOTAL;
    for (int i = b.thread; i < COPIED / CHUNK; i += THREADS)
        reinterpret_cast<Words*>(b.resident)[i] = reinterpret_cast<const Words*>(b.weights)[i];
    if (b.thread == 0) {
        for (int i = 0; i < SIGNALS; i++) make(b.signals + i, i == BETWEEN ? 1 + AHEAD_WARPS : 1);
        made();
        arrive(b.signals + SKIPPED, SKIP * SIZE), arrive(b.signals + BETWEEN, HIDDEN * SIZE);
        arrive(b.signals + LOGITS, ENDS * 4);
    }
    arrive(), wait();  // all blocks of the cluster have begun, and their mbarriers are made

    const int warp = b.thread / 32;
    if (warp >= CHAIN_WARPS + OUTPUT_WARPS) {
        b.remember_and_look_ahead(warp - CHAIN_WARPS - OUTPUT_WARPS, count, t0);
    } else if (warp >= CHAIN_WARPS) {
        b.output(warp - CHAIN_WARPS, count);
    } else {
        float *state = last + b.stream * 2, older = state[0], newest = state[1];
        const unsigned random = numbers[b.stream];
        const bool writes = b.rank == 0 && warp == 0;
        float x = b.embed(warp, b.embedding(warp, TABLES + TABLE, older), newest);
        for (int i = 0; i < count; i++) {
            for (int layer = 0; layer < LAYERS; layer++) b.gates(warp, layer, i, x);
            long long place = (long long)b.stream * count + i;
            float drawn = expected ? samples[place] : 0;
            Uniforms chance(seed, random, t0 + i);
            now(chance.first), now(chance.second);
            const Block::Embedding before = b.embedding(warp, TABLES + TABLE, newest);
            wait(b.signals + LOGITS, i % 2);
            if (warp == 0 && b.lane == 0) arrive(b.signals + LOGITS, ENDS * 4);  // for the next sample
            if (!expected) drawn = draw(b.logits, chance, temperature);
            if (writes && expected) {
                for (int k = b.lane; k < OUTPUTS; k += 32) expected[place * OUTPUTS + k] = b.logits[k];
            } else if (writes && b.lane == 0) {
                samples[place] = drawn;
            }
            older = newest, newest = drawn;
            x = b.embed(warp, before, newest);
        }
        if (writes && b.lane == 0) state[0] = older, state[1] = newest;
    }
    arrive(), wait();  // a block stays until no other stores to it
}
