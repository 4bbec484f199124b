"""Words that select tracks of a score, for `--map`, `--mix` and whatever else is said of some tracks only.

40           the tracks of a General MIDI program, 0 to 127
track:2      a track by its number, as `m2m score` lists it
name:Bass    a track by its name, or by the name of a MIDI track that plays in it; capitals do not matter
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from m2m.core.errors import M2MError
from m2m.core.score import Score, Track
from m2m.core.system.progress import say

Selector: TypeAlias = int | str
Value = TypeVar("Value")
FORMS = "a General MIDI program, 0 to 127, 'track:NUMBER' or 'name:NAME'"


def check(selector: Selector) -> tuple[str, Selector]:
    """("program", "track" or "name", what it is). Raises M2MError for a word that selects nothing.

    >>> check("40"), check("track:2"), check("name:Bass")
    (('program', 40), ('track', 2), ('name', 'bass'))
    """
    kind, _, word = str(selector).partition(":") if ":" in str(selector) else ("program", "", str(selector))
    if kind == "name" and word.strip():
        return kind, word.strip().casefold()
    if word.isascii() and word.isdecimal():
        if kind == "program" and int(word) < 128:
            return kind, int(word)
        if kind == "track" and int(word) > 0:
            return kind, int(word)
    raise M2MError(f"{selector!r} selects no track: {FORMS} was wanted.")


def select(score: Score, wanted: Mapping[Selector, Value], *, must_be: bool = False) -> dict[int, Value]:
    """What is wanted of which tracks: number -> value; a track's number and name go before its program.

    Raises M2MError for a word that cannot be one. Of words that select no track of this score it says so, or, where a track
    `must_be` there, raises M2MError.
    """
    found: dict[int, Value] = {}
    for kinds in (("program",), ("name", "track")):
        for selector, value in wanted.items():
            kind, what = check(selector)
            if kind not in kinds:
                continue
            numbers = [n for n, track in enumerate(score.tracks, start=1) if _is(track, n, kind, what)]
            found |= dict.fromkeys(numbers, value)
            if must_be and not numbers:
                there = ", ".join(f"{n} {track.name!r}" for n, track in enumerate(score.tracks[:20], start=1))
                raise M2MError(f"{score.name or 'the score'}: no track is {kind} {what}; there are {there or 'none'}.")
            if not must_be and not any(score.tracks[n - 1] in score.playable for n in numbers):
                say(f"{score.name or 'the score'}: no track that plays is {kind} {what}, whose timbre was given")
    return found


def _is(track: Track, number: int, kind: str, what: Selector) -> bool:
    if kind == "program":
        return track.program == what and not track.is_drum
    if kind == "track":
        return number == what
    names = [track.name, *track.name.split(", ")]
    return what in [name.casefold() for name in names]
