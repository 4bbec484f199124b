"""All measures in one table: what each is called, its unit, which way is better, and how it is computed.

To add a measure, add an entry to `MEASURES`. Columns of the results, report, comparison and docs/bench.md follow, and a bench
computes anew the cells that lack it. The table is read without torch, as a bench is that finds nothing to compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from m2m.core.mel_measures import log_mel_error, paper_tanh_log_abs, pearson
from m2m.evaluation.measures import against_score, frechet, waves
from m2m.evaluation.measures.constant_q import constant_q
from m2m.evaluation.measures.waves import Alignment, Wave

if TYPE_CHECKING:
    from m2m.core.mel import MelSpec
    from m2m.core.score import NoteArray


@dataclass(frozen=True, eq=False)
class Reference:
    """An original recording with what is computed of it once for all that is compared with it.

    wave: (samples,) float32 at `spec.sample_rate`. notes: the score, in seconds from the first sample.
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
        """The true log-mel: (frames, n_mels) float32, natural-log magnitudes."""
        from m2m.core.mel import log_mel

        return log_mel(self.wave, self.spec)

    @cached_property
    def constant_q(self) -> NDArray[np.float32]:
        """Constant-Q magnitudes: (frames, 84) float32."""
        return constant_q(self.wave, self.rate)

    @cached_property
    def loudness(self) -> float:
        """LUFS."""
        return waves.loudness(self.wave, self.rate)


@dataclass(frozen=True, eq=False)
class PredictedMel:
    """A predicted log-mel beside the true one. mel: (frames, n_mels) float32, as the reference's."""

    reference: Reference
    mel: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RenderedAudio:
    """A rendering beside the original and its score, with what several measures need of it.

    wave: (samples,) float32 as it came: loudness, clicks and the score are measured on it. All other comparisons are made after
    `waves.align`. transcribe: (wave, rate) -> the notes in it, if there is a transcriber.
    """

    reference: Reference
    wave: Wave
    transcribe: Callable[[Wave, int], NoteArray] | None = None

    @cached_property
    def heard(self) -> NoteArray | None:
        """The notes that the transcriber hears in the wave as it came."""
        return None if self.transcribe is None else self.transcribe(self.wave, self.reference.rate)

    @cached_property
    def aligned(self) -> Alignment:
        """The wave moved and scaled to lie on the original."""
        return waves.align(self.reference.wave, self.wave, self.reference.rate)

    @cached_property
    def mel(self) -> NDArray[np.float32]:
        """Log-mel of the aligned wave: (frames, n_mels) float32."""
        from m2m.core.mel import log_mel

        return log_mel(self.aligned.wave, self.reference.spec)

    @cached_property
    def constant_q(self) -> NDArray[np.float32]:
        """Constant-Q magnitudes of the aligned wave: (frames, 84) float32."""
        return constant_q(self.aligned.wave, self.reference.rate)

    @cached_property
    def semitones(self) -> NDArray[np.float64]:
        """Correlation with the original of each semitone's magnitudes over time: (84,); NaN where the original is silent."""
        return pearson(self.reference.constant_q, self.constant_q)

    @cached_property
    def stft_error(self) -> tuple[float, float]:
        """Spectral convergence and log-magnitude error."""
        return waves.multi_resolution_stft_error(self.reference.wave, self.aligned.wave)

    @cached_property
    def onsets(self) -> tuple[float, float]:
        """F1 and median error, ms, of the wave as it came: what is late is late."""
        return against_score.onset_timing(self.wave, self.reference.rate, self.reference.notes)


@dataclass(frozen=True)
class Measure:
    """One column of the results.

    better: which way; "zero" is a signed difference whose size counts. least: a change smaller than this is none, whatever the
    statistics say. digits: after the point. of: its value of `RenderedAudio`; where `on` is "mel" of a `PredictedMel` as well;
    where it is "set" of two sets of recordings' features (evaluation/measures/frechet.py), the originals' first.
    shown: in the summary. transcribed: it is of a transcriber's notes, and has no value without one.
    """

    title: str
    unit: str
    better: Literal["higher", "lower", "zero"]
    least: float
    digits: int
    about: str
    of: Callable[..., float]
    on: Literal["mel", "audio", "set"] = "audio"
    shown: bool = False
    transcribed: bool = False

    def described(self) -> dict[str, Any]:
        """All but its computation, for results.json."""
        names = ("title", "unit", "better", "least", "digits", "about")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in names}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _dropped(x: RenderedAudio) -> float:
    return waves.dropped(x.reference.wave, x.aligned.wave, x.reference.rate)


def _centroid_error(x: RenderedAudio) -> float:
    return waves.centroid_error(x.reference.wave, x.aligned.wave, x.reference.rate)


def _notes_heard(x: RenderedAudio) -> float:
    return against_score.notes_heard(x.constant_q, x.reference.rate, x.reference.notes)


def _note_f1(x: RenderedAudio, **kinds: bool) -> float:
    return math.nan if x.heard is None else against_score.note_f1(x.reference.notes, x.heard, **kinds)


