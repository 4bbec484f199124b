"""Excitation: a part's notes as band-limited oscillators play them, and a drum kit's strikes as bursts of noise.

A mel does not say where inside a band the energy lies, nor with which phase. The score says both for the partials of its notes.
So the notes are played by oscillators first, every key with the same harmonics, and a vocoder turns that into sound.
Source-filter vocoders do so from f0: the neural source-filter models (Wang, Takaki and Yamagishi, arXiv 1810.11946 and
1904.12088), DDSP (Engel et al., arXiv 2001.04643), and Wavehax (Yoneyama et al., arXiv 2411.06807), whose harmonic prior is a
spectrogram, as here.

Drums have no harmonics: a strike (`Mel.percussive`) is a burst of noise that begins at its sample, which is what its mel does not
say.

There are two excitations. Both are built from what is here.

- `mel_matched_excitation` is what networks read. Every frame's spectrum is scaled until its mel is the given one, and two
  iterations of Griffin-Lim make the frames consistent. Where the score is silent and the mel is not, noise fills in; elsewhere it
  is far below the harmonics. A sample depends on the frames near it only, so any segment equals that part of the whole.
- `fitted_excitation` (griffin_lim/fitted_excitation.py) starts Griffin-Lim. Its timbre is fitted to the mel, key by key.
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
TABLE = (
    1 << TABLE_BITS
)  # samples of a wavetable, one period; read without interpolation, which is fine enough for a start
RING = 5  # a released note is dropped after so many time constants (-43 dB)
RELEASE = 0.1  # seconds, the time constant of the mel-matched excitation after a note's end
NOISE = 0.01  # of the mel's magnitude
BURST = 0.06  # seconds, the time constant of a strike's noise; the mel says how long the drum sounds
UPDATES = 4  # of the magnitudes; more come no nearer to the music
ITERATIONS = 2  # of Griffin-Lim
NOISE_START = 1 << 40  # samples before a piece at which the noise begins: earlier than any segment does


def notes_within(notes: NoteArray, first: int, last: int, release: float, spec: MelSpec) -> NoteArray:
    """The notes that sound, or ring out, under the windows of frames first..last.

    notes: in seconds from frame 0 of the piece.
    release: seconds, the time constant after a note's end.

    Returns those notes, in the same order.
    """
    half = 0.5 * spec.n_fft / spec.sample_rate  # seconds
    begin, end = first / spec.frame_rate - half, last / spec.frame_rate + half
    return notes[(notes["start"] < end) & (notes["end"] + RING * release > begin)]


def harmonic_excitation(notes: NoteArray, first: int, samples: int, release: float, spec: MelSpec) -> Array:
    """The notes with harmonics of amplitude 1 / n, whatever their timbre, before they are matched to a mel.

    notes: in seconds from sample 0 of the piece.
    first, samples: the segment, in samples of the piece; `first` may be negative. Any segment equals that part of the whole.
    release: seconds, the time constant after a note's end.

    Returns (samples,) float32; a note's amplitude is its velocity / 127.
    """
    rate, out = spec.sample_rate, np.zeros(samples, np.float32)
    for start, end, key, velocity in notes.tolist():
        onset = round(start * rate)
        low, high = max(onset, first, 0), min(round((end + RING * release) * rate), first + samples)
        if low >= high:
            continue
        table, turns = _harmonic_table(key, spec)
        part = oscillate(table, turns, low - onset, high - onset) * np.float32(velocity / 127)
        apply_release(part, end - low / rate, release, rate)
        out[low - first : high - first] += part
    return out


def excitation_margin(spec: MelSpec) -> int:
    """Frames of mel on either side of a segment on which its mel-matched excitation depends.

    A sample depends on the frames whose windows overlap with it, and each iteration of Griffin-Lim, an STFT and its inverse, adds
    the overlapping windows twice.
    """
    return (1 + 2 * ITERATIONS) * window_reach(spec)


def percussive_excitation(strikes: NoteArray, first: int, samples: int, spec: MelSpec) -> Array:
    """Bursts of noise, one a strike, before they are matched to a mel.

    strikes: in seconds from sample 0 of the piece; those of a kit, and any segment of it, are bursts of one noise.
    first, samples: the segment, as of `harmonic_excitation`.

    Returns (samples,) float32; a burst's amplitude is up to half of its velocity / 127.
    """
    rate, level = spec.sample_rate, np.zeros(samples, np.float32)
    fall = np.exp(-np.arange(round(RING * BURST * rate)) / (BURST * rate)).astype(np.float32)
    for start, _, _, velocity in strikes.tolist():
        onset = round(start * rate)
        low, high = max(onset, first), min(onset + len(fall), first + samples)
        if low < high:
            level[low - first : high - first] += fall[low - onset : high - onset] * np.float32(velocity / 127)
    return level * _noise(first, samples)


def mel_matched_excitation(
    notes: NoteArray,
    values: Array,
    first: int,
    spec: MelSpec,
    *,
    percussive: NoteArray | None = None,
) -> Array:
    """The excitation of the notes, or of a kit's strikes, scaled to have a given mel.

    notes, percussive: in seconds from frame 0 of the piece.
    values: (margin + frames + margin, n_mels) float32 log-mel, with `excitation_margin`.
    first:  the frame of the piece that is `values[margin]`; the samples begin there.

    Returns (frames * hop_length,) float32 audio, full scale is 1.
    """
    hop, margin = spec.hop_length, excitation_margin(spec)
    stft, start = shared_stft(spec), (first - margin) * hop - spec.n_fft // 2
    samples = stft.samples(len(values))
    reach = first - margin, first - margin + len(values)  # frames
    sounding = notes_within(notes, *reach, RELEASE, spec)
    target = torch.from_numpy(np.maximum(linear_mel(values, spec) - np.float32(spec.floor), 0))
    excitation = harmonic_excitation(sounding, start, samples, RELEASE, spec)
    if percussive is not None:
        excitation += percussive_excitation(notes_within(percussive, *reach, BURST, spec), start, samples, spec)
    spectrum = stft.forward(torch.from_numpy(excitation))
    noise = stft.forward(torch.from_numpy(_noise(start, samples)))
    spectrum = spectrum + noise.sgn() * (NOISE * bands_to_bins(target, spec))
    magnitude = mel_to_magnitude(target, spectrum.abs(), UPDATES, spec)
    wave = griffin_lim(target, magnitude, spectrum, ITERATIONS, stft)
    begin = spec.n_fft // 2 + margin * hop
    return wave[begin : begin + (len(values) - 2 * margin) * hop].numpy()


def _noise(first: int, count: int) -> Array:
    """White noise, a function of the sample's place in the piece alone: (count,) float32 in -0.5..0.5."""
    skipped, left = divmod(first + NOISE_START, 4)  # Philox makes four numbers at once
    draw = np.random.Generator(np.random.Philox(key=0).advance(skipped))
    return draw.random(left + count)[left:].astype(np.float32) - np.float32(0.5)


