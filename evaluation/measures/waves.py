"""Measures of how near a result is to the truth, each with its unit and its source.

What compares two waves sample by sample or frame by frame expects them aligned (`align`) and so of one length. Measures against
the score are in against_score.py, the constant-Q transform is in constant_q.py, the Fréchet distance in frechet.py, the table of
all of them in table.py.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError

Wave = NDArray[np.float32]
REACH = 0.25  # seconds of delay that `align` looks for, either way
# A correlation of waveforms above this says that the phases agree, so that the lag is known to the sample.
COHERENT = 0.5
UNSURE = 0.01  # seconds: how well it is known where they do not; nine in ten of film's renderings lie within 11 ms
SOUNDING = 1e-3  # -60 dB of full scale, or of the loudest frame: what is below counts as silence
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # FFT, hop, window: Parallel WaveGAN's three


def need(module: str, what: str) -> Any:
    """A module of the extra `eval`. Raises M2MError that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise M2MError(f"{what} needs {module}: pip install 'm2m[eval]'.") from error


@dataclass(frozen=True)
class Alignment:
    """A wave moved and scaled to lie on another.

    wave:  as long and, in root mean square, as loud as the original.
    lag:   seconds by which it came late (early, where negative).
    level: decibels by which it was louder before it was scaled; -inf if it is silent.
    """

    wave: Wave
    lag: float
    level: float


def align(original: Wave, other: Wave, rate: int) -> Alignment:
    """Undo one delay of the whole, at most `REACH` seconds, and one gain, so that neither counts as an error; both are reported.

    original, other: (samples,) float32, -1..1, at `rate` Hz; the other is cut, or padded with silence, to the original's length.

    The delay is where the cross-correlation of the spectra's increases over time is highest. That needs no agreement of phases,
    which a vocoder cannot know from a mel. It is exact to some milliseconds, and a lag below `UNSURE` is reported but not
    undone. Where the waveforms themselves correlate, their lag is taken, which is exact to the sample.
    """
    if len(other) < len(original):
        other = np.pad(other, (0, len(original) - len(other)))
    loud, mine = (float(np.sqrt(np.mean(np.square(w, dtype=np.float64)))) if len(w) else 0.0 for w in (original, other))
    if not loud or not mine:
        level = 0.0 if loud == mine else -np.inf if not mine else np.inf
        return Alignment(other[: len(original)], 0.0, level)
    lag, sure = _lag(original, other, rate)
    shift = lag if sure or abs(lag) > UNSURE * rate else 0
    moved = other[shift:] if shift > 0 else np.pad(other, (-shift, 0))
    moved = np.pad(moved, (0, max(0, len(original) - len(moved))))[: len(original)]
    after = float(np.sqrt(np.mean(np.square(moved, dtype=np.float64)))) or mine
    return Alignment((moved * (loud / after)).astype(np.float32), lag / rate, float(20 * np.log10(after / loud)))


