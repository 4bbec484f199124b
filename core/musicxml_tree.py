"""What music21 does not read of a MusicXML tree, put into it as words that it carries, through repeats too.

Such words are directions that begin with MARK: "program 40" where a note's instrument changes, "control 64 127" where a pedal
goes down. Cue notes, which show what another part plays, become rests; drum notes get the key of their instrument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement

from m2m.core.musicxml import damaged

MARK = "\ue000"  # of Unicode's private use area: no score has it
STEPS = (*("C0", "C1", "D0", "D1", "E0", "F0"), *("F1", "G0", "G1", "A0", "A1", "B0"))  # a key's step, and sharp or not
DIATONIC = (0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6)  # steps of an interval of so many semitones
SUSTAIN, SOSTENUTO = 64, 66
PEDALS = {"start": (127,), "resume": (127,), "stop": (0,), "discontinue": (0,), "change": (0, 127)}
NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE]\+?[0-9]+)?")
MOST = {  # of what music21 would count up to or make lists of
    **{
        "beats": 128,
        "beat-type": 1024,
        "staves": 64,
        "actual-notes": 1000,
        "normal-notes": 1000,
        "multiple-rest": 10_000,
    },
    **{"octave": 20, "octave-change": 20, "clef-octave-change": 20, "alter": 20, "chromatic": 200, "diatonic": 200},
    **{"fifths": 20, "divisions": 1_000_000, "duration": 1_000_000_000, "tremolo": 16, "staff-lines": 100, "staff": 64},
    **{
        "display-octave": 20,
        "measure-repeat": 1000,
        "line": 100,
        "string": 1000,
        "fret": 1000,
        "per-minute": 1_000_000,
        "ending": 128,
    },
}
JUMPS = ("dacapo", "dalsegno", "tocoda", "fine")


@dataclass
class Facts:
    """What is known of a tree.

    notes: that sound. drums: ids of the parts that are drums. jumps: whether a <sound> jumps (da capo and the like).
    """

    notes: int = 0
    drums: set[str] = field(default_factory=set)
    jumps: bool = False


def prepare(root: Element) -> Facts:
    """Put into the tree what music21 would not read of it. Raises M2MError for numbers that no music has."""
    _refuse_numbers(root)
    facts = Facts(jumps=any(sound.get(jump) for sound in root.iter("sound") for jump in JUMPS))
    listed = {part.get("id", ""): _Instruments(part) for part in root.iter("score-part")}
    for part in root.findall("part"):
        key = part.get("id", "")
        instruments = listed.get(key) or _Instruments(Element("score-part"))
        notes = list(part.iter("note"))
        unpitched = any(note.find("unpitched") is not None for note in notes)
        if instruments.on_drums or (unpitched and all(note.find("pitch") is None for note in notes)):
            facts.drums.add(key)
        for transpose in part.iter("transpose"):
            _with_diatonic(transpose)
        if any(staves.text != "1" for staves in part.iter("staves")):
            for note in (note for note in notes if note.find("staff") is None):
                SubElement(note, "staff").text = "1"  # as the standard has it; music21 would lose the note
        for measure in part.findall("measure"):
            if key in facts.drums:
                _drum_keys(measure, instruments)
            _silence_cues(measure)
            _mark(measure, instruments)
        facts.notes += sum(
            note.find("pitch") is not None or note.find("unpitched") is not None for note in part.iter("note")
        )
    return facts


def _refuse_numbers(root: Element) -> None:
    for element in root.iter():
        text = (element.get("number") if element.tag == "ending" else element.text) or ""
        most = MOST.get(element.tag)
        if most and any(float(number) > most for number in NUMBER.findall(text)):
            raise damaged(f"its <{element.tag}> is {text.strip()[:40]}")


class _Instruments:
    """A <score-part>'s instruments by id, and the one that plays where the tree is read just now."""

    def __init__(self, part: Element) -> None:
        self.programs: dict[str, int] = {}
        self.keys: dict[str, int] = {}
        self.now = ""
        self.on_drums = False
        self.pedals: dict[str, int] = {}  # number of a pedal that is down -> its controller
        for instrument in part.findall("midi-instrument"):
            key = instrument.get("id", "")
            self.now = self.now or key
            self.on_drums = self.on_drums or instrument.findtext("midi-channel", "").strip() == "10"
            self.set_program(instrument)
            unpitched = _number(instrument.findtext("midi-unpitched"))
            if unpitched is not None:
                self.keys[key] = unpitched

    def set_program(self, instrument: Element) -> None:
        """Of a <midi-instrument>, which may stand in the music as well."""
        program = _number(instrument.findtext("midi-program"))
        if program is not None:
            self.programs[instrument.get("id", "")] = program


