"""Phase from magnitude alone, frame after frame: phase gradient heap integration in real time.

For a Gaussian window the phase of a short-time Fourier transform is, but for a constant, told by the logarithm of its magnitude
s(t, w): the two are real and imaginary part of an analytic function. Its partial derivatives are therefore each other's
(Portnoff 1979; Auger, Chassande-Mottin and Flandrin 2012):

    d phase / dt = w + (d log s / dw) / gamma',      d phase / dw = -gamma' (d log s / dt)

with the phase counted from the window's centre. A Hann window of n samples is near a Gaussian exp(-pi t^2 / gamma) of
gamma = 0.25645 n^2 (Prusa, Balazs and Sondergaard 2017, who made this an algorithm). The gradient is integrated along the
path of largest magnitudes, where it is told best and an error is heard most: the loudest bin whose phase is known hands it on
to its neighbours, by a heap. "In real time" (Prusa and Sondergaard 2016) means that a frame is integrated from the one
before it, so that a frame is final at once and memory does not grow. Bins too soft to tell get a phase by chance.

In the discrete transform with hop a, FFT size n and bin m at frame t, phases grow, by central differences of log s,

    along time,       a hop:  2 pi a m / n + a n / (2 gamma) * (log s(m + 1, t) - log s(m - 1, t))
    along frequency,  a bin:  -gamma / (2 a n) * (log s(m, t + 1) - log s(m, t - 1))
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

HANN = 0.25645  # gamma of a Hann window of n samples is this times n squared
TINY = 1e-10


class HeapIntegrator:
    """Phases of a spectrogram's frames, given one after the other.

    n_fft, hop: samples; the window is Hann's of n_fft. tolerance: bins below the frame's loudest times this get a random phase.
    """

    def __init__(self, n_fft: int, hop: int, tolerance: float, seed: int) -> None:
        self.n_fft, self.hop, self.tolerance = n_fft, hop, tolerance
        self.gamma = HANN * n_fft**2
        self.advance = 2 * np.pi * hop * np.arange(n_fft // 2 + 1) / n_fft  # of a bin's own frequency over a hop
        self.random = np.random.default_rng(seed)
        self.phase = np.zeros(n_fft // 2 + 1)
        self.magnitude: NDArray[np.floating] | None = None  # of the frame before
        self.along_time = self.advance

    def frame(self, magnitude: NDArray[np.floating], after: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
        """The phase of the next frame, (n_fft // 2 + 1,) radians from the window's centre.

        magnitude: of this frame; after: of the one that follows it, None at the end.
        """
        log = np.log(np.maximum(magnitude, TINY))
        # One-sided differences at the ends: what is not known is thought to lie on a straight line.
        log_before = np.log(np.maximum(self.magnitude, TINY)) if self.magnitude is not None else None
        log_after = np.log(np.maximum(after, TINY)) if after is not None else None
        if log_after is None:
            log_after = log if log_before is None else 2 * log - log_before
        if log_before is None:
            log_before = 2 * log - log_after
        along_frequency = -self.gamma / (2 * self.hop * self.n_fft) * (log_after - log_before)
        slope = np.empty_like(log)
        slope[1:-1] = log[2:] - log[:-2]
        slope[0], slope[-1] = 0.0, 0.0  # a real signal's spectrum is even around both ends
        along_time = self.advance + self.hop * self.n_fft / (2 * self.gamma) * slope
        step_time = (0.5 * (self.along_time + along_time)).tolist()  # trapezoids
        step_frequency = (0.5 * (along_frequency[1:] + along_frequency[:-1])).tolist()
        before = np.zeros_like(log) if self.magnitude is None else self.magnitude
        floor = self.tolerance * float(max(magnitude.max(), before.max()))
        phase = self._integrate(before, magnitude, floor, step_time, step_frequency)
        self.phase, self.magnitude, self.along_time = phase, np.array(magnitude), along_time
        return phase

    def _integrate(
        self,
        before: NDArray[np.floating],
        magnitude: NDArray[np.floating],
        floor: float,
        step_time: list[float],
        step_frequency: list[float],
    ) -> NDArray[np.float64]:
        bins = len(magnitude)
        phase = self.random.uniform(0, 2 * np.pi, bins).tolist()
        open_ = (magnitude > floor).tolist()  # still without a phase
        loud, known = magnitude.tolist(), self.phase.tolist()
        # Entries are (-magnitude, bin), those of the frame before with bins from `bins` on; the heap gives the loudest.
        heap = [(-s, bins + m) for m, s in enumerate(before.tolist()) if s > floor]
        heapify(heap)
        rest = sum(open_)
        while rest:
            if not heap:  # an island that nothing leads to: its loudest bin keeps the phase it has by chance
                m = max((s, m) for m, s in enumerate(loud) if open_[m])[1]
                open_[m] = False
                rest -= 1
                heap.append((-loud[m], m))
            _, m = heappop(heap)
            if m >= bins:
                m -= bins
                if open_[m]:
                    phase[m] = known[m] + step_time[m]
                    open_[m] = False
                    rest -= 1
                    heappush(heap, (-loud[m], m))
                continue
            if m + 1 < bins and open_[m + 1]:
                phase[m + 1] = phase[m] + step_frequency[m]
                open_[m + 1] = False
                rest -= 1
                heappush(heap, (-loud[m + 1], m + 1))
            if m and open_[m - 1]:
                phase[m - 1] = phase[m] - step_frequency[m - 1]
                open_[m - 1] = False
                rest -= 1
                heappush(heap, (-loud[m - 1], m - 1))
        return np.array(phase) % (2 * np.pi)
