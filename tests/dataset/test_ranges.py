"""Piano music as a part for a program: its keys, its voice, its lengths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2m.core.notes import HIGHEST_KEY, LOWEST_KEY, NoteArray, note_array, polyphony
from m2m.dataset.ranges import TOGETHER, idiom, idiomatic, one_voice

NOTES = st.lists(
    st.tuples(
        st.integers(0, 400).map(lambda n: n / 8),
        st.floats(0.05, 10),
        st.integers(LOWEST_KEY, HIGHEST_KEY),
        st.integers(1, 127),
    ),
    min_size=1,
    max_size=30,
).map(lambda rows: note_array((start, start + length, key, velocity) for start, length, key, velocity in rows))


@pytest.mark.parametrize("program", range(128))
def test_a_program_has_an_octave_at_least(program: int) -> None:
    how = idiom(program)
    assert LOWEST_KEY <= how.lowest <= how.highest - 12
    assert how.highest <= HIGHEST_KEY
    assert how.slower >= 1
    assert how.longest > 0.1


@settings(deadline=None)
@given(NOTES, st.integers(0, 127))
def test_a_part_is_playable_on_its_instrument(notes: NoteArray, program: int) -> None:
    how, before = idiom(program), notes.copy()
    part = idiomatic(notes, program)
    assert (notes == before).all()
    assert 0 < len(part) <= len(notes)
    assert ((part["pitch"] >= how.lowest) & (part["pitch"] <= how.highest)).all()
    assert set((part["pitch"] % 12).tolist()) <= set((notes["pitch"] % 12).tolist())  # moved by octaves alone
    assert (part["end"] > part["start"]).all()
    assert (part["end"] - part["start"] <= how.longest + 1e-9).all()
    assert part["start"][0] - notes["start"][0] <= TOGETHER * how.slower
    if how.voice != "all":
        assert polyphony([part]) == 1


def test_a_piano_plays_what_is_written() -> None:
    notes = note_array((0.25 * i, 0.25 * i + 0.4, 40 + 3 * i, 60) for i in range(15))
    assert (idiomatic(notes, 0) == notes).all()
    assert len(idiomatic(note_array([]), 73)) == 0


def test_a_melody_and_a_bass() -> None:
    chords = note_array((float(i), i + 2.0, key, 60) for i in range(4) for key in (48 + i, 64 + i, 72 + i))
    top, bass = one_voice(chords, "top"), one_voice(chords, "bass")
    assert top["pitch"].tolist() == [72, 73, 74, 75]
    assert bass["pitch"].tolist() == [48, 49, 50, 51]
    assert top["end"].tolist() == [1.0, 2.0, 3.0, 5.0]
    assert idiomatic(chords, 73)["pitch"].tolist() == [72, 73, 74, 75]  # a flute's
    assert idiomatic(chords, 58)["pitch"].tolist() == [36, 37, 38, 39]  # a tuba's, an octave lower


def test_pads_are_slow_and_a_xylophone_is_short() -> None:
    notes = note_array((float(i), i + 1.0, 60 + i, 60) for i in range(8))
    pad, xylophone = idiomatic(notes, 92), idiomatic(notes, 13)
    assert np.allclose(pad["start"], 2.5 * notes["start"])
    assert np.allclose(pad["end"] - pad["start"], 2.5)
    assert np.allclose(xylophone["start"], notes["start"])
    assert np.allclose(xylophone["end"] - xylophone["start"], 0.3)
    assert xylophone["pitch"].min() >= 65
