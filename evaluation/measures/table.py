"""All measures of a rendering in one table: what they are called, their unit, which way is better, and their computation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from m2m.core.mel import MelSpec, log_mel
from m2m.core.mel_measures import log_mel_error, paper_tanh_log_abs, pearson
from m2m.core.score import NoteArray
from m2m.evaluation.measures import against_score, waves
from m2m.evaluation.measures.waves import Wave


@dataclass(frozen=True)
class Measure:
    """One column of the results.

    better: which way; "zero" is a signed difference whose size counts. least: a change smaller than this is none, whatever
    the statistics say. digits: after the point.
    """

    title: str
    unit: str
    better: Literal["higher", "lower", "zero"]
    least: float
    digits: int
    about: str


MEASURES: dict[str, Measure] = {
    "constant_q": Measure(
        "CQ correlation", "", "higher", 1e-3, 3, "the paper's: constant-Q magnitudes over time, mean of 84 semitones"
    ),
    "log_mel": Measure("log-mel error", "nepers", "lower", 2e-3, 3, "mean absolute error of natural-log mels"),
    "tanh_log": Measure("tanh-log MSE", "x 1000", "lower", 5e-3, 3, "the paper's loss between the mels, times 1000"),
    "mel_correlation": Measure("mel correlation", "", "higher", 1e-3, 3, "Pearson's over time, mean of the mel bands"),
    "stft_convergence": Measure(
        "STFT convergence", "", "lower", 2e-3, 3, "multi-resolution spectral convergence, |X - Y| / |X|"
    ),
    "stft_log": Measure("STFT log error", "nepers", "lower", 2e-3, 3, "multi-resolution log-magnitude error"),
    "loudness": Measure(
        "loudness", "LU", "zero", 0.05, 2, "louder than the original by so much (BS.1770), not matched"
    ),
    "centroid": Measure("centroid error", "Hz", "lower", 2.0, 0, "mean absolute difference of spectral centroids"),
    "onset_f1": Measure(
        "onset F1", "", "higher", 2e-3, 3, "onsets found in the audio against the score's, within 50 ms"
    ),
    "onset_error": Measure("onset error", "ms", "lower", 0.3, 1, "median of the matched onsets"),
    "notes_heard": Measure(
        "notes heard", "", "higher", 2e-3, 3, "share of the score's notes that stand in the constant-Q"
    ),
    "note_f1": Measure("note F1", "", "higher", 2e-3, 3, "notes of a registered transcriber against the score's"),
    "clicks": Measure("clicks", "per s", "lower", 0.02, 2, "jumps of the second difference"),
    "clipped": Measure("clipped", "", "lower", 1e-4, 4, "share of samples at full scale"),
    "dropped": Measure("dropped", "", "lower", 1e-3, 3, "share of the original's sounding frames that are silent"),
    "lag": Measure("lag", "ms", "zero", 0.5, 2, "delay found by cross-correlation, undone before comparing"),
    "level": Measure("level", "dB", "zero", 0.05, 2, "gain over the original in RMS, undone before comparing"),
}
SET_MEASURES: dict[str, Measure] = {  # of a system's whole set of recordings, not of one
    "frechet": Measure(
        "Fréchet distance", "", "lower", 0.05, 2, "of mel cepstra over half-second windows, to the originals"
    )
}


@dataclass(frozen=True, eq=False)
class Reference:
    """An original recording with what is computed of it once for all that is compared with it.

    wave: (samples,) at `spec.sample_rate`. notes: the score, in seconds from the first sample.
    """

    wave: Wave
    notes: NoteArray
    spec: MelSpec

    @property
    def rate(self) -> int:
        """Hz."""
        return self.spec.sample_rate

    @cached_property
    def mel(self) -> NDArray[np.float32]:
        """The true log-mel: (frames, n_mels)."""
        return log_mel(self.wave, self.spec)

    @cached_property
    def constant_q(self) -> NDArray[np.float32]:
        """Constant-Q magnitudes: (frames, 84)."""
        return waves.constant_q(self.wave, self.rate)

    @cached_property
    def loudness(self) -> float:
        """LUFS."""
        return waves.loudness(self.wave, self.rate)


def measure_mel(reference: Reference, mel: NDArray[np.float32]) -> dict[str, float]:
    """A predicted log-mel against the true one."""
    return _named(
        log_mel=log_mel_error(mel, reference.mel),
        tanh_log=1000 * paper_tanh_log_abs(mel, reference.mel),
        mel_correlation=_mean(pearson(reference.mel, mel)),
    )


def measure_audio(
    reference: Reference, wave: Wave, transcribe: Callable[[Wave, int], NoteArray] | None = None
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """A rendering against the original and its score: the measures, and the correlation of each semitone (84,).

    Comparisons of the two are made after `waves.align`; loudness, clicks and clipping are of the wave as it came.
    transcribe: (wave, rate) -> the notes in it, if there is a transcriber.
    """
    original, rate = reference.wave, reference.rate
    aligned = waves.align(original, wave, rate)
    convergence, logarithm = waves.multi_resolution_stft_error(original, aligned.wave)
    magnitudes = waves.constant_q(aligned.wave, rate)
    semitones = pearson(reference.constant_q, magnitudes)
    mel = log_mel(aligned.wave, reference.spec)
    # Against the score, the wave as it came: what is late is late.
    onset_f1, onset_error = against_score.onset_timing(wave, rate, reference.notes)
    figures = measure_mel(reference, mel) | _named(
        constant_q=_mean(semitones),
        stft_convergence=convergence,
        stft_log=logarithm,
        loudness=waves.loudness(wave, rate) - reference.loudness,
        centroid=waves.centroid_error(original, aligned.wave, rate),
        onset_f1=onset_f1,
        onset_error=onset_error,
        notes_heard=against_score.notes_heard(magnitudes, rate, reference.notes),
        clicks=waves.clicks(wave, rate),
        clipped=waves.clipped(wave),
        dropped=waves.dropped(original, aligned.wave, rate),
        lag=1000 * aligned.lag,
        level=aligned.level,
    )
    if transcribe is not None:
        figures |= _named(note_f1=against_score.note_f1(reference.notes, transcribe(wave, rate)))
    return figures, semitones


def _named(**figures: float) -> dict[str, float]:
    """Only what is a number: a measure that has nothing to measure is left out."""
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan
