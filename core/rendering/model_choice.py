"""Which acoustic model a render takes, and what of a score it can play.

Nothing here imports torch, so commands may ask before they need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from m2m.core.instruments import FIRST_KIT, REFERENCE, nearest_instrument
from m2m.core.model_folders import find_model, read_config
from m2m.core.plugins import registry, settings
from m2m.core.plugins.discovery import table as built_ins
from m2m.core.score import Omission, Score, Track
from m2m.core.timbre import TimbreSpace

MAX_POINTS = 1 << 20  # instruments times dimensions


def choose_model(model: str | Path | None = None, encoder: str | None = None, conditioner: str | None = None) -> Path:
    """The folder of the acoustic model that these options name.

    An encoder or a conditioner without a model is that of the paper's pair, ten instruments each. Without any option the user's
    plugins.toml decides in the same way, and where it says nothing the default model is taken.
    Raises M2MError that says which models there are.
    """
    if not (model or encoder or conditioner):
        own = settings.settings().defaults
        model, encoder, conditioner = own.get("model"), own.get("encoder"), own.get("conditioner")
        if not (model or encoder or conditioner):
            model = built_ins()["defaults"]["model"]
    wanted = conditioner if conditioner or model else registry.default("conditioner")
    return find_model("mel2mel", model, {"conditioner": wanted, "encoder": encoder})


class Outline(BaseModel):
    """What a render asks of a model's config before it needs torch: some of Mel2MelConfig, whose module imports it."""

    encoder: str = ""
    conditioner: str = ""
    instruments: dict[str, int] = {name: program for program, name in REFERENCE.items()}
    timbre_dim: int = 0


def read_instruments(folder: Path) -> dict[str, int]:
    """The instruments of the model in a folder, name -> number (core/instruments.py); its weights are not loaded.

    Raises M2MError if it is no acoustic model.
    """
    return read_config(folder, "mel2mel", Outline).instruments


def check_choices(
    timbres: Iterable[str],
    *,
    model: str | Path | None = None,
    encoder: str | None = None,
    conditioner: str | None = None,
    vocoder: str | None = None,
) -> None:
    """Raise M2MError for a model, a component or a timbre that is not there, as a render would after it has loaded torch."""
    registry.find("vocoder", vocoder or registry.default("vocoder"))
    made_of = read_config(choose_model(model, encoder, conditioner), "mel2mel", Outline)
    for kind, name in (("encoder", made_of.encoder), ("conditioner", made_of.conditioner)):
        if name:
            registry.find(kind, name)
    size = len(made_of.instruments), made_of.timbre_dim
    if 0 < size[0] * size[1] <= MAX_POINTS:  # a damaged config may claim any size: loading the weights says so
        space = TimbreSpace(made_of.instruments, np.zeros(size, np.float32))  # places do not matter here
        for timbre in timbres:
            space.parse(timbre)


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