MEASURES: dict[str, Measure] = {
    "constant_q": Measure(
        *("CQ correlation", "", "higher", 1e-3, 3),
        "the paper's: Pearson's correlation over time of librosa's constant-Q magnitudes, mean of 84 semitones from C1",
        lambda x: _mean(x.semitones),
        shown=True,
    ),
    "log_mel": Measure(
        *("log-mel error", "nepers", "lower", 2e-3, 3),
        "mean absolute error of natural-log mels",
        lambda x: log_mel_error(x.mel, x.reference.mel),
        on="mel",
        shown=True,
    ),
    "tanh_log": Measure(
        *("tanh-log MSE", "x 1000", "lower", 5e-3, 3),
        "the paper's loss between the mels as it is printed, times 1000",
        lambda x: 1000 * paper_tanh_log_abs(x.mel, x.reference.mel),
        on="mel",
    ),
    "mel_correlation": Measure(
        *("mel correlation", "", "higher", 1e-3, 3),
        "Pearson's over time, mean of the mel bands",
        lambda x: _mean(pearson(x.reference.mel, x.mel)),
        on="mel",
    ),
    "stft_convergence": Measure(
        *("STFT convergence", "", "lower", 2e-3, 3),
        "multi-resolution spectral convergence, |X - Y| / |X|, of Parallel WaveGAN's three windows",
        lambda x: x.stft_error[0],
        shown=True,
    ),
    "stft_log": Measure(
        *("STFT log error", "nepers", "lower", 2e-3, 3),
        "multi-resolution log-magnitude error, of the same windows",
        lambda x: x.stft_error[1],
    ),
    "frechet": Measure(
        *("Fréchet distance", "", "lower", 0.05, 2),
        "of sets of recordings: mel cepstra (means and deviations of coefficients 1 to 13) over half-second windows",
        frechet.frechet_distance,
        on="set",
        shown=True,
    ),
    "onset_f1": Measure(
        *("onset F1", "", "higher", 2e-3, 3),
        "librosa's onsets in the audio against the score's, within 50 ms (mir_eval)",
        lambda x: x.onsets[0],
        shown=True,
    ),
    "onset_error": Measure(
        *("onset error", "ms", "lower", 0.3, 1), "median of the matched onsets", lambda x: x.onsets[1]
    ),
    "notes_heard": Measure(
        *("notes heard", "", "higher", 2e-3, 3),
        "share of the score's notes whose partials stand above their neighbours in the constant-Q",
        _notes_heard,
        shown=True,
    ),
    "note_f1": Measure(
        *("note F1", "", "higher", 2e-3, 3),
        "notes of the bench's transcriber against the score's, by onset (mir_eval)",
        _note_f1,
        shown=True,
        transcribed=True,
    ),
    "note_offset_f1": Measure(
        *("note F1 with offsets", "", "higher", 2e-3, 3),
        "likewise, by onset and offset: within 20 % of the note's length, at least 50 ms",
        lambda x: _note_f1(x, offsets=True),
        shown=True,
        transcribed=True,
    ),
    "note_velocity_f1": Measure(
        *("note F1 with velocities", "", "higher", 2e-3, 3),
        "likewise, by onset, offset and velocity: within 0.1 after mir_eval's regression",
        lambda x: _note_f1(x, velocities=True),
        shown=True,
        transcribed=True,
    ),
    "loudness": Measure(
        *("loudness", "LU", "zero", 0.05, 2),
        "louder than the original by so much (BS.1770, pyloudnorm), before levels are matched",
        lambda x: waves.loudness(x.wave, x.reference.rate) - x.reference.loudness,
        shown=True,
    ),
    "centroid": Measure(
        *("centroid error", "Hz", "lower", 2.0, 0),
        "mean absolute difference of librosa's spectral centroids",
        _centroid_error,
    ),
    "clicks": Measure(
        *("clicks", "per s", "lower", 0.02, 2),
        "jumps of the second difference",
        lambda x: waves.clicks(x.wave, x.reference.rate),
    ),
    "clipped": Measure(
        *("clipped", "", "lower", 1e-4, 4), "share of samples at full scale", lambda x: waves.clipped(x.wave)
    ),
    "dropped": Measure(
        *("dropped", "", "lower", 1e-3, 3), "share of the original's sounding frames that are silent", _dropped
    ),
    "lag": Measure(
        *("lag", "ms", "zero", 0.5, 2),
        "delay found by cross-correlation, undone before comparing",
        lambda x: 1000 * x.aligned.lag,
        shown=True,
    ),
    "level": Measure(
        *("level", "dB", "zero", 0.05, 2),
        "gain over the original in RMS, undone before comparing",
        lambda x: x.aligned.level,
    ),
}


OF_MEL = tuple(name for name, measure in MEASURES.items() if measure.on == "mel")
OF_SET = tuple(name for name, measure in MEASURES.items() if measure.on == "set")
OF_AUDIO = tuple(name for name in MEASURES if name not in OF_SET)  # of a rendering


def measure_mel(reference: Reference, mel: NDArray[np.float32]) -> dict[str, float]:
    """A predicted log-mel against the true one: name -> value; what is no number is left out.

    mel: (frames, n_mels) float32, natural-log magnitudes, of the reference's recipe.
    """
    return _measured(PredictedMel(reference, mel), OF_MEL)


def measure_audio(
    reference: Reference, wave: Wave, transcribe: Callable[[Wave, int], NoteArray] | None = None
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """A rendering against the original and its score.

    wave: (samples,) float32, -1..1, at the reference's sample rate. transcribe: (wave, rate) -> the notes in it.
    Returned are the measures, name -> value without those that are no number, and each semitone's correlation: (84,) float64.
    """
    rendering = RenderedAudio(reference, wave, transcribe)
    return _measured(rendering, OF_AUDIO), rendering.semitones


def _measured(x: PredictedMel | RenderedAudio, names: tuple[str, ...]) -> dict[str, float]:
    found = {name: float(MEASURES[name].of(x)) for name in names}
    return {name: value for name, value in found.items() if math.isfinite(value)}
