"""The harmonic excitation that starts Griffin-Lim: a part's notes, played in a timbre that is fitted to the mel.

The fit is a small non-negative factorisation in which the score says which keys may sound when (after Ewert and Müller,
"Score-informed source separation", 2012):

    mel ~ sum over keys of spectrum(key) x loudness(key, frame)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from m2m.core.mel import MelSpec, filter_bank, magnitude_scale, window
from m2m.core.score import NoteArray
from m2m.vocoders.shared.excitation import RING, TABLE, Array, apply_release, oscillate, wavetables
from m2m.vocoders.shared.stft import TINY


def fitted_excitation(
    notes: NoteArray, values: Array, first: int, spec: MelSpec, *, release: float, timbre_updates: int
) -> Array:
    """Play the notes in a timbre that is fitted to the mel of a block.

    A note's phase is 0 at its onset, so two blocks that share a note play it in phase.

    notes: in seconds from frame 0 of the piece.
    values: (frames, n_mels) float32 linear mel, the floor subtracted.
    first: the frame of the piece that is `values[0]`.
    release: seconds, the time constant after a note's end.
    timbre_updates: of `fit_timbre`.

    Returns (samples,) float32 audio: all samples under the block's windows, the first one n_fft / 2 before frame `first`.
    """
    rate, hop, frames = spec.sample_rate, spec.hop_length, len(values)
    keys, which = np.unique(notes["pitch"], return_inverse=True)
    pitch = 440.0 * 2.0 ** ((keys - 69) / 12)  # Hz, equal temperament
    gate = _gate(notes, which, len(keys), frames, first, release, spec) ** spec.power  # (keys, frames)
    order = np.arange(1, TABLE // 2)
    harmonics = np.where(order * pitch[:, None] < 0.98 * spec.fmax, 1.0 / order, 0.0)  # (keys, harmonics) amplitudes
    spectra = _tone_mel(wavetables(harmonics), pitch, spec)  # (keys, n_mels)
    timbre, loudness = fit_timbre(values, spectra, gate, timbre_updates)
    centres = _centres(spec)
    gains = (timbre / (spectra + TINY)) ** (1 / spec.power)
    for j, f in enumerate(pitch):
        harmonics[j] *= np.interp(order * f, centres, gains[j])
    tables = wavetables(harmonics)
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
        part = oscillate(tables[j], pitch[j] / rate, low + origin - onset, high + origin - onset)
        a, b = low // hop, -(-high // hop)
        level = swell[j, a:b, None] + np.diff(swell[j, a : b + 1])[:, None] * ramp
        part *= level.reshape(-1)[low - a * hop : high - a * hop]
        part *= velocity / 127
        apply_release(part, end - (low + origin) / rate, release, rate)
        out[lead + low : lead + high] += part
    return out


def fit_timbre(
    values: Array, spectra: NDArray[Any], gate: NDArray[Any], updates: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Factorise a mel into the keys' spectra and their loudness over time, by multiplicative Kullback-Leibler updates.

    The score comes in by `gate`: loudness stays zero where the gate is zero.

    values: (frames, n_mels) float32 linear mel.
    spectra: (keys, n_mels) float, non-negative, the first spectra.
    gate: (keys, frames) float, non-negative, the first loudness.
    updates: how many.

    Returns spectra (keys, n_mels) and loudness (keys, frames), float32, non-negative.
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


def _tone_mel(tables: Array, pitch: NDArray[Any], spec: MelSpec) -> NDArray[Any]:
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
