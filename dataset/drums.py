"""Drum parts: the corpus is piano music, so that a kit's notes are made here, by chance from a table of grooves.

A part is a groove's bars with a drummer's liberties: ghost notes, a cymbal at the head of a section, a fill at its end, hands and
feet that are not a machine's, and, over it, hand percussion. What is rare in songs is rare here, but every key is struck.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from m2m.core.notes import NoteArray, hold, note_array

LOWEST_DRUM, HIGHEST_DRUM = 27, 87  # General MIDI 2's; General MIDI 1 has 35 to 81

# The keys of each voice of a groove; a part takes one of them and keeps it.
VOICES = {
    "kick": (36, 36, 36, 35),
    "snare": (38, 38, 38, 40),
    "stick": (37,),
    "clap": (39,),
    "hat": (42,),
    "foot": (44,),  # the hi-hat by its pedal
    "open": (46,),
    "ride": (51, 51, 59),
    "bell": (53,),
    "crash": (49, 49, 57),
    "splash": (55, 52),
    "tambourine": (54,),
    "cowbell": (56,),
    "shaker": (70, 82),
    "conga": (63,),
    "tumba": (64,),
    "mute": (62,),
    "clave": (75,),
    "timbale": (65,),
    "timpani": (43, 45, 41),
    "low": (41, 43),
    "high": (48, 50),
}
TOMS = (50, 48, 47, 45, 43, 41)  # from the highest, as a fill goes down
PERCUSSION = (*range(27, 35), 39, 52, 53, 54, 55, 56, 58, *range(60, 88))
RINGING = frozenset({49, 52, 55, 57, 58, 71, 72, 74, 79, 81, 84, 86, 87})  # of these the length may be heard


@dataclass(frozen=True)
class Groove:
    """A bar of drums, or several, in sixteenths (in triplets of eighths: `steps` 3).

    tempo:  the slowest and fastest, quarter notes a minute. bars: voice -> a digit 1..9, soft to loud, or "." at each step.
    steps:  of a quarter note. swing: where in its eighth a second sixteenth falls, 0.5: evenly.
    ghosts: the chance of a soft snare at a step that has none. kits: that play it; none named: all.
    """

    tempo: tuple[int, int]
    bars: tuple[dict[str, str], ...]
    steps: int = 4
    swing: float = 0.5
    ghosts: float = 0.0
    fills: tuple[str, ...] = ("toms", "snare", "both")
    kits: tuple[int, ...] = ()


GROOVES = {
    "rock": Groove(
        (88, 140),
        (
            {"hat": "7.5.7.5.7.5.7.5.", "kick": "8.......8.8.....", "snare": "....8.......8..."},
            {"hat": "7.5.7.5.7.5.7.4.", "open": "..............6.", "kick": "8.....7.8.......", "snare": "....8.......8..."},
        ),
        ghosts=0.03,
    ),
    "pop": Groove(
        (92, 128),
        (
            {"hat": "6464646464646464", "kick": "8..7..8...7.....", "snare": "....8.......8..7", "clap": "....5.......5..."},
            {"hat": "6464646464646464", "kick": "8..7..8.........", "snare": "....8.......8...", "shaker": "..4...4...4...4."},
        ),
    ),
    "ballad": Groove(
        (58, 82),
        ({"hat": "5.3.5.3.5.3.5.3.", "kick": "7.........5.....", "stick": "....6.......6..."},
         {"ride": "5.3.5.3.5.3.5.3.", "kick": "7......4..5.....", "snare": "....6.......6..."}),
    ),
    "funk": Groove(
        (86, 116),
        (
            {"hat": "7353735373537353", "kick": "8..7......7..7..", "snare": "....8..3.3..8..3"},
            {"hat": "735373.373537353", "open": "......6.........", "kick": "8.7.....3.7.....", "snare": "....8..3.3.38..."},
        ),
        swing=0.54,
        ghosts=0.12,
    ),
    "disco": Groove(
        (110, 130),
        ({"kick": "8...8...8...8...", "open": "..7...7...7...7.", "hat": "5...5...5...5...", "snare": "....8.......8...",
          "cowbell": "5.....5...5....."},),
    ),
    "techno": Groove(
        (118, 142),
        ({"kick": "9...9...9...9...", "hat": "..6...6...6...64", "clap": "....7.......7...", "low": "...4..4....4..4."},
         {"kick": "9...9...9...9.7.", "open": "..6...6...6...6.", "clap": "....7.......7...", "shaker": "5353535353535353"}),
        fills=("snare",),
    ),
    "hip hop": Groove(
        (70, 96),
        ({"kick": "8......7..8.....", "snare": "....8.......8...", "hat": "7.5.7.557.5.7555", "open": "..............5."},),
        swing=0.58,
        fills=("snare", "none"),
    ),
    "metal": Groove(
        (130, 190),
        ({"kick": "8888888888888888", "snare": "....9.......9...", "ride": "8...8...8...8..."},
         {"kick": "8.888.888.888.88", "snare": "....9.......9...", "bell": "7.7.7.7.7.7.7.7."}),
        fills=("toms", "both"),
    ),
    "shuffle": Groove(
        (84, 138),
        ({"ride": "7.57.57.57.5", "kick": "8.....8.....", "snare": "...8.....8..", "foot": "...5.....5.."},),
        steps=3,
        ghosts=0.08,
    ),
    "swing": Groove(
        (112, 208),
        (
            {"ride": "6..7.46..7.4", "foot": "...6.....6..", "kick": "2..2..2..2..", "snare": ".....3......"},
            {"ride": "6..7.46..7.4", "foot": "...6.....6..", "kick": "2..2..2..4..", "stick": "...3........"},
        ),
        steps=3,
        ghosts=0.1,
        fills=("snare", "both", "none"),
    ),
    "waltz": Groove(
        (88, 176),
        ({"ride": "6...5.5.5...", "kick": "7...........", "foot": "....5...5...", "snare": "......2.4..."},),
    ),
    "bossa nova": Groove(
        (110, 144),
        ({"hat": "5454545454545454", "kick": "7..57..57..57..5", "stick": "6..6..6...6..6.."},
         {"shaker": "5353535353535353", "kick": "7..57..57..57..5", "stick": "6..6..6...6..6..", "foot": "....4.......4..."}),
        fills=("snare", "none"),
    ),
    "samba": Groove(
        (96, 132),
        ({"kick": "5..38..35..38..3", "shaker": "6464646464646464", "snare": "5.35.535.35.5.35", "cowbell": "6..4..6...4.6..4"},),
        ghosts=0.1,
    ),
    "salsa": Groove(
        (88, 116),
        ({"mute": "5...5...5...5...", "conga": "............6.6.", "tumba": "......5.........", "cowbell": "7.4.7.4.7.4.7.4.",
          "clave": "..7.7...7..7..7.", "kick": "...6........6...", "timbale": "..............5."},),
        fills=("percussion", "toms"),
    ),
    "march": Groove(
        (96, 124),
        ({"kick": "8...7...8...7...", "snare": "6.556.556.556555", "crash": "5.......4......."},
         {"kick": "8...7...8...7...", "snare": "6..56.556..56.55"}),
        fills=("snare",),
        kits=(0, 40, 48),
    ),
    "orchestra": Groove(
        (66, 126),
        ({"timpani": "7.......5...4.4.", "kick": "6..............."},
         {"snare": "....4.445...4.44", "timpani": "6...........5555"},
         {"kick": "7.......5.......", "crash": "6...............", "tambourine": "..4.4...4.4.4..."}),
        fills=("timpani", "none"),
        kits=(48,),
    ),
}  # fmt: skip
FAVOURITES = {16: ("rock", "metal"), 24: ("techno", "disco", "hip hop"), 25: ("hip hop", "techno"), 32: ("swing", "bossa nova"),
              40: ("swing", "ballad", "waltz"), 48: ("orchestra", "march")}  # fmt: skip  # kit -> grooves that it is made for


def drum_part(kit: int, seconds: float, draw: random.Random) -> NoteArray:
    """A drum part of some groove that suits a kit.

    kit: its program, 0..127. draw: where chance comes from.
    Returned: (notes,) from second 0 on, of which the last is struck before `seconds`; keys 27 to 87.
    """
    suits = [name for name, groove in GROOVES.items() if not groove.kits or kit in groove.kits]
    favourites = FAVOURITES.get(kit)
    groove = GROOVES[draw.choice(favourites if favourites and draw.random() < 0.7 else suits)]
    tempo = draw.uniform(*groove.tempo)
    bars = 1 + int(seconds / bar_seconds(groove, tempo))
    notes = play(groove, tempo, bars, draw, percussion=draw.choice((0.0, 0.3, 0.6)))
    return notes[notes["start"] < seconds]


def bar_seconds(groove: Groove, tempo: float) -> float:
    """How long a bar lasts at a tempo, in quarter notes a minute."""
    return len(next(iter(groove.bars[0].values()))) * 60 / tempo / groove.steps


def play(
    groove: Groove, tempo: float, bars: int, draw: random.Random, percussion: float = 0.0, section: int = 0
) -> NoteArray:
    """Some bars of a groove.

    tempo: quarter notes a minute. percussion: chance of hand percussion in a bar. section: bars from one fill to the next; 0:
    chance decides. Returned: (notes,) from second 0 on, hits within 20 ms of their time; velocities 1..127.
    """
    keys = {voice: draw.choice(choice) for voice, choice in VOICES.items()}
    section = section or draw.choice((4, 4, 8))
    loudness, length = draw.uniform(0.7, 1.1), draw.uniform(0.05, 0.25)
    rare = draw.sample(PERCUSSION, len(PERCUSSION))
    step = 60 / tempo / groove.steps
    hits: list[tuple[float, int, float]] = []  # steps, key, velocity
    total = len(next(iter(groove.bars[0].values())))
    for number in range(bars):
        pattern = groove.bars[number // (section // 2 or 1) % len(groove.bars)]
        fill = draw.choice(groove.fills) if number % section == section - 1 else "none"
        until = total if fill == "none" else total - groove.steps * draw.choice((1, 2))
        bar_hits = _bar(pattern, keys, until, groove.ghosts, draw)
        bar_hits += _fill(fill, until, total, keys, draw)
        if number % section == 0 and "ride" not in pattern:
            bar_hits.append((0, keys["crash"], 100.0))
        if draw.random() < percussion:
            for _ in range(draw.choice((1, 1, 2, 3))):
                rare.append(rare.pop(0))
                bar_hits += _rhythm(rare[-1], total, groove.steps, draw)
        hits += [(number * total + at, key, velocity) for at, key, velocity in bar_hits]
    rows = []
    for at, key, velocity in hits:
        late = (groove.swing - 0.5) * 2 if groove.steps == 4 and at % 2 == 1 else 0.0
        start = max(0.0, (at + late) * step + max(-0.02, min(0.02, draw.gauss(0.0, 0.004))))
        sounds = length * draw.uniform(2.0, 6.0) if key in RINGING else length
        rows.append((start, start + sounds, key, round(max(1, min(127, velocity * loudness + draw.gauss(0.0, 5.0))))))
    return hold(note_array(rows), [], 0.0)


def _bar(
    pattern: dict[str, str], keys: dict[str, int], until: int, ghosts: float, draw: random.Random
) -> list[tuple[float, int, float]]:
    """The hits of a bar before step `until`, with ghost notes: (step, key, velocity)."""
    hits: list[tuple[float, int, float]] = []
    for voice, beats in pattern.items():
        hits += [(at, keys[voice], 13.0 * int(beat)) for at, beat in enumerate(beats[:until]) if beat != "."]
    struck = {at for at, key, _ in hits if key == keys["snare"]}
    soft = (at for at in range(until) if at not in struck and draw.random() < ghosts)
    return hits + [(at, keys["snare"], draw.uniform(18, 40)) for at in soft]


def _fill(
    kind: str, first: int, last: int, keys: dict[str, int], draw: random.Random
) -> list[tuple[float, int, float]]:
    """A fill of steps first..last that grows louder: down the toms, on the snare, a roll of the timpani, on hand percussion."""
    if kind == "none":
        return []
    toms = sorted(draw.sample(TOMS, draw.randint(2, 4)), reverse=True)
    drums = {
        "toms": toms,
        "snare": [keys["snare"]],
        "both": [keys["snare"], *toms],
        "timpani": [keys["timpani"]],
        "percussion": draw.choice(([60, 61], [65, 66], [62, 63, 64], [76, 77])),
    }[kind]
    hits: list[tuple[float, int, float]] = []
    for at in range(first, last):
        done = (at - first) / (last - first)
        key, velocity = drums[int(done * len(drums))], 75 + 40 * done
        if draw.random() < 0.12:
            continue
        hits.append((at, key, velocity))
        if kind in ("timpani", "snare") and draw.random() < 0.4:
            hits.append((at + 0.5, key, velocity - 15))
        elif draw.random() < 0.1:
            hits.append((max(0.0, at - 0.15), key, velocity - 45))  # a flam
    return hits


def _rhythm(key: int, total: int, steps: int, draw: random.Random) -> list[tuple[float, int, float]]:
    """A bar of one hand percussion instrument: on beats, off beats, all steps, or some; one that rings is struck once."""
    if key in RINGING:
        return [(draw.choice(range(0, total, steps)), key, draw.uniform(60, 110))]
    every = draw.choice((steps, 2, 1, 0))
    if every:
        first = draw.randrange(every)
        return [(at, key, draw.uniform(70, 95) - 25 * (at % steps > 0)) for at in range(first, total, every)]
    return [(at, key, draw.uniform(50, 110)) for at in range(total) if draw.random() < 0.3]
