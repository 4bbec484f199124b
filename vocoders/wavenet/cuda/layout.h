// What lies where in the weights, the biases and the past; and the gate.

#pragma once

namespace {

constexpr int CHUNK = 16 / sizeof(Number);  // numbers that are read at once
constexpr int UNITS = RESIDUAL / BLOCKS;    // channels of x and z that are a block's own

// A block's weights, in this order: for each layer [gates, ahead, skip], then out, end, and the embeddings of the
// current and of the previous sample in full.
DEVICE constexpr int rows(int n) { return TENSOR ? (n + 15) / 16 * 16 : n; }
constexpr int GATES = rows(3 * UNITS) * 2 * RESIDUAL, AHEAD = rows(2 * UNITS) * (RESIDUAL + BANDS);
constexpr int LAYER = GATES + AHEAD + rows(SKIP / BLOCKS) * RESIDUAL;
constexpr int OUT = LAYERS * LAYER, END = OUT + rows(HIDDEN / BLOCKS) * SKIP;
constexpr int TABLES = END + rows(ENDS / BLOCKS) * HIDDEN, TABLE = CLASSES * RESIDUAL;
constexpr int TOTAL = TABLES + 2 * TABLE;

// Biases of all blocks, in this order: the gates (layer, channel, a or b), the residual, the skip sum, out, end,
// embedding.
constexpr int RES_BIAS = 2 * LAYERS * RESIDUAL, SKIP_BIAS = RES_BIAS + LAYERS * RESIDUAL, OUT_BIAS = SKIP_BIAS + SKIP;
constexpr int END_BIAS = OUT_BIAS + HIDDEN, EMBED_BIAS = END_BIAS + ENDS;

DEVICE constexpr int dilation(int layer) { return 1 << layer % CYCLE; }
// The sum of the dilations of the layers below. A layer's past is a ring of as many inputs as its dilation.
DEVICE constexpr int rings_below(int layer) { return layer / CYCLE * ((1 << CYCLE) - 1) + (1 << layer % CYCLE) - 1; }
constexpr int RING = rings_below(LAYERS) * STREAMS * RESIDUAL;

// tanh(a) * sigmoid(b) with one division: (1 - p) / ((1 + p) (1 + q)), p = e^-2a, q = e^-b. Beyond the bounds the
// result does not change in float32.
DEVICE float gate(float a, float b) {
    constexpr float LOG2E = 1.4426950408889634f;
    float p = exp2_(fminf(fmaxf(a, -9.5f), 9.5f) * (-2 * LOG2E)), q = exp2_(fminf(fmaxf(b, -60.0f), 60.0f) * -LOG2E);
    return divide(1 - p, (1 + p) * (1 + q));
}

}  // namespace
