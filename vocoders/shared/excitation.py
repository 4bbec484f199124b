"""A harmonic comb: a part's notes played by band-limited oscillators, in a timbre learned from a mel.

It stands in for what a mel has lost, where the energy lies inside a band and with which phase, and is no synthesiser. It comes
to its timbre in two ways.

*Fitted* (`play`), it starts the search of Griffin-Lim (griffin_lim/): a small non-negative factorisation in which the score says
which keys may sound when (after Ewert and Müller, "Score-informed source separation", 2012): M ~ sum over keys of spectrum(key) x
loudness(key, frame).

*Equalised* (`equalised`), networks hear it: every key has the same bare harmonics, each frame's spectrum is scaled until its mel
is the given one, and two iterations of Griffin-Lim reconcile the frames. No frame knows of any but those near it, so any stretch
is that part of the whole. Where the score is silent and the mel is not, a noise that is else far too soft to be heard takes the
comb's place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from m2m.core.mel import MelSpec, linear_mel
from m2m.core.score import NoteArray
from m2m.vocoders.shared.stft import griffin_lim, invert, reach, shared, spread

Array = NDArray[np.float32]
TABLE_BITS = 12
TABLE = 1 << TABLE_BITS  # samples of a wavetable, one period; read without interpolation, for it only starts the search
RING = 5  # a released note is dropped after so many time constants (-43 dB)
RELEASE = 0.1  # seconds, the time constant of the equalised comb after a note's end
NOISE = 0.01  # beside it, of the mel's level
UPDATES = 4  # of its magnitudes; more come no nearer to the music
ITERATIONS = 2  # of Griffin-Lim
LONG_BEFORE = 1 << 40  # samples: where the noise begins, which must be before anything


def notes_within(notes: NoteArray, first: int, last: int, release: float, spec: MelSpec) -> NoteArray:
    """The notes that sound, or ring out, under the windows of frames first <= t < last."""
    half = 0.5 * spec.n_fft / spec.sample_rate  # seconds
    begin, end = first / spec.frame_rate - half, last / spec.frame_rate + half
    return notes[(notes["start"] < end) & (notes["end"] + RING * release > begin)]


def bare(notes: NoteArray, first: int, samples: int, release: float, spec: MelSpec) -> Array:
    """The notes as the same comb for every timbre, amplitude 1 / n for harmonic n: (samples,) from sample `first` of the piece.

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
        let_go(part, end - low / rate, release, rate)
        out[low - first : high - first] += part
    return out


def around(spec: MelSpec) -> int:
    """Frames of mel on either side of a stretch on which its equalised comb depends: those whose windows overlap with it, and
    those whose windows overlap with these, to and fro.
    """
    return (1 + 2 * ITERATIONS) * reach(spec)


def equalised(notes: NoteArray, values: Array, first: int, spec: MelSpec) -> Array:
    """The bare comb of the notes with the mel `values` (around + frames + around, n_mels), logarithmic: (frames * hop_length,).

    first: the frame of the piece that is `values[around]`; the samples begin there.
    """
    hop, beyond = spec.hop_length, around(spec)
    transform, start = shared(spec), (first - beyond) * hop - spec.n_fft // 2
    samples = transform.samples(len(values))
    sounding = notes_within(notes, first - beyond, first - beyond + len(values), RELEASE, spec)
    target = torch.from_numpy(np.maximum(linear_mel(values, spec) - np.float32(spec.floor), 0))
    spectrum = transform.forward(torch.from_numpy(bare(sounding, start, samples, RELEASE, spec)))
    noise = transform.forward(torch.from_numpy(_noise(start, samples)))
    spectrum = spectrum + noise.sgn() * (NOISE * spread(target, spec))
    magnitude = invert(target, spectrum.abs(), UPDATES, spec)
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
    """One period of a key's bare comb, and its periods a sample."""
    pitch, order = 440.0 * 2.0 ** ((key - 69) / 12), np.arange(1, TABLE // 2)
    harmonics = np.where(order * pitch < 0.98 * spec.fmax, 1.0 / order, 0.0)
    return wavetables(harmonics[None])[0], pitch / spec.sample_rate


def oscillate(table: Array, turns: float, first: int, last: int) -> Array:
    """Samples first..last since a note's onset: a wavetable read at so many periods a sample."""
    since = np.arange(first, last, dtype=np.uint32)
    since *= np.uint32(round(turns * 2**32))  # phase as a 32-bit fraction of a period: it wraps by itself
    return table.take(since >> np.uint32(32 - TABLE_BITS))


def let_go(part: Array, seconds: float, release: float, rate: int) -> None:
    """Fade a note's samples from the moment of its release on, `seconds` after the first of them, in place."""
    tail = max(round(seconds * rate), 0)
    if tail < len(part):
        age = np.arange(tail, len(part)) / rate - seconds
        part[tail:] *= np.exp(age.astype(np.float32) * np.float32(-1 / release))


def wavetables(harmonics: NDArray[Any]) -> Array:
    """One period of each key's wave: amplitudes (keys, harmonics) -> (keys, TABLE)."""
    return np.fft.irfft(np.pad(harmonics * (-0.5j * TABLE), ((0, 0), (1, 1))), n=TABLE).astype(np.float32)
