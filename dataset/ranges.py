"""What each General MIDI program plays in music: its keys, whether it plays one voice, its lengths.

Data sets are made from piano music. A glockenspiel's bass notes and a flute's chords teach a model little about either.
`idiomatic` makes piano music a part for a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from m2m.core.notes import HIGHEST_KEY, LOWEST_KEY, NoteArray, hold, in_order

Voice = Literal["all", "top", "bass"]
TOGETHER = 0.04  # seconds within which the notes of a chord are struck


@dataclass(frozen=True)
class Idiom:
    """How a program is played.

    lowest, highest: MIDI keys. voice: what it takes of a piece: every note, or the highest or lowest at a time.
    slower: by what factor than the piano. longest: seconds of a note.
    """

    lowest: int = LOWEST_KEY
    highest: int = HIGHEST_KEY
    voice: Voice = "all"
    slower: float = 1.0
    longest: float = np.inf

    def fold(self, keys: NDArray[np.int32]) -> NDArray[np.int32]:
        """Keys, those beyond the program's moved by the octaves that they need.

        keys: (n,) int. Returned is the same shape.

        >>> Idiom(60, 84).fold(np.array([50, 60, 97])).tolist()
        [62, 60, 73]
        """
        raised = keys + 12 * (np.maximum(0, self.lowest - keys + 11) // 12)
        return raised - 12 * (np.maximum(0, raised - self.highest + 11) // 12)


# By the first program of a run, which ends where the next begins. Keys are those that the General MIDI 2 specification recommends
# for the program (where it has none, those of the instrument in orchestration), within the piano's. Struck and plucked sounds
# that fade by themselves are written short, pads long.
_IDIOMS = {
    0: Idiom(21, 108),  # pianos
    4: Idiom(28, 103),  # electric pianos
    6: Idiom(41, 89, longest=1.5),  # harpsichord
    7: Idiom(36, 96, longest=1.5),  # clavinet
    8: Idiom(60, 108, longest=1.5),  # celesta
    9: Idiom(72, 108, longest=1.0),  # glockenspiel
    10: Idiom(60, 84, longest=1.5),  # music box
    11: Idiom(53, 89, longest=3.0),  # vibraphone
    12: Idiom(48, 84, longest=0.5),  # marimba
    13: Idiom(65, 96, longest=0.3),  # xylophone
    14: Idiom(60, 77, slower=1.5, longest=3.0),  # tubular bells
    15: Idiom(60, 84, longest=1.0),  # dulcimer
    16: Idiom(36, 96),  # organs
    19: Idiom(21, 108),  # church organ
    20: Idiom(36, 96),  # reed organ
    21: Idiom(53, 89),  # accordion
    22: Idiom(60, 84, "top"),  # harmonica
    23: Idiom(53, 89),  # tango accordion
    24: Idiom(40, 84),  # acoustic guitars
    26: Idiom(40, 86),  # electric guitars
    28: Idiom(40, 86, longest=0.4),  # muted guitar
    29: Idiom(40, 86),  # overdriven, distorted
    31: Idiom(40, 86, longest=2.0),  # harmonics
    32: Idiom(28, 55, "bass"),  # basses
    40: Idiom(55, 96, "top"),  # violin
    41: Idiom(48, 84, "top"),  # viola
    42: Idiom(36, 72, "bass"),  # cello
    43: Idiom(28, 55, "bass"),  # contrabass
    44: Idiom(28, 96),  # tremolo strings
    45: Idiom(28, 96, longest=0.5),  # pizzicato
    46: Idiom(23, 103),  # harp
    47: Idiom(36, 57, "bass", longest=1.5),  # timpani
    48: Idiom(28, 96),  # string ensembles
    50: Idiom(36, 96),  # synth strings
    52: Idiom(48, 79),  # choirs
    54: Idiom(48, 84),  # synth voice
    55: Idiom(48, 72, slower=1.5, longest=0.5),  # orchestra hit
    56: Idiom(58, 94, "top"),  # trumpet
    57: Idiom(34, 75, "top"),  # trombone
    58: Idiom(29, 55, "bass"),  # tuba
    59: Idiom(58, 82, "top"),  # muted trumpet
    60: Idiom(41, 77),  # horns
    61: Idiom(36, 96),  # brass section, synth brass
    64: Idiom(54, 87, "top"),  # soprano saxophone
    65: Idiom(49, 80, "top"),  # alto
    66: Idiom(42, 75, "top"),  # tenor
    67: Idiom(37, 68, "bass"),  # baritone
    68: Idiom(58, 91, "top"),  # oboe
    69: Idiom(52, 81, "top"),  # cor anglais
    70: Idiom(34, 64, "bass"),  # bassoon
    71: Idiom(50, 91, "top"),  # clarinet
    72: Idiom(74, 108, "top"),  # piccolo
    73: Idiom(60, 96, "top"),  # flute, recorder, pan flute, bottle
    77: Idiom(55, 84, "top"),  # shakuhachi
    78: Idiom(60, 96, "top"),  # whistle
    79: Idiom(60, 84, "top"),  # ocarina
    80: Idiom(36, 96, "top"),  # leads
    86: Idiom(36, 96),  # fifths
    87: Idiom(28, 84, "bass"),  # bass and lead
    88: Idiom(36, 96, slower=2.5),  # pads
    96: Idiom(36, 96, slower=2.0),  # synth effects
    98: Idiom(48, 96),  # crystal
    99: Idiom(36, 96, slower=2.0),
    104: Idiom(48, 77),  # sitar
    105: Idiom(48, 84, longest=1.0),  # banjo
    106: Idiom(50, 79, longest=1.0),  # shamisen
    107: Idiom(55, 84),  # koto
    108: Idiom(48, 79, longest=1.0),  # kalimba
    109: Idiom(36, 77, "top"),  # bagpipe
    110: Idiom(55, 96, "top"),  # fiddle
    111: Idiom(48, 72, "top"),  # shanai
    112: Idiom(72, 84, longest=1.0),  # tinkle bell
    113: Idiom(60, 72, "top", longest=0.3),  # agogo
    114: Idiom(52, 76, longest=1.0),  # steel drums
    115: Idiom(48, 84, "top", longest=0.2),  # woodblock
    116: Idiom(36, 72, "bass", longest=0.5),  # taiko, toms, synth drum
    119: Idiom(36, 84, "top", slower=2.5),  # reverse cymbal, noises and effects
}
_FIRST = sorted(_IDIOMS)


def idiom(program: int) -> Idiom:
    """How a program, 0..127, is played.

    >>> idiom(74).lowest, idiom(74).highest, idiom(74).voice  # recorder
    (60, 96, 'top')
    """
    return _IDIOMS[_FIRST[int(np.searchsorted(_FIRST, program, side="right")) - 1]]


def idiomatic(notes: NoteArray, program: int) -> NoteArray:
    """Piano music as a part for a program: its voice, in its keys, at its pace.

    The music is moved by the octaves that bring its middle nearest to the middle of the program's keys, and notes that are
    still beyond these by the octaves that they need.

    notes: (notes,) in the order of their onsets, seconds. Returned: (notes,) likewise, the first where it was; at most as many.
    """
    if not len(notes):
        return notes
    how = idiom(program)
    part = notes.copy() if how.voice == "all" else one_voice(notes, how.voice)
    first = float(part["start"][0])
    for edge in ("start", "end"):
        part[edge] = first + (part[edge] - first) * how.slower
    part["end"] = np.minimum(part["end"], part["start"] + how.longest)
    middle = (how.lowest + how.highest) / 2
    part["pitch"] += 12 * round((middle - float(np.median(part["pitch"]))) / 12)
    part["pitch"] = how.fold(part["pitch"])
    return hold(in_order(part), [], 0.0)


def one_voice(notes: NoteArray, voice: Voice) -> NoteArray:
    """The highest ("top") or lowest note ("bass") of each chord, and each until the next begins.

    notes: (notes,) in the order of their onsets. Returned: (notes,), writeable.
    """
    kept: list[int] = []
    for index in range(len(notes)):
        if not kept or notes["start"][index] - notes["start"][kept[-1]] > TOGETHER:
            kept.append(index)
        elif (notes["pitch"][index] > notes["pitch"][kept[-1]]) == (voice == "top"):
            kept[-1] = index
    line = notes[kept]
    line["end"][:-1] = np.minimum(line["end"][:-1], line["start"][1:])
    return line
