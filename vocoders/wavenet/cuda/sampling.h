// The network's outputs for a sample -> the sample, drawn as sampling.py draws it, by the 32 threads of a warp
// together.

#pragma once

namespace {

enum { MULAW, GAUSSIAN, MOL };

// Philox4x32-10 (Salmon et al., SC 2011): the first two of four words, as numbers in (0, 1]. As philox.py has it.
struct Uniforms {
    float first, second;

    DEVICE Uniforms(unsigned long long seed, unsigned stream, unsigned long long t) {
        unsigned c[4] = {unsigned(t), unsigned(t >> 32), stream, 0}, key[2] = {unsigned(seed), unsigned(seed >> 32)};
        for (int i = 0; i < 10; i++) {
            unsigned long long a = 0xD2511F53ull * c[0], b = 0xCD9E8D57ull * c[2];
            c[0] = unsigned(b >> 32) ^ c[1] ^ key[0], c[2] = unsigned(a >> 32) ^ c[3] ^ key[1];
            c[1] = unsigned(b), c[3] = unsigned(a);
            key[0] += 0x9E3779B9u, key[1] += 0xBB67AE85u;
        }
        first = (float(c[0] >> 8) + 0.5f) * 5.9604644775390625e-8f;  // 2 ** -24
        second = (float(c[1] >> 8) + 0.5f) * 5.9604644775390625e-8f;
    }
};

// The first class up to which the probabilities sum to more than u. The sums are integers, so they do not depend on
// their order, and lanes may share the work.
DEVICE int draw_class(const float* expected, int classes, float u, float temperature) {
    const int lane = thread_number() % 32, part = (classes + 31) / 32, first = lane * part;
    const int end = first + part < classes ? first + part : classes;
    float top = expected[0];
    int loudest = 0;
    for (int i = first; i < end; i++) {
        if (expected[i] > top) top = expected[i], loudest = i;
    }
    for (int distance = 1; distance < 32; distance *= 2) {
        float other = exchange<32>(top, distance);
        int place = exchange<32>(loudest, distance);
        if (other > top || (other == top && place < loudest)) top = other, loudest = place;
    }
    if (temperature == 0) return loudest;
    auto probability = [&](int i) {  // in units of 2 ** -40 of the likeliest class's
        return (unsigned long long)(expf((expected[i] - top) / temperature) * 1099511627776.0f);
    };
    unsigned long long own = 0;
    for (int i = first; i < end; i++) own += probability(i);
    unsigned long long sum = own;  // up to this lane's last class
    for (int distance = 1; distance < 32; distance *= 2) {
        unsigned long long below = shuffle<32>(sum, (lane - distance) & 31);
        if (lane >= distance) sum += below;
    }
    const unsigned long long total = shuffle<32>(sum, 31), target = (unsigned long long)(u * float(total));
    sum -= own;
    int chosen = 0, possible = 0;
    for (int i = first; i < end; i++) {
        sum += probability(i);
        chosen += sum <= target, possible += sum < total;
    }
    for (int distance = 1; distance < 32; distance *= 2)
        chosen += exchange<32>(chosen, distance), possible += exchange<32>(possible, distance);
    return chosen < possible ? chosen : possible;  // u may be 1: then the last class that adds to the sum
}

// outputs of the network -> a µ-law code, or audio in -1..1
DEVICE float draw(const float* expected, const Uniforms& u, float temperature) {
    if (OUTPUT == MULAW) return float(draw_class(expected, OUTPUTS, u.first, temperature));
    float mean, scale, noise;
    if (OUTPUT == GAUSSIAN) {
        mean = expected[0], scale = expf(expected[1]);
        noise = sqrtf(-2 * logf(u.first)) * cos_of_turns(u.second);
    } else {
        constexpr int MIXTURES = OUTPUTS / 3;
        int chosen = draw_class(expected, MIXTURES, u.first, temperature);
        mean = expected[MIXTURES + chosen], scale = expf(expected[2 * MIXTURES + chosen]);
        noise = logf(u.second) - logf(1 - u.second);
    }
    float wave = temperature > 0 ? mean + temperature * scale * noise : mean;
    return fminf(fmaxf(wave, -1.0f), 1.0f);
}

}  // namespace
