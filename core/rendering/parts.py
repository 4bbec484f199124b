"""A score's parts: what is rendered together, as one mel and one wave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from m2m.core.errors import M2MError
from m2m.core.notes import NoteArray, merge, shares_keys
from m2m.core.pitch import Voice, voices
from m2m.core.rendering.bends import BentTime
from m2m.core.rendering.effects import sends
from m2m.core.rendering.mix import Level, gains
from m2m.core.rendering.model_choice import playable
from m2m.core.rendering.panning import placement
from m2m.core.score import Score
from m2m.core.timbre import Timbre, TimbreSpace
from m2m.core.track_selection import Selector, select
from m2m.core.tracks import Track


@dataclass(frozen=True, eq=False)
class Part:
    """Voices with one timbre, gain, pitch and place, which are therefore rendered together. level: of the mix, linear."""

    voices: tuple[Voice, ...]
    timbre: Timbre
    name: str
    level: float = 1.0

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The track of each voice."""
        return tuple(voice.track for voice in self.voices)

    @cached_property
    def notes(self) -> NoteArray:
        """All their notes, on keys of the piano, in order of start."""
        return merge(voice.notes for voice in self.voices)

    def bent_time(self, seconds: float, frame_rate: float) -> BentTime | None:
        """Its own time, for so many seconds of the score, if it does not sound at its keys' pitch."""
        voice = self.voices[0]
        if voice.is_straight:
            return None
        return BentTime(voice.cents(int(np.ceil(seconds * frame_rate)) + 1, frame_rate), frame_rate)

    @property
    def end(self) -> float:
        """Seconds until the last note is let go."""
        return float(self.notes["end"].max())


def grouped(
    score: Score,
    space: TimbreSpace,
    timbre: str | None,
    timbres: Mapping[Selector, str],
    apart: bool = False,
    mix: Mapping[Selector, Level] | None = None,
    channels: int = 1,
    effects: bool = False,
) -> list[Part]:
    """Group a score's voices by timbre, gain and place, where none cuts another's notes; `Pipeline.parts` has the arguments.

    Raises M2MError for a timbre that cannot be read, and for a drum kit that is to play notes, or anything else drums.
    """
    chosen, levels = select(score, timbres), gains(score, mix or {})
    groups: dict[tuple[Any, ...], list[list[Voice]]] = {}
    for track in playable(score, space.instruments):
        number, standing_in = score.number(track), space.for_program(track.instrument)
        text = chosen.get(number) or ("" if track.is_drum else timbre) or standing_in or ""
        if space.parse(text).is_kit != track.is_drum:
            what, wanted = ("drums", "a drum kit's") if track.is_drum else ("no drums", "an instrument's")
            raise M2MError(f"timbre {text!r} came for track {number}, which is {what}; {wanted} was wanted.")
        place = placement(track) if channels > 1 else None
        sent = tuple(curve.tobytes() for curve in sends(track).values()) if effects else ()
        alike = groups.setdefault((text, track.gain.tobytes(), levels[number], place, sent), [])
        for voice in voices(track):
            together = None if apart or not voice.is_straight else _joinable(alike, voice)
            if together is None:
                alike.append([voice])
            else:
                together.append(voice)
    return [
        Part(tuple(together), space.parse(text), text, level)
        for (text, _, level, *_), alike in groups.items()
        for together in alike
    ]


def _joinable(groups: Iterable[list[Voice]], voice: Voice) -> list[Voice] | None:
    """The first group that a voice can join: of straight voices, none of whose notes it would cut."""
    for group in groups:
        if group[0].is_straight and not shares_keys(v.notes for v in (*group, voice)):
            return group
    return None
