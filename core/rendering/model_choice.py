"""Which acoustic model a render takes, and what of a score it can play.

Nothing here imports torch, so commands may ask before they need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from m2m.core.instruments import FIRST_KIT, REFERENCE, nearest_instrument
from m2m.core.model_folders import find_model, read_config
from m2m.core.plugins import registry
from m2m.core.score import Omission, Score, Track


def choose_model(model: str | Path | None = None, encoder: str | None = None, conditioner: str | None = None) -> Path:
    """The folder of the acoustic model that these options name; without any, of the default conditioner's."""
    wanted = conditioner if conditioner or model else registry.default("conditioner")
    return find_model("mel2mel", model, {"conditioner": wanted, "encoder": encoder})


def read_instruments(folder: Path) -> dict[str, int]:
    """The instruments of the model in a folder, name -> number (core/instruments.py); its weights are not loaded.

    Raises M2MError if it is no acoustic model.
    """
    from pydantic import BaseModel

    class Instruments(BaseModel):  # of Mel2MelConfig, whose module imports torch
        instruments: dict[str, int] = {name: program for program, name in REFERENCE.items()}

    return read_config(folder, "mel2mel", Instruments).instruments


def playable(score: Score, instruments: Mapping[str, int]) -> tuple[Track, ...]:
    """The tracks that have notes, and for which a model with these instruments has something that stands in."""
    return tuple(t for t in score.tracks if t.is_playable and nearest_instrument(t.instrument, instruments))


def omissions(score: Score, instruments: Mapping[str, int]) -> tuple[Omission, ...]:
    """What of a score will not sound as written with a model of these instruments."""
    drums = [track.notes for track in score.tracks if track.is_drum and len(track.notes)]
    if not drums or nearest_instrument(FIRST_KIT, instruments):
        return score.omissions
    count, first = sum(map(len, drums)), min(float(notes["start"][0]) for notes in drums)
    return (
        Omission("drums", count, f"drum notes left out, since the model has no drums: {count}", first),
        *score.omissions,
    )
