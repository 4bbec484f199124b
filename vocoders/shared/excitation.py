"""The harmonic excitation: a part's notes, played by band-limited oscillators.

A mel does not say where inside a band the energy lies, nor with which phase. An excitation supplies both, as the source does in
source-filter models: NSF (Wang, Takaki and Yamagishi, arXiv 1810.11946) filters sines by a neural network, DDSP (Engel et al.,
arXiv 2001.04643) adds harmonics whose levels a network sets, Wavehax (Yoneyama et al., arXiv 2411.06807) gives a network a
harmonic signal as a prior.

*Matched to the mel* (`mel_matched_excitation`), it conditions networks. Every key has the same harmonics, of amplitude 1 / n.
Each frame's spectrum is scaled until its mel is the given one, and two iterations of Griffin-Lim make neighbouring frames agree.
A frame depends on those near it only, so any stretch equals that part of the whole. A faint noise is added; where the mel is
not silent and no note sounds, scaling makes it the excitation.

*Fitted to the mel* (vocoders/griffin_lim/fitted_excitation.py), it starts Griffin-Lim's search.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from m2m.core.mel import MelSpec, linear_mel
from m2m.core.score import NoteArray
from m2m.vocoders.shared.stft import bands_to_bins, griffin_lim, mel_to_magnitude, shared_stft, window_reach

Array = NDArray[np.float32]
TABLE_BITS = 12
TABLE = 1 << TABLE_BITS  # samples of a wavetable, one period; read without interpolation
RING = 5  # a released note is dropped after so many time constants (-43 dB)
RELEASE = 0.1  # seconds, the time constant of the mel-matched excitation after a note's end
NOISE = 0.01  # beside it, of the mel's level
UPDATES = 4  # of its magnitudes; more come no nearer to the music
ITERATIONS = 2  # of Griffin-Lim
LONG_BEFORE = 1 << 40  # samples: where the noise begins, which must be before anything


def notes_within(notes: NoteArray, first: int, last: int, release: float, spec: MelSpec) -> NoteArray:
    """The notes that sound, or ring out, under the windows of frames first <= t < last."""
    half = 0.5 * spec.n_fft / spec.sample_rate  # seconds
    begin, end = first / spec.frame_rate - half, last / spec.frame_rate + half
    return notes[(notes["start"] < end) & (notes["end"] + RING * release > begin)]


def harmonic_excitation(notes: NoteArray, first: int, samples: int, release: float, spec: MelSpec) -> Array:
    """The notes with harmonics of amplitude 1 / n, whatever the timbre: (samples,) float32 from sample `first` of the piece.

    Nothing in it depends on where a stretch begins: any stretch is that part of the whole.
    """
    rate, out = spec.sample_rate, np.zeros(samples, np.float32)
    for start, end, key, velocity in notes.tolist():
        onset = round(start * rate)
        low, high = max(onset, first, 0), min(round((end + RING * release) * rate), first + samples)
        if low >= high:
            continue
        table, turns = _bare_table(key, spec)
        part = oscillate(table, turns, low - onset, high - onset) * np.float32(velocity / 127)
        apply_release(part, end - low / rate, release, rate)
        out[low - first : high - first] += part
    return out


def excitation_margin(spec: MelSpec) -> int:
    """Frames of mel on either side of a stretch on which its mel-matched excitation depends.

    These are the frames whose windows overlap with it, then those whose windows overlap with these, and so on: twice for each
    iteration of Griffin-Lim, which goes to the wave and back.
    """
    return (1 + 2 * ITERATIONS) * window_reach(spec)


def mel_matched_excitation(notes: NoteArray, values: Array, first: int, spec: MelSpec) -> Array:
    """The harmonic excitation of the notes, scaled until it has a given mel: (frames * hop_length,) float32.

    values: (margin + frames + margin, n_mels) float32 log-mel, with `excitation_margin`.
    first: the frame of the piece that is `values[margin]`; the samples begin there.
    """
    hop, beyond = spec.hop_length, excitation_margin(spec)
    transform, start = shared_stft(spec), (first - beyond) * hop - spec.n_fft // 2
    samples = transform.samples(len(values))
    sounding = notes_within(notes, first - beyond, first - beyond + len(values), RELEASE, spec)
    target = torch.from_numpy(np.maximum(linear_mel(values, spec) - np.float32(spec.floor), 0))
    spectrum = transform.forward(torch.from_numpy(harmonic_excitation(sounding, start, samples, RELEASE, spec)))
    noise = transform.forward(torch.from_numpy(_noise(start, samples)))
    spectrum = spectrum + noise.sgn() * (NOISE * bands_to_bins(target, spec))
    magnitude = mel_to_magnitude(target, spectrum.abs(), UPDATES, spec)
    wave = griffin_lim(target, magnitude, spectrum, ITERATIONS, transform)
    begin = spec.n_fft // 2 + beyond * hop
    return wave[begin : begin + (len(values) - 2 * beyond) * hop].numpy()


def _noise(first: int, count: int) -> Array:
    """White noise, a function of the sample alone: (count,) float32."""
    skipped, left = divmod(first + LONG_BEFORE, 4)  # Philox makes four numbers at once
    draw = np.random.Generator(np.random.Philox(key=0).advance(skipped))
    return draw.random(left + count)[left:].astype(np.float32) - np.float32(0.5)


@lru_cache(maxsize=256)
def _bare_table(key: int, spec: MelSpec) -> tuple[Array, float]:
    """One period of a key's harmonics, and its periods a sample."""
    pitch, order = 440.0 * 2.0 ** ((key - 69) / 12), np.arange(1, TABLE // 2)
    harmonics = np.where(order * pitch < 0.98 * spec.fmax, 1.0 / order, 0.0)
    return wavetables(harmonics[None])[0], pitch / spec.sample_rate


def oscillate(table: Array, turns: float, first: int, last: int) -> Array:
    """Samples first..last since a note's onset: a wavetable read at so many periods a sample."""
    since = np.arange(first, last, dtype=np.uint32)
    since *= np.uint32(round(turns * 2**32))  # phase as a 32-bit fraction of a period: it wraps by itself
    return table.take(since >> np.uint32(32 - TABLE_BITS))


def apply_release(part: Array, seconds: float, release: float, rate: int) -> None:
    """Fade a note's samples from the moment of its release on, `seconds` after the first of them, in place."""
    tail = max(round(seconds * rate), 0)
    if tail < len(part):
        age = np.arange(tail, len(part)) / rate - seconds
        part[tail:] *= np.exp(age.astype(np.float32) * np.float32(-1 / release))


def wavetables(harmonics: NDArray[Any]) -> Array:
    """One period of each key's wave: amplitudes (keys, harmonics) -> (keys, TABLE)."""
    return np.fft.irfft(np.pad(harmonics * (-0.5j * TABLE), ((0, 0), (1, 1))), n=TABLE).astype(np.float32)