def _number(text: str | None) -> int | None:
    """MusicXML's numbers from 1 to 128 as MIDI's from 0 to 127."""
    text = (text or "").strip()
    return int(text) - 1 if text.isascii() and text.isdecimal() and 1 <= int(text[:4]) <= 128 else None


def _with_diatonic(transpose: Element) -> None:
    """A transposition's <diatonic> may be missing; music21 needs it."""
    if transpose.find("diatonic") is None:
        try:
            semitones = round(float(transpose.findtext("chromatic", "0")))
        except (ValueError, OverflowError):
            return  # music21 says that it makes no sense
        octaves, rest = divmod(abs(semitones), 12)
        steps = (7 * octaves + DIATONIC[rest]) * (1 if semitones >= 0 else -1)
        diatonic = Element("diatonic")
        diatonic.text = str(steps)
        transpose.insert(0, diatonic)


def _drum_keys(measure: Element, instruments: _Instruments) -> None:
    for note in measure.findall("note"):
        whose, unpitched = note.find("instrument"), note.find("unpitched")
        key = instruments.keys.get(whose.get("id", "") if whose is not None else instruments.now)
        if unpitched is None or key is None:
            continue
        step, alter = STEPS[key % 12][0], STEPS[key % 12][1]
        unpitched.clear()
        unpitched.tag = "pitch"
        for tag, text in (("step", step), ("alter", alter), ("octave", str(key // 12 - 1))):
            SubElement(unpitched, tag).text = text


def _silence_cues(measure: Element) -> None:
    for note in measure.findall("note"):
        if note.find("cue") is None:
            continue
        if note.find("chord") is not None:
            measure.remove(note)
            continue
        for tag in ("grace", "pitch", "unpitched", "rest", "tie", "notations"):
            for child in note.findall(tag):
                note.remove(child)
        note.insert(0, Element("rest"))


def _mark(measure: Element, instruments: _Instruments) -> None:
    """Insert words before the notes at which the instrument changes, and after the directions that move a pedal."""
    known = ""  # since when a backup has not gone back in time
    if len(instruments.programs) == 1:
        known = instruments.now
    children: list[Element] = []
    for child in list(measure):
        sounds = [child] if child.tag == "sound" else child.findall("sound")
        if child.tag == "backup" and len(instruments.programs) > 1:
            known = ""
        if child.tag == "note" and child.find("chord") is None:
            whose = child.find("instrument")
            instruments.now = whose.get("id", "") if whose is not None else instruments.now
            if instruments.now != known and instruments.now in instruments.programs:
                children.append(_words(f"program {instruments.programs[instruments.now]}"))
                known = instruments.now
        children.append(child)
        for instrument in (found for sound in sounds for found in sound.findall("midi-instrument")):
            instruments.set_program(instrument)
            known = ""
        for number, value in (*_pedals(child, instruments), *_pedal_sounds(sounds)):
            children.append(_words(f"control {number} {value}", child))
    measure[:] = children


def _pedals(direction: Element, instruments: _Instruments) -> Iterator[tuple[int, int]]:
    for pedal in direction.findall("direction-type/pedal"):
        number, kind = pedal.get("number", "1"), pedal.get("type", "")
        if kind == "sostenuto":
            instruments.pedals[number], kind = SOSTENUTO, "start"
        controller = instruments.pedals.get(number, SUSTAIN)
        yield from ((controller, value) for value in PEDALS.get(kind, ()))
        if kind == "stop":
            instruments.pedals.pop(number, None)


def _pedal_sounds(sounds: list[Element]) -> Iterator[tuple[int, int]]:
    """Of <sound damper-pedal="yes">; half a pedal, in percent, counts from 50 on."""
    for sound in sounds:
        for name, controller in (("damper-pedal", SUSTAIN), ("sostenuto-pedal", SOSTENUTO)):
            if value := sound.get(name):
                down = value == "yes" or (value.isascii() and value.isdecimal() and int(value[:4]) >= 50)
                yield controller, 127 if down else 0


def _words(text: str, beside: Element | None = None) -> Element:
    """A direction of words, where `beside` stands."""
    direction = Element("direction")
    SubElement(SubElement(direction, "direction-type"), "words").text = MARK + text
    for tag in ("offset", "voice", "staff"):
        found = beside.find(tag) if beside is not None else None
        if found is not None:
            SubElement(direction, tag).text = found.text
    return direction
