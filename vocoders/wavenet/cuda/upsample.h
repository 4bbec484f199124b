// The mel at the rate of samples, before `wavenet` runs: one launch for each transposed convolution.

#pragma once

// One transposed convolution, one number of its output in each thread.
//   in      (streams, in_count, inputs), from step in_first of each stream on
//   weight  (window, inputs, bands)
//   ends    (streams,) frames
//   out     (streams, out_count, bands), from step out_first on, at `rate` steps a frame; zero before a stream's
//           beginning and after its end
template <class Store>
DEVICE void convolve(const float* in, const float* weight, const float* bias, const long long* ends, int streams,
                     int inputs, int bands, int window, int stride, int rate, long long in_first, int in_count,
                     long long out_first, int out_count, Store store) {
    const long long i = (long long)block_number() * block_size() + thread_number();
    if (i >= (long long)streams * out_count * bands) return;
    const int band = int(i % bands), step = int(i / bands % out_count), stream = int(i / bands / out_count);
    const long long place = out_first + step, from = place + (window - stride) / 2;
    float sum = 0;
    if (place >= 0 && place < ends[stream] * rate) {
        sum = bias[band];
        for (long long q = (from - window + stride + (long long)stride * window) / stride - window; q * stride <= from;
             q++) {
            if (q < in_first || q >= in_first + in_count) continue;
            const float* x = in + (stream * (long long)in_count + (q - in_first)) * inputs;
            const float* w = weight + (from - q * stride) * inputs * bands + band;
            for (int k = 0; k < inputs; k++) sum += x[k] * w[(long long)k * bands];
        }
    }
    store(stream, step, band, sum);
}

PLAIN_KERNEL upsample(const float* in, const float* weight, const float* bias, const long long* ends, float* out,
                      int streams, int inputs, int bands, int window, int stride, int rate, long long in_first,
                      int in_count, long long out_first, int out_count) {
    convolve(in, weight, bias, ends, streams, inputs, bands, window, stride, rate, in_first, in_count, out_first,
             out_count, [&](int stream, int step, int band, float x) {
                 out[((long long)stream * out_count + step) * bands + band] = x;
             });
}

// The last one, in the layout that `wavenet` reads: (out_count, streams, BANDS).
PLAIN_KERNEL upsample_last(const float* in, const float* weight, const float* bias, const long long* ends, Number* out,
                           int streams, int inputs, int bands, int window, int stride, int rate, long long in_first,
                           int in_count, long long out_first, int out_count) {
    convolve(in, weight, bias, ends, streams, inputs, bands, window, stride, rate, in_first, in_count, out_first,
             out_count, [&](int stream, int step, int band, float x) {
                 Number* to = out + ((long long)step * streams + stream) * BANDS;
                 to[band] = number(x);
             });
}
