"""How loud some tracks are, in words: `--mix name:Bass=-6dB`.

-6dB, +3, 2.5    decibels on a track, -60 to 60
mute             it is not heard, and not computed
solo             only such tracks are heard; "mute" goes before it
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from m2m.core.choices import GAIN_RANGE_DB
from m2m.core.errors import M2MError
from m2m.core.score import Score
from m2m.core.track_selection import Selector, check, select

Level: TypeAlias = str | float  # as above; a number is decibels
MUTE, SOLO = "mute", "solo"


def parse(level: Level) -> str | float:
    """A level in decibels, MUTE or SOLO. Raises M2MError for a word that is none of these, and a level beyond the range.

    >>> parse("-6dB"), parse("+3 dB"), parse(1.5), parse("Mute")
    (-6.0, 3.0, 1.5, 'mute')
    """
    word = str(level).strip().lower()
    if word in (MUTE, SOLO):
        return word
    lowest, highest = GAIN_RANGE_DB
    if found := re.fullmatch(r"([+-]?[0-9]{1,9}(?:\.[0-9]+)?)\s*(?:db)?", word):
        decibels = float(found[1])
        if lowest <= decibels <= highest:
            return decibels
    raise M2MError(f"{level!r} is no level: decibels from {lowest} to {highest} ('-6dB'), 'mute' or 'solo' was wanted.")


def check_mix(mix: Mapping[Selector, Level]) -> None:
    """Raise M2MError for words that can select no track and levels that are none, whatever the score."""
    for selector, level in mix.items():
        check(selector)
        parse(level)


def gains(score: Score, mix: Mapping[Selector, Level]) -> dict[int, float]:
    """The linear gain of each track of a score, by its number; 0 of one that is not heard.

    mix: a track's number and name go before its program. Raises M2MError as `check_mix` does, and for a track that is not there.
    """
    chosen = select(score, {selector: parse(level) for selector, level in mix.items()}, must_be=True)
    alone = SOLO in chosen.values()
    made: dict[int, float] = {}
    for number in range(1, len(score.tracks) + 1):
        level = chosen.get(number, 0.0)
        if level == MUTE or (alone and level != SOLO):
            made[number] = 0.0
        else:
            made[number] = 1.0 if isinstance(level, str) else 10 ** (level / 20)
    return made