@lru_cache(maxsize=256)
def _harmonic_table(key: int, spec: MelSpec) -> tuple[Array, float]:
    """One period of a key's harmonics, (TABLE,), and its periods a sample."""
    pitch, order = 440.0 * 2.0 ** ((key - 69) / 12), np.arange(1, TABLE // 2)
    harmonics = np.where(order * pitch < 0.98 * spec.fmax, 1.0 / order, 0.0)
    return wavetables(harmonics[None])[0], pitch / spec.sample_rate


def oscillate(table: Array, turns: float, first: int, last: int) -> Array:
    """A wavetable oscillator.

    table: (TABLE,) float32, one period.
    turns: periods a sample.
    first, last: samples since the note's onset, which has phase 0.

    Returns (last - first,) float32.
    """
    since = np.arange(first, last, dtype=np.uint32)
    since *= np.uint32(round(turns * 2**32))  # phase as a 32-bit fraction of a period: it wraps by itself
    return table.take(since >> np.uint32(32 - TABLE_BITS))


def apply_release(part: Array, seconds: float, release: float, rate: int) -> None:
    """Let a note decay exponentially after its release, in place.

    part: (samples,) float32.
    seconds: from the first of these samples to the release.
    release: seconds, the time constant.
    rate: samples a second.
    """
    tail = max(round(seconds * rate), 0)
    if tail < len(part):
        age = np.arange(tail, len(part)) / rate - seconds
        part[tail:] *= np.exp(age.astype(np.float32) * np.float32(-1 / release))


def wavetables(harmonics: NDArray[Any]) -> Array:
    """One period of each key's wave, all harmonics in sine phase.

    harmonics: (keys, TABLE // 2 - 1) float, amplitudes of harmonics 1, 2, ...

    Returns (keys, TABLE) float32.
    """
    return np.fft.irfft(np.pad(harmonics * (-0.5j * TABLE), ((0, 0), (1, 1))), n=TABLE).astype(np.float32)
