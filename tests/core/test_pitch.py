"""Which keys a track's notes are played on, and how far from them they sound."""

from __future__ import annotations

import io
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2m.core.pitch import GLIDING, MOST, Voice, voices
from m2m.core.score import note_array, parse_score
from m2m.core.tracks import Track, constant

RATE = 125.0


def track_of(*events: tuple[float, str, dict[str, Any]]) -> Track:
    """The one track of a file with these messages: (second, kind, arguments)."""
    file, track, now = mido.MidiFile(type=0, ticks_per_beat=500), mido.MidiTrack(), 0
    for second, kind, arguments in sorted(events, key=lambda event: event[0]):
        track.append(mido.Message(kind, **arguments, time=round(second * 1000) - now))
        now = round(second * 1000)
    file.tracks.append(track)
    data = io.BytesIO()
    file.save(file=data)
    (read,) = parse_score(data.getvalue(), "test").tracks
    return read


def note(key: int, start: float, end: float) -> list[tuple[float, str, dict[str, Any]]]:
    return [(start, "note_on", {"note": key, "velocity": 80}), (end, "note_off", {"note": key})]


def control(second: float, number: int, value: int) -> tuple[float, str, dict[str, Any]]:
    return second, "control_change", {"control": number, "value": value}


def sounding_keys(track: Track) -> list[tuple[float, float]]:
    """(start, key that is heard where nothing moves) of all notes of all voices."""
    return sorted(
        (start, key + float(voice.bend[0, 1]) / 100)
        for voice in voices(track)
        for start, _, key, _ in voice.notes.tolist()
    )


def test_a_wheel_moves_all_notes_by_its_range() -> None:
    track = track_of(*note(60, 0, 2), (1.0, "pitchwheel", {"pitch": 4096}))
    (voice,) = voices(track)
    assert not voice.is_straight
    cents = voice.cents(250, RATE)
    assert cents[:125].tolist() == [0.0] * 125
    assert cents[125:] == pytest.approx(100.0)


def test_a_tuning_that_stays_is_a_matter_of_keys() -> None:
    coarse = [control(0, 101, 0), control(0, 100, 2), control(0, 6, 64 - 5)]
    (voice,) = voices(track_of(*coarse, *note(60, 0.5, 1)))
    assert voice.is_straight
    assert voice.notes["pitch"].tolist() == [55]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 9)), min_size=1, max_size=12, unique=True))
def test_every_key_sounds_at_its_pitch_from_a_key_of_the_piano(rows: list[tuple[int, int]]) -> None:
    track = track_of(*(event for key, at in rows for event in note(key, at, at + 0.5)))
    assert sounding_keys(track) == sorted((float(at), float(key)) for key, at in rows)
    assert all(21 <= key <= 108 for voice in voices(track) for key in voice.notes["pitch"].tolist())


def test_drums_beyond_the_piano_are_left_out_and_said() -> None:
    file = mido.MidiFile(type=0, ticks_per_beat=500)
    file.tracks.append(
        mido.MidiTrack([mido.Message("note_on", channel=9, note=k, velocity=90, time=5) for k in (3, 38)])
    )
    data = io.BytesIO()
    file.save(file=data)
    score = parse_score(data.getvalue(), "drums")
    assert [voice.notes["pitch"].tolist() for voice in voices(score.tracks[0])] == [[38]]
    assert [(o.kind, o.count) for o in score.omissions] == [("range", 1)]


def test_modulation_and_pressure_are_the_soundfont_standards_vibrato() -> None:
    for moved in (control(0, 1, 127), (0.0, "aftertouch", {"value": 127})):
        (voice,) = voices(track_of(moved, *note(60, 0.1, 4)))
        cents = voice.cents(500, RATE)[13:]
        assert np.abs(cents).max() == pytest.approx(50, abs=4)
        rising = np.flatnonzero((cents[:-1] < 0) & (cents[1:] >= 0))
        assert RATE * (len(rising) - 1) / (rising[-1] - rising[0]) == pytest.approx(8.176, rel=0.01)


def test_portamento_glides_from_the_key_before() -> None:
    on = [control(0, 65, 127), control(0, 5, 64)]  # 2.06 s for 40 keys
    track = track_of(*on, *note(60, 0, 1), *note(72, 1, 3))
    straight, gliding = voices(track)
    assert straight.notes["pitch"].tolist() == [60]
    assert straight.is_straight
    cents = gliding.cents(400, RATE)
    seconds = 2.06 * 12 / 40
    assert cents[125] == pytest.approx(-1200)
    assert cents[125 + round(RATE * seconds / 2)] == pytest.approx(-600, abs=10)
    assert not cents[125 + int(RATE * seconds) + 1 :].any()


def test_portamento_control_names_the_key_and_holds_for_one_note() -> None:
    track = track_of(control(0, 5, 32), control(0, 84, 48), *note(60, 0.5, 1), *note(62, 2, 3))
    assert track.glides[["start", "key", "cents"]].tolist() == [(0.5, 60, -1200.0)]


def test_many_glides_at_once_end_at_their_pitch() -> None:
    on = [control(0, 65, 127), control(0, 5, 20)]
    track = track_of(*on, *(event for n in range(9) for event in note(40 + n, 0.1 * n, 5)))
    found = list(voices(track))
    assert sum(len(voice.glides) for voice in found) == GLIDING
    assert sum(len(voice.notes) for voice in found) == 9


def test_bends_end_at_two_octaves() -> None:
    wide = np.array([[0.0, 0.0], [0.5, 12_700.0]])
    track = Track("", 0, False, note_array([(0.0, 1.0, 60, 80)]), constant(1.0), bend=wide)
    assert Voice(track, track.notes, wide).cents(100, RATE).max() == MOST
