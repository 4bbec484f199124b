"""Scores of a few notes, and what renders them."""

from __future__ import annotations

import pretty_midi
import pytest

from m2m.core.rendering.pipeline import Pipeline


def score_of(*parts: tuple[int, list[int]], volume: int | None = None) -> pretty_midi.PrettyMIDI:
    """One instrument a part (program, keys), its keys struck one after the other, half a second each."""
    midi = pretty_midi.PrettyMIDI()
    for program, keys in parts:
        instrument = pretty_midi.Instrument(program, name=f"Part {program}")
        instrument.notes = [pretty_midi.Note(90, key, 0.5 * i, 0.5 * i + 0.4) for i, key in enumerate(keys)]
        if volume is not None:
            instrument.control_changes = [pretty_midi.ControlChange(7, volume, 0.0)]
        midi.instruments.append(instrument)
    return midi


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    """The paper's model, ten instruments by FiLM, which is small, and the default vocoder."""
    return Pipeline(conditioner="film")
