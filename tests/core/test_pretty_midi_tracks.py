"""pretty_midi's objects, there and back."""

import numpy as np
import pretty_midi
import pytest

import m2m
from m2m.core.errors import M2MError
from m2m.core.score import Score


def music() -> pretty_midi.PrettyMIDI:
    midi = pretty_midi.PrettyMIDI(initial_tempo=90)
    midi.time_signature_changes.append(pretty_midi.TimeSignature(3, 4, 0.0))
    piano, drums = pretty_midi.Instrument(4, name="Rhodes"), pretty_midi.Instrument(0, is_drum=True, name="Kit")
    piano.notes = [pretty_midi.Note(90, 60 + i, 0.5 * i, 0.5 * i + 0.75) for i in range(8)]
    piano.control_changes = [
        pretty_midi.ControlChange(*change) for change in ((7, 80, 0.0), (11, 64, 1.0), (10, 0, 0.5))
    ]
    piano.pitch_bends = [pretty_midi.PitchBend(4096, 0.25), pretty_midi.PitchBend(0, 0.5)]
    drums.notes = [pretty_midi.Note(100, 36, 0.5 * i, 0.5 * i + 0.1) for i in range(4)]
    midi.instruments += [piano, drums]
    return midi


def test_there_and_back_nothing_is_lost() -> None:
    score = Score.from_pretty_midi(music(), "a")
    again = Score.from_pretty_midi(score.to_pretty_midi(), "a")
    assert np.allclose(again.tempi, score.tempi)
    assert again.meters == score.meters == ((0.0, 3, 4),)
    for mine, theirs in zip(score.tracks, again.tracks, strict=True):
        assert (mine.name, mine.program, mine.is_drum) == (theirs.name, theirs.program, theirs.is_drum)
        assert mine.notes.tolist() == theirs.notes.tolist()
        for curve in ("gain", "pan", "bend", "modulation"):
            at = np.arange(0, 5, 0.05) + 0.01
            first, second = (
                points[np.searchsorted(points[:, 0], at, side="right") - 1, 1]
                for points in (getattr(mine, curve), getattr(theirs, curve))
            )
            assert np.allclose(first, second, atol=1e-9), curve


def test_several_tempi_are_kept() -> None:
    score = Score((), tempi=((0.0, 60.0), (2.0, 120.0), (3.5, 61.0)))
    times, tempi = score.to_pretty_midi().get_tempo_changes()
    assert times.tolist() == pytest.approx([0.0, 2.0, 3.5], abs=1e-4)
    assert tempi.tolist() == pytest.approx([60.0, 120.0, 61.0])


def test_it_is_rendered_like_its_file(tmp_path: object) -> None:
    midi = music()
    midi.instruments = midi.instruments[:1]
    midi.instruments[0].notes = midi.instruments[0].notes[:2]
    pipeline = m2m.Pipeline()
    assert np.array_equal(pipeline.render(midi).audio, pipeline.render(Score.from_pretty_midi(midi)).audio)


@pytest.mark.parametrize("start", [-1.0, float("nan")])
def test_times_that_are_none(start: float) -> None:
    midi = music()
    midi.instruments[0].control_changes[0].time = start
    with pytest.raises(M2MError, match="a time that is negative or no number"):
        Score.from_pretty_midi(midi, "a")