def _lag(original: Wave, other: Wave, rate: int) -> tuple[int, bool]:
    """Samples by which `other` is late, and whether the waveforms themselves say so."""
    hop = max(1, rate // 250)  # 4 ms
    first, second = (_increases(wave, hop) for wave in (original, other))
    most = max(1, min(round(REACH * rate / hop), len(first) - 1))
    score = _correlate(first, second, most)
    best = int(score.argmax())
    at = float(best)
    if 0 < best < 2 * most:
        left, top, right = score[best - 1 : best + 2].tolist()
        curvature = left - 2 * top + right  # of the parabola through the three
        at += 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    coarse = round((at - most) * hop)
    reach = min(abs(coarse) + 2 * hop, len(original) - 1)
    fine = _correlate(original[:, None], other[:, None], reach)
    near = slice(max(0, reach + coarse - 2 * hop), reach + coarse + 2 * hop + 1)
    peak = int(fine[near].argmax()) + near.start
    power = float(np.linalg.norm(original.astype(np.float64)) * np.linalg.norm(other.astype(np.float64)))
    return (peak - reach, True) if fine[peak] > COHERENT * power else (coarse, False)


def _increases(wave: Wave, hop: int) -> NDArray[np.float64]:
    """How much the root of each frequency's magnitude grows over 16 ms, its mean removed: (frames of `hop`, bins) float64."""
    padded = np.pad(wave, (4 * hop, 4 * hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 8 * hop)[::hop]
    magnitude = np.sqrt(np.abs(np.fft.rfft(frames * np.hanning(8 * hop).astype(np.float32))))
    sums = np.pad(magnitude, ((4, 4), (0, 0)), mode="edge").cumsum(axis=0, dtype=np.float64)
    means = (sums[4:] - sums[:-4]) / 4  # of the four frames before each frame, and after them of those from it on
    increases = np.maximum(means[4:] - means[:-4], 0)
    centred: NDArray[np.float64] = increases - increases.mean(axis=0)
    return centred


def _correlate(a: NDArray[np.floating], b: NDArray[np.floating], most: int) -> NDArray[np.float64]:
    """Cross-correlation over time, summed over the columns: two (time, columns) -> (2 most + 1,); index `most` is lag 0."""
    length = 1 << int(np.ceil(np.log2(len(a) + len(b))))
    product = np.zeros(length // 2 + 1, np.complex128)
    for column in range(a.shape[1]):
        product += np.fft.rfft(a[:, column], length).conj() * np.fft.rfft(b[:, column], length)
    score = np.fft.irfft(product, length)
    return np.concatenate([score[-most:], score[: most + 1]])


def multi_resolution_stft_error(original: Wave, other: Wave) -> tuple[float, float]:
    """The multi-resolution STFT error (Yamamoto et al., arXiv 1910.11480): spectral convergence and log-magnitude error.

    original, other: (samples,) float32, -1..1, aligned.
    Spectral convergence is |X - Y| / |X| (Frobenius), no unit; the other is the mean of |ln X - ln Y|, nepers. Both are means
    over the three resolutions of Parallel WaveGAN.
    """
    import torch

    first, second = (torch.from_numpy(np.ascontiguousarray(wave, np.float32)) for wave in (original, other))
    convergence, logarithm = [], []
    for n_fft, hop, width in RESOLUTIONS:
        window = torch.hann_window(width)
        x, y = (
            torch.stft(w, n_fft, hop, width, window, pad_mode="constant", return_complex=True).abs().clamp_min(3.16e-4)
            for w in (first, second)
        )
        convergence.append(float((x - y).norm() / x.norm()))
        logarithm.append(float((x.log() - y.log()).abs().mean()))
    return float(np.mean(convergence)), float(np.mean(logarithm))


def loudness(wave: Wave, rate: int) -> float:
    """Integrated loudness, LUFS (ITU-R BS.1770-4, by pyloudnorm); -inf for silence, NaN for less than its block of 0.4 s.

    wave: (samples,) float32, -1..1, at `rate` Hz. Raises M2MError without pyloudnorm.
    """
    meter = need("pyloudnorm", "loudness").Meter(rate)
    if len(wave) < meter.block_size * rate:
        return float("nan")
    with np.errstate(divide="ignore"):
        return float(meter.integrated_loudness(wave.astype(np.float64)))


def magnitudes(wave: Wave, n_fft: int, hop: int) -> NDArray[np.float32]:
    """Magnitudes of a wave's spectra, one every `hop` samples, by a Hann window of `n_fft` samples.

    wave: (samples,) float32, -1..1. Returned: (n_fft // 2 + 1, 1 + samples // hop) float32.
    """
    import torch

    window = torch.hann_window(n_fft)
    samples = torch.from_numpy(np.ascontiguousarray(wave, np.float32))
    found = torch.stft(samples, n_fft, hop, n_fft, window, pad_mode="constant", return_complex=True).abs()
    return found.numpy()


def centroid_error(original: Wave, other: Wave, rate: int) -> float:
    """Mean absolute difference of the spectral centroids (librosa's, 64 ms frames) where the original sounds, Hz.

    original, other: (samples,) float32, -1..1, at `rate` Hz, aligned. Returned is NaN where the original never sounds.
    """
    # A floor 100 dB down, since the centroid of digital silence is undefined.
    spectra = [magnitudes(wave, 1024, 256) + 1e-5 for wave in (original, other)]
    hz = np.linspace(0, rate / 2, 513)[:, None]
    first, second = ((hz * spectrum).sum(axis=0) / spectrum.sum(axis=0) for spectrum in spectra)
    energy = np.sqrt(np.square(spectra[0]).sum(axis=0))
    sounds = (energy > SOUNDING * energy.max()) & (energy > 0.1)
    return float(np.abs(first - second)[sounds].mean()) if sounds.any() else float("nan")


def clicks(wave: Wave, rate: int) -> float:
    """Clicks a second: frames of 16 ms with an isolated peak of the second difference.

    wave: (samples,) float32, -1..1, at `rate` Hz.

    Isolated is a peak of four times what the second and third frames to both sides reach, which the pulses of a reed or the
    attack of a note are not, and of ten times the frame's median, which noise is not. It has to be above -50 dB of full scale.
    The definition is m2m's own: there is no standard one.
    """
    curvature = np.abs(np.diff(wave.astype(np.float64), 2))
    size = max(8, round(0.016 * rate))
    frames = curvature[: len(curvature) // size * size].reshape(-1, size)
    if not len(frames):
        return 0.0
    peaks = np.pad(frames.max(axis=1), 3)
    around = np.max([np.roll(peaks, shift) for shift in (-3, -2, 2, 3)], axis=0)[3:-3]
    peaks = peaks[3:-3]
    alone = (peaks > 4 * around) & (peaks > 10 * np.median(frames, axis=1)) & (peaks > 10 ** (-50 / 20))
    starts = alone & ~np.append(False, alone[:-1])  # a jump at a frame's edge shows in two
    return float(starts.sum() / (len(wave) / rate))


def clipped(wave: Wave) -> float:
    """The share of samples at full scale or beyond, 0..1; one step of 16 bits below counts as full scale.

    wave: (samples,) float32.
    """
    return float((np.abs(wave) >= 1 - 2**-15).mean()) if len(wave) else 0.0


def dropped(original: Wave, other: Wave, rate: int) -> float:
    """The share of the original's sounding 20 ms frames in which `other` is silent (60 dB below full scale), 0..1.

    original, other: (samples,) float32, -1..1, at `rate` Hz, aligned. Returned is NaN where the original never sounds.
    """
    first, second = (_frame_levels(wave, max(1, rate // 50)) for wave in (original, other))
    sounds = first > SOUNDING
    return float((second[sounds] <= SOUNDING).mean()) if sounds.any() else float("nan")


def _frame_levels(wave: Wave, size: int) -> NDArray[np.float64]:
    """Root mean square of each frame of `size` samples."""
    frames = wave[: len(wave) // size * size].reshape(-1, size).astype(np.float64)
    return np.sqrt(np.square(frames).mean(axis=1))
