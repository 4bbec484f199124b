"""A harmonic comb: a part's notes played by band-limited oscillators, in a timbre learned from a mel.

It stands in for what a mel has lost, where the energy lies inside a band and with which phase, and is no synthesiser. It comes
to its timbre in two ways.

*Fitted* (`play`), it starts the search of vocoders/griffin_lim.py: a small non-negative factorisation in which the score says
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

from m2m.core.mel import MelSpec, filter_bank, linear_mel, magnitude_scale, window
from m2m.core.score import NoteArray
from m2m.vocoders.spectrum import TINY, griffin_lim, invert, reach, shared, spread

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


def play(notes: NoteArray, values: Array, first: int, spec: MelSpec, *, release: float, timbre_updates: int) -> Array:
    """Play the notes as one harmonic comb whose timbre is fitted to the linear mel `values` (frames, n_mels).

    Frame 0 of the block is frame `first` of the piece; release is the time constant after a note's end, in seconds. Returns
    the samples under the block's windows. A note's phase is counted from its onset, so two blocks that share a note play it
    in phase.
    """
    rate, hop, frames = spec.sample_rate, spec.hop_length, len(values)
    keys, which = np.unique(notes["pitch"], return_inverse=True)
    pitch = 440.0 * 2.0 ** ((keys - 69) / 12)  # Hz, equal temperament
    gate = _gate(notes, which, len(keys), frames, first, release, spec) ** spec.power  # (keys, frames)
    order = np.arange(1, TABLE // 2)
    harmonics = np.where(order * pitch[:, None] < 0.98 * spec.fmax, 1.0 / order, 0.0)  # (keys, harmonics) amplitudes
    spectra = _comb_mel(_wavetables(harmonics), pitch, spec)  # (keys, n_mels)
    timbre, loudness = fit_timbre(values, spectra, gate, timbre_updates)
    centres = _centres(spec)
    gains = (timbre / (spectra + TINY)) ** (1 / spec.power)
    for j, f in enumerate(pitch):
        harmonics[j] *= np.interp(order * f, centres, gains[j])
    tables = _wavetables(harmonics)
    swell = (loudness / np.where(gate > 0, gate, 1.0)) ** (1 / spec.power)  # (keys, frames): beyond the gate
    swell = np.pad(swell.astype(np.float32), ((0, 0), (0, 1)), mode="edge")

    lead = spec.n_fft // 2
    origin = first * hop  # the sample of the piece under the centre of frame 0
    total = (frames - 1) * hop + spec.n_fft
    out = np.zeros(total, np.float32)
    ramp = np.arange(hop, dtype=np.float32) / hop
    for (start, end, _, velocity), j in zip(notes.tolist(), which.tolist(), strict=True):
        onset = round(start * rate)
        low = max(onset - origin, 0)
        high = min(round((end + RING * release) * rate) - origin, frames * hop)
        if low >= high:
            continue
        part = _oscillate(tables[j], pitch[j] / rate, low + origin - onset, high + origin - onset)
        a, b = low // hop, -(-high // hop)
        level = swell[j, a:b, None] + np.diff(swell[j, a : b + 1])[:, None] * ramp
        part *= level.reshape(-1)[low - a * hop : high - a * hop]
        part *= velocity / 127
        _let_go(part, end - (low + origin) / rate, release, rate)
        out[lead + low : lead + high] += part
    return out


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
        part = _oscillate(table, turns, low - onset, high - onset) * np.float32(velocity / 127)
        _let_go(part, end - low / rate, release, rate)
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
    return _wavetables(harmonics[None])[0], pitch / spec.sample_rate


def _oscillate(table: Array, turns: float, first: int, last: int) -> Array:
    """Samples first..last since a note's onset: a wavetable read at so many periods a sample."""
    since = np.arange(first, last, dtype=np.uint32)
    since *= np.uint32(round(turns * 2**32))  # phase as a 32-bit fraction of a period: it wraps by itself
    return table.take(since >> np.uint32(32 - TABLE_BITS))


def _let_go(part: Array, seconds: float, release: float, rate: int) -> None:
    """Fade a note's samples from the moment of its release on, `seconds` after the first of them, in place."""
    tail = max(round(seconds * rate), 0)
    if tail < len(part):
        age = np.arange(tail, len(part)) / rate - seconds
        part[tail:] *= np.exp(age.astype(np.float32) * np.float32(-1 / release))


def fit_timbre(
    values: Array, spectra: NDArray[Any], gate: NDArray[Any], updates: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Factorise a linear mel, (frames, n_mels), into non-negative spectra (keys, n_mels) and loudness (keys, frames).

    Kullback-Leibler updates from the given start; loudness stays zero where `gate` is: here the score comes in.
    """
    mel = torch.from_numpy(np.maximum(values, 0.0).T)  # (n_mels, frames); in torch, as NumPy's BLAS adds threads
    b = torch.from_numpy(spectra.T.astype(np.float32))  # (n_mels, keys)
    r = torch.from_numpy(gate.astype(np.float32))  # (keys, frames)
    rest = 1e-3 * float(mel.mean()) + 1e-7  # what no note explains
    for _ in range(updates):
        r = r * (b.T @ (mel / (b @ r + rest))) / (b.sum(0)[:, None] + TINY)
        b = b * ((mel / (b @ r + rest)) @ r.T) / (r.sum(1) + TINY)
    return b.T.numpy(), r.numpy()


def _gate(
    notes: NoteArray, which: NDArray[Any], keys: int, frames: int, first: int, release: float, spec: MelSpec
) -> NDArray[Any]:
    """How loud the score lets each key be, as a window sees it: (keys, frames), 0..1."""
    time = (np.arange(frames) + first) / spec.frame_rate  # seconds
    gate = np.zeros((keys, frames))
    smear = spec.n_fft / spec.sample_rate
    for (start, end, _, velocity), j in zip(notes.tolist(), which.tolist(), strict=True):
        a, b = np.searchsorted(time, (start - smear / 2, end + RING * release))
        t = time[a:b]
        rise = np.clip((t - start) / smear + 0.5, 0.0, 1.0)
        gate[j, a:b] += velocity / 127 * rise * rise * (3 - 2 * rise) * np.exp(np.minimum(end - t, 0.0) / release)
    return gate


def _wavetables(harmonics: NDArray[Any]) -> Array:
    """One period of each key's wave: amplitudes (keys, harmonics) -> (keys, TABLE)."""
    return np.fft.irfft(np.pad(harmonics * (-0.5j * TABLE), ((0, 0), (1, 1))), n=TABLE).astype(np.float32)


def _comb_mel(tables: Array, pitch: NDArray[Any], spec: MelSpec) -> NDArray[Any]:
    """The mel of each key's steady tone: (keys, n_mels)."""
    at = (np.arange(spec.n_fft) * (pitch[:, None] * TABLE / spec.sample_rate) % TABLE).astype(np.int64)
    tones = torch.from_numpy(np.take_along_axis(tables, at, axis=1)) * window(spec)
    magnitude = torch.fft.rfft(tones).abs() * magnitude_scale(spec)
    mel: NDArray[Any] = (magnitude**spec.power @ filter_bank(spec).T).numpy()
    return mel


def _centres(spec: MelSpec) -> NDArray[Any]:
    """The centre of gravity of each filter, Hz: (n_mels,)."""
    filters = filter_bank(spec).double().numpy()
    bins = np.linspace(0.0, spec.sample_rate / 2, filters.shape[1])
    return (filters @ bins) / np.maximum(filters.sum(1), TINY)
