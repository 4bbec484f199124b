"""Measures of audio against the score it was made from: are the notes in it, on time and at their pitch?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from m2m.evaluation.measures.onsets import find_onsets
from m2m.evaluation.measures.waves import Wave, need

if TYPE_CHECKING:
    from m2m.core.score import NoteArray

WINDOW = 0.05  # seconds: an onset within this of the score's is the same, as MIREX counts
CHORD = 0.03  # seconds: notes struck within this are one onset
PARTIALS = np.array([0, 12, 19, 24])  # semitones of the first four partials above the fundamental
PROMINENT = 10 ** (3 / 20)  # a partial is prominent 3 dB above its surroundings
LOWEST_BIN = 24  # the MIDI key of the constant-Q's first bin, C1


def onset_times(notes: NoteArray) -> NDArray[np.float64]:
    """Seconds at which something is struck, a chord counting once: (onsets,) float64.

    >>> from m2m.core.score import note_array
    >>> onset_times(note_array([(0.0, 1, 60, 80), (0.01, 1, 64, 80), (0.5, 1, 67, 80)])).tolist()
    [0.0, 0.5]
    """
    kept: list[float] = []
    for start in np.sort(notes["start"]).tolist():
        if not kept or start - kept[-1] > CHORD:
            kept.append(start)
    return np.array(kept)


def onset_timing(wave: Wave, rate: int, notes: NoteArray) -> tuple[float, float]:
    """Onsets found in the audio (librosa's detector) against the score's: F1 within 50 ms (mir_eval), and the median error.

    wave: (samples,) float32, -1..1, at `rate` Hz. notes: the score, seconds from the wave's first sample.
    Returned are F1, 0..1, NaN where the score has no onset, and the error of the onsets that match, ms, NaN where none does.
    The detector misses soft onsets of the original too: compare with the original's own figure. Raises M2MError without mir_eval.
    """
    mir_eval = need("mir_eval", "onset timing")
    wanted = onset_times(notes[notes["start"] < len(wave) / rate - WINDOW])
    if not len(wanted):
        return float("nan"), float("nan")
    # Silence has no onsets to the detector only if it is asked not to normalise noise up to them.
    found = find_onsets(wave, rate) if np.abs(wave).max() > 1e-4 else np.zeros(0)
    if not len(found):
        return 0.0, float("nan")
    score = float(mir_eval.onset.f_measure(wanted, found, window=WINDOW)[0])
    matched = mir_eval.util.match_events(wanted, found, WINDOW)
    if not matched:
        return score, float("nan")
    return score, float(1000 * np.median([abs(wanted[i] - found[j]) for i, j in matched]))


def notes_heard(magnitudes: NDArray[np.float32], rate: int, notes: NoteArray) -> float:
    """The share of the score's notes that are prominent in a wave's constant-Q, 0..1; NaN where the score has none.

    magnitudes: (frames, 84) float32, `waves.constant_q` of a wave at `rate` Hz. notes: the score, seconds from its first sample.

    A partial is prominent if, over the note's first half second, its bin is 3 dB above the mean of the bins two semitones to
    both sides, beyond the main lobe. A note is if its fundamental or its octave is, and at least half of its first four
    partials are: instruments lack some, and those above the top bin do not count. The definition is m2m's own. Dense chords
    mask notes of the original too: compare with the original's own figure.
    """
    seconds, bins = 256 / rate, magnitudes.shape[1]
    found = []
    for start, end, key, _ in notes.tolist():
        first = int(np.ceil(start / seconds)) + 1  # after the frame whose window still covers what was before
        last = min(max(first + 1, int(min(end, start + 0.5) / seconds)), len(magnitudes))
        at = key - LOWEST_BIN + PARTIALS
        at = at[(at >= 2) & (at < bins - 2)]
        if first >= last or not len(at):
            continue
        mean = magnitudes[first:last].mean(axis=0)
        prominent = mean[at] > PROMINENT * (mean[at - 2] + mean[at + 2]) / 2 + 1e-7
        prominent &= mean[at] > np.maximum(mean[at - 1], mean[at + 1])
        found.append(bool(prominent[:2].any() and prominent.mean() >= 0.5))
    return float(np.mean(found)) if found else float("nan")


def note_f1(notes: NoteArray, found: NoteArray, offsets: bool = False, velocities: bool = False) -> float:
    """Note-level F1 of a transcription, 0..1: key within a quarter tone, onset within 50 ms (mir_eval).

    notes, found: the score and the transcription, seconds from the same moment. Returned is NaN where the score has no notes.
    offsets: a note's end counts too, within 20 % of its length and at least 50 ms. velocities: its velocity as well, within 0.1
    after mir_eval's regression. Raises M2MError without mir_eval.
    """
    mir_eval = need("mir_eval", "note F1")
    if not len(notes):
        return float("nan")
    if not len(found):
        return 0.0

    def parts(array: NoteArray) -> tuple[NDArray[Any], ...]:
        spans = np.stack([array["start"], np.maximum(array["end"], array["start"] + 1e-3)], axis=1)
        return spans, 440.0 * 2 ** ((array["pitch"] - 69) / 12), *((array["velocity"],) if velocities else ())

    of = mir_eval.transcription_velocity if velocities else mir_eval.transcription
    ratio = 0.2 if offsets or velocities else None
    return float(of.precision_recall_f1_overlap(*parts(notes), *parts(found), offset_ratio=ratio)[2])
