"""General MIDI's instruments: their numbers and names in m2m, and which trained one stands in for one that was not trained.

An instrument's number is its program, 0..127; a drum kit's is 128 and the kit's program, as in bank 128 of a SoundFont.
"""

from __future__ import annotations

from collections.abc import Mapping

FIRST_KIT = 128
# Kit program -> name, as Roland's GS has them. A kit that is not here is a variation of the one before it.
KITS = {
    0: "standard-kit",
    8: "room-kit",
    16: "power-kit",
    24: "electronic-kit",
    25: "tr-808-kit",
    32: "jazz-kit",
    40: "brush-kit",
    48: "orchestra-kit",
    56: "sound-effects-kit",
}
FAMILIES = (
    "piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass", "reed", "pipe",
    "synth lead", "synth pad", "synth effects", "ethnic", "percussive", "sound effects", "drum kits",
)  # fmt: skip  # of eight programs each
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


def is_kit(number: int) -> bool:
    """Whether an instrument's number is a drum kit's."""
    return number >= FIRST_KIT


def family(number: int) -> str:
    """The General MIDI family of an instrument.

    >>> family(40), family(128)
    ('strings', 'drum kits')
    """
    return FAMILIES[min(number, FIRST_KIT) // 8]


def program_name(number: int) -> str:
    """The name of an instrument, 0..255.

    >>> program_name(56), program_name(40), program_name(128), program_name(129)
    ('trumpet', 'violin', 'standard-kit', 'standard-kit-1')
    """
    if is_kit(number):
        kit, variation = _kit(number), number - FIRST_KIT - _kit(number)
        return f"{KITS[kit]}-{variation}" if variation else KITS[kit]
    if number in REFERENCE:
        return REFERENCE[number]
    import pretty_midi  # takes a tenth of a second, which few commands need

    words = "".join(c if c.isalnum() else " " for c in pretty_midi.program_to_instrument_name(number).lower()).split()
    return "-".join(words)


def nearest_instrument(number: int, trained: Mapping[str, int]) -> str | None:
    """The trained instrument (name -> number) that stands in for one.

    The instrument itself if it was trained, else the one of our table, else the trained one of the nearest number, since
    General MIDI orders its programs by family. Kits stand in for kits only, and nothing else does: None where none was trained.

    >>> nearest_instrument(40, {"trumpet": 56, "string-ensemble": 48})
    'string-ensemble'
    >>> nearest_instrument(130, {"trumpet": 56, "standard-kit": 128})
    'standard-kit'
    """
    names = {other: name for name, other in trained.items() if is_kit(other) == is_kit(number)}
    if number in names or not names:
        return names.get(number)
    if is_kit(number):
        return names.get(FIRST_KIT + _kit(number), names[min(names)])
    alike = next(name for first, name in reversed(_RUNS) if first <= number)
    if trained.get(alike) in names:
        return alike
    return names[min(names, key=lambda other: (abs(other - number), other))]


def _kit(number: int) -> int:
    """The program of the kit that an instrument is, or is a variation of."""
    return max(program for program in KITS if program <= number - FIRST_KIT)
