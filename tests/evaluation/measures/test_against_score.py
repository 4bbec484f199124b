"""Audio against its score, on notes made so that the answer is known."""

import numpy as np
import pytest

from m2m.core.score import NoteArray, note_array
from m2m.evaluation.measures.against_score import note_f1, notes_heard, onset_times, onset_timing
from m2m.evaluation.measures.constant_q import constant_q

pytest.importorskip("mir_eval")
RATE = 16_000
NOTES = [(0.2, 0.7, 60), (0.8, 1.3, 64), (1.4, 1.9, 67), (2.0, 2.5, 72)]


def play(notes: list[tuple[float, float, int]], partials: tuple[int, ...] = (1, 2, 3), late: float = 0.0) -> np.ndarray:
    t = np.arange(3 * RATE) / RATE
    wave = np.zeros(len(t))
    for start, end, key in notes:
        hz, since = 440 * 2 ** ((key - 69) / 12), t - start - late
        gate = (since >= 0) * np.clip((end + late - t) / 0.05, 0, 1)
        wave += (
            0.2
            * gate
            * np.exp(-3 * np.maximum(since, 0))
            * sum(np.sin(2 * np.pi * k * hz * since) / k for k in partials)
        )
    return wave.astype(np.float32)


def score(notes: list[tuple[float, float, int]]) -> NoteArray:
    return note_array([(start, end, key, 90) for start, end, key in notes])


def test_onsets_are_found_where_the_score_has_them() -> None:
    f1, error = onset_timing(play(NOTES), RATE, score(NOTES))
    assert f1 == 1.0
    assert error < 30
    wrong = [(start + 0.25, end + 0.25, key) for start, end, key in NOTES]
    assert onset_timing(play(NOTES), RATE, score(wrong))[0] == 0
    assert onset_timing(play(NOTES[::2]), RATE, score(NOTES))[0] == pytest.approx(2 / 3)


def test_being_late_shows() -> None:
    on_time, late = (onset_timing(play(NOTES, late=by), RATE, score(NOTES))[1] for by in (0.0, 0.024))
    assert late - on_time == pytest.approx(24, abs=9)  # frames are 8 ms here


def test_where_there_is_nothing_to_time() -> None:
    silence = np.zeros(RATE, np.float32)
    assert onset_timing(silence, RATE, score(NOTES[:1]))[0] == 0
    assert np.isnan(onset_timing(silence, RATE, score([]))).all()


def test_a_chord_is_one_onset() -> None:
    assert onset_times(score([(0.5, 1, 60), (0.52, 1, 64), (0.6, 1, 67)])).tolist() == [0.5, 0.6]


@pytest.mark.parametrize("partials", [(1, 2, 3), (1, 4), (1, 3, 5)])
def test_notes_that_sound_are_heard_and_others_are_not(partials: tuple[int, ...]) -> None:
    """Also of a vibraphone's partials, and of a clarinet's."""
    magnitudes = constant_q(play(NOTES, partials), RATE)
    assert notes_heard(magnitudes, RATE, score(NOTES)) == 1.0
    assert notes_heard(magnitudes, RATE, score([(s, e, k + 1) for s, e, k in NOTES])) == 0.0
    half = constant_q(play(NOTES[:2], partials), RATE)
    assert notes_heard(half, RATE, score(NOTES)) == 0.5
    assert np.isnan(notes_heard(magnitudes, RATE, score([])))
    assert notes_heard(constant_q(np.zeros(3 * RATE, np.float32), RATE), RATE, score(NOTES)) == 0.0


def test_note_f1_is_mir_evals() -> None:
    found = score([*NOTES[:3], (2.0, 2.5, 73)])
    assert note_f1(score(NOTES), score(NOTES)) == 1.0
    assert note_f1(score(NOTES), found) == pytest.approx(0.75)
    late = score([(s + 0.06, e, k) for s, e, k in NOTES])
    assert note_f1(score(NOTES), late) == 0.0
    assert note_f1(score(NOTES), score([])) == 0.0
    assert np.isnan(note_f1(score([]), found))


def test_ends_and_velocities_of_notes_count_where_they_are_asked_for() -> None:
    notes = note_array((n, n + 0.8, 60 + n, 40 + 10 * n) for n in range(8))
    short, loud = notes.copy(), notes.copy()
    short["end"][:4] = short["start"][:4] + 0.2
    loud["velocity"][:4] = loud["velocity"][:4][::-1] + 37
    assert note_f1(notes, short) == 1.0
    assert note_f1(notes, short, offsets=True) == pytest.approx(0.5)
    assert note_f1(notes, loud, offsets=True) == 1.0
    assert note_f1(notes, loud, velocities=True) < 1.0
    assert note_f1(notes, notes, velocities=True) == 1.0
