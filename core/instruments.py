"""General MIDI's 128 programs: their names in m2m, and which trained instrument stands in for one that was not trained."""

from __future__ import annotations

from collections.abc import Mapping

import pretty_midi

# The reference system's ten instruments (0-based program -> name); the program within a family is our choice.
REFERENCE = {
    0: "grand-piano",
    4: "electric-piano",
    11: "vibraphone",
    19: "church-organ",
    24: "acoustic-guitar",
    45: "pizzicato-strings",
    46: "orchestral-harp",
    48: "string-ensemble",
    56: "trumpet",
    80: "synth-lead",
}

# For every program the reference instrument that sounds most like it, by how the tone begins, holds and fades: first
# program of the run, instrument. A run ends where the next begins.
_RUNS = (
    (0, "grand-piano"),
    (4, "electric-piano"),
    (6, "acoustic-guitar"),  # harpsichord, clavinet: plucked
    (8, "vibraphone"),  # chromatic percussion
    (15, "acoustic-guitar"),  # dulcimer
    (16, "church-organ"),  # organs, accordion, harmonica
    (24, "acoustic-guitar"),  # guitars
    (29, "synth-lead"),  # overdriven and distorted guitar
    (31, "acoustic-guitar"),  # harmonics, basses
    (38, "synth-lead"),  # synth basses
    (40, "string-ensemble"),  # bowed strings
    (45, "pizzicato-strings"),
    (46, "orchestral-harp"),
    (47, "grand-piano"),  # timpani
    (48, "string-ensemble"),  # ensembles and choirs
    (55, "trumpet"),  # orchestra hit, brass
    (62, "synth-lead"),  # synth brass
    (64, "trumpet"),  # reeds
    (72, "church-organ"),  # pipes
    (80, "synth-lead"),
    (88, "string-ensemble"),  # pads and effects
    (104, "acoustic-guitar"),  # sitar, banjo, shamisen, koto
    (108, "vibraphone"),  # kalimba
    (109, "church-organ"),  # bagpipe
    (110, "string-ensemble"),  # fiddle
    (111, "trumpet"),  # shanai
    (112, "vibraphone"),  # tuned percussion
    (119, "synth-lead"),  # sound effects
)


def program_name(program: int) -> str:
    """The name of a General MIDI program, 0..127.

    >>> program_name(56), program_name(40)
    ('trumpet', 'violin')
    """
    if program in REFERENCE:
        return REFERENCE[program]
    words = "".join(c if c.isalnum() else " " for c in pretty_midi.program_to_instrument_name(program).lower()).split()
    return "-".join(words)


def nearest_instrument(program: int, trained: Mapping[str, int]) -> str:
    """The trained instrument (name -> program) that stands in for a program.

    The program itself if it was trained, else the one of our table, else the trained program of the nearest number, since
    General MIDI orders its programs by family.

    >>> nearest_instrument(40, {"trumpet": 56, "string-ensemble": 48})
    'string-ensemble'
    """
    names = {number: name for name, number in trained.items()}
    if program in names:
        return names[program]
    alike = next(name for first, name in reversed(_RUNS) if first <= program)
    if alike in trained:
        return alike
    return names[min(names, key=lambda number: (abs(number - program), number))]
