"""The tree of a MusicXML score as MIDI events, by music21 (`pip install 'm2m[musicxml]'`).

music21 reads durations, ties, voices, staves, transpositions, tempi and instruments, and plays repeats out. What it makes of them
becomes events of the kind that core/midi.py reads from a MIDI file, without its own way to MIDI, in which parts of one program
share a channel and cut each other's notes, and a grace note's end comes before its beginning.

A part has a channel of its own, whose staves share it. The part's notes of one key that overlap (two voices in unison) are one
note. Grace notes stand before their beat, one GRACE each, or less where there is less room.
"""

from __future__ import annotations

import copy
import re
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from m2m.core.errors import M2MError
from m2m.core.midi import LeftOut, MidiEvents
from m2m.core.musicxml_tree import MARK, Facts, prepare
from m2m.core.score_limits import Limits

DIVISION = 10_080  # ticks a quarter: all tuplets of up to 10 come out whole, down to 1/32
GRACE = DIVISION // 8  # ticks of a grace note: 62 ms at 120 quarters a minute
DRUMS = 9  # channel 10, counted from 0
VELOCITY = 80  # of notes without a dynamic mark, as mf
MARKS = {  # velocities of dynamic marks, 16 apart
    **{"pppppp": 1, "ppppp": 5, "pppp": 10, "ppp": 16, "pp": 33, "p": 49, "mp": 64, "mf": 80, "n": 1},
    **{"f": 96, "ff": 112, "fff": 126, "ffff": 127, "fffff": 127, "ffffff": 127},
}
ACCENTS = ("sf", "sfp", "sfpp", "fp", "rf", "rfz", "sfz", "sffz", "fz", "pf", "sfzp")  # of the notes at the mark alone
ACCENT = {"Accent": 1.2, "StrongAccent": 1.4}  # articulation -> times the velocity
# The order of what happens in one tick: a pedal that goes down with a note does not hold the one before.
INSTRUMENT, PROGRAM, PEDAL_UP, RELEASE, PEDAL_DOWN, STRIKE = range(6)
NOT_PLAYED = {  # music21's class -> what is said of it
    **dict.fromkeys(("Staccato", "Staccatissimo", "Spiccato"), "staccato notes sound at full length"),
    **dict.fromkeys(
        ("Trill", "Mordent", "InvertedMordent", "Turn", "InvertedTurn", "Shake", "Schleifer", "TrillExtension"),
        "ornaments are left out",
    ),
    **dict.fromkeys(("Tremolo", "TremoloSpanner"), "tremolos are left out"),
    **dict.fromkeys(("ArpeggioMark", "ArpeggioMarkSpanner"), "arpeggios sound at once"),
    **dict.fromkeys(("Crescendo", "Diminuendo"), "hairpins are left out"),
    "Fermata": "fermatas are not held",
    "Glissando": "glissandi are left out",
}


def read_events(root: Element, limits: Limits) -> MidiEvents:
    """What a score's tree says, as events. The messages of errors name no file.

    Raises M2MError where music21 is not installed, where it cannot make sense of the tree, and for more than `limits` allow.
    """
    try:
        from music21.exceptions21 import Music21Exception
        from music21.musicxml.xmlToM21 import MusicXMLImporter
    except ImportError as error:
        raise M2MError("is a MusicXML file, for which music21 is needed: pip install 'm2m[musicxml]'.") from error
    facts = prepare(root)
    importer = MusicXMLImporter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own doubts; what it does not play is told by `left_out`
            importer.xmlRootToScore(root, importer.stream)
            importer.stream.toSoundingPitch(inPlace=True)
            struck = filter(_sounds, importer.stream.recurse())
            read = sum(len(element.notes) if "ChordBase" in element.classSet else 1 for element in struck)
            score, remarks = _with_repeats(importer.stream, facts)
            if read != facts.notes:
                remarks.append(f"of its {facts.notes:,} notes music21 reads {read:,}")
            return _Writer(score, facts, remarks, limits).events()
    except (M2MError, MemoryError):
        raise
    except Exception as error:  # music21 raises whatever a field that makes no sense leads it to
        kind = "" if isinstance(error, Music21Exception) else f"{type(error).__name__}: "
        what = " ".join(f"{kind}{error}".split())[:200]
        raise M2MError(f"it is a MusicXML file that music21 cannot read ({what}); export it again.") from error


def _sounds(element: Any) -> bool:
    """Whether it is a note or a chord; chord symbols are music21 chords too."""
    return "NotRest" in element.classSet and "Harmony" not in element.classSet


def _with_repeats(score: Any, facts: Facts) -> tuple[Any, list[str]]:
    """The score with its repeats, voltas, da capo and dal segno played out, or as it stands, and what is to be said of that."""
    from music21.repeat import ExpanderException, RepeatExpressionCommand, RepeatMark
    from music21.stream import Measure

    if facts.jumps and not score.recurse().getElementsByClass(RepeatExpressionCommand):
        return score, ["its da capo or dal segno is not in words that are understood; it is played as it stands"]
    if not score.recurse().getElementsByClass(RepeatMark):
        return score, []
    _restate(score)
    try:
        played = score.expandRepeats()
    except ExpanderException:
        return score, ["its repeats make no sense; it is played as it stands, once"]
    if len({len(part.getElementsByClass(Measure)) for part in played.parts}) > 1:
        return score, ["its repeats differ from part to part; it is played as it stands, once"]
    return played, []


def _restate(score: Any) -> None:
    """Write the tempo and the dynamics that hold at a measure's beginning there: a repeat goes back to these as well."""
    from music21.stream import Measure

    parts = [list(part.getElementsByClass(Measure)) for part in score.parts]
    for measures in parts:
        _restate_marks([[measure] for measure in measures], "Dynamic")
    if parts and len({len(measures) for measures in parts}) == 1:  # a tempo is of all parts, whichever it stands in
        _restate_marks([list(column) for column in zip(*parts, strict=True)], "MetronomeMark")


def _restate_marks(columns: Sequence[Sequence[Any]], kind: str) -> None:
    """columns: the measures that sound together, one column after the other. A restated mark stands in the first of each."""
    holds = None
    for measures in columns:
        marks = [(mark.getOffsetInHierarchy(measure), mark) for measure in measures for mark in measure[kind]]
        marks = [(at, mark) for at, mark in marks if kind != "Dynamic" or mark.value in MARKS]
        if holds is not None and all(at for at, _ in marks):
            measures[0].insert(0, copy.deepcopy(holds))
        if marks:
            holds = max(marks, key=lambda found: found[0])[1]


@dataclass(order=True)
class _Note:
    """A note on its way. start, end: ticks. tied: it goes on what ended where it starts."""

    start: int
    end: int
    key: int
    velocity: int = field(compare=False)
    tied: bool = field(compare=False)


class _Writer:
    """Writes a music21 score's events, part by part."""

    def __init__(self, score: Any, facts: Facts, remarks: list[str], limits: Limits) -> None:
        self.score, self.facts, self.remarks, self.limits = score, facts, remarks, limits
        self.rows: list[tuple[int, int, int, int, int, int]] = []  # tick, rank, track, channel with port, status, data
        self.names: dict[int, bytes] = {}
        self.tempi: dict[int, float] = {}
        self.meters: dict[int, tuple[int, int]] = {}
        self.found: dict[str, list[int]] = {}  # what is not played -> ticks
        self.pitched = self.drums = self.notes = 0

    def events(self) -> MidiEvents:
        for track, (key, staves) in enumerate(self._parts().items()):
            self._part(track, staves, key in self.facts.drums)
        rows = np.array(sorted(self.rows), np.int64).reshape(-1, 6)
        rows = rows[np.argsort(rows[:, 2], kind="stable")]  # track after track, each in time
        if not len(rows):
            raise M2MError("has no notes.")
        return MidiEvents(
            division=DIVISION,
            frame_rate=0.0,
            tick=rows[:, 0],
            track=rows[:, 2],
            port=rows[:, 3] // 16,
            status=rows[:, 4] | rows[:, 3] % 16,
            data1=rows[:, 5] >> 8,
            data2=rows[:, 5] & 0xFF,
            sysex=[],
            tempi=[(tick, round(6e7 / bpm)) for tick, bpm in sorted(self.tempi.items())],
            meters=self._changed_meters(),
            names=self.names,
            end=int(rows[:, 0].max()),
            remarks=self.remarks,
            left_out=[
                LeftOut("notation", len(ticks), f"{what}: {len(ticks)}", min(ticks))
                for what, ticks in self.found.items()
            ],
        )

    def _parts(self) -> dict[str, list[Any]]:
        """The staves of each part, by its id, which music21 keeps as a group, with "-Staff1" behind it of several."""
        parts: dict[str, list[Any]] = {}
        for part in self.score.parts:
            key = str(part.groups[0])
            parts.setdefault(re.sub(r"-Staff\d+$", "", key) if "PartStaff" in part.classSet else key, []).append(part)
        return parts

    def _part(self, track: int, staves: Sequence[Any], is_drum: bool) -> None:
        flat = [staff.flatten() for staff in staves]
        marks = [_marks(staff) for staff in flat]
        every = sorted(mark for staff_marks in marks for mark in staff_marks)
        pitched: list[_Note] = []
        drums: list[_Note] = []
        moves: list[tuple[int, int, int, int]] = []  # tick, rank, status, data
        for staff, own in zip(flat, marks, strict=True):
            for element in staff:
                at, kinds = _ticks(staff.elementOffset(element)), element.classSet
                if "Instrument" in kinds and element.midiProgram is not None:
                    moves.append((at, INSTRUMENT, 0xC0, element.midiProgram << 8))
                elif "TextExpression" in kinds and element.content.startswith(MARK):
                    moves.append(_move(at, element.content))
                elif _sounds(element):
                    alone = is_drum or "Unpitched" in kinds or "PercussionChord" in kinds
                    (drums if alone else pitched).extend(self._struck(element, at, own or every))
                elif "MetronomeMark" in kinds and (bpm := element.getQuarterBPM()):
                    self._tempo(at, float(bpm))
                elif "TimeSignature" in kinds:
                    self._meter(at, element)
            self._not_played(staff)
        name = staves[0].partName or next((i.instrumentName for i in flat[0]["Instrument"] if i.instrumentName), "")
        self.names[track] = str(name or "").encode()
        if pitched:
            channel = self._channel()
            self.rows += [(at, rank, track, channel, status, data) for at, rank, status, data in moves]
            self._notes(track, channel, pitched)
        if drums:
            self._notes(track, 16 * self.drums + DRUMS, drums)
            self.drums += 1

    def _channel(self) -> int:
        """The next channel that is not the drums', with its port: 15 of them a port."""
        port, channel = divmod(self.pitched, 15)
        self.pitched += 1
        return 16 * port + channel + (channel >= DRUMS)

    def _struck(self, element: Any, at: int, marks: Sequence[tuple[int, str]]) -> Iterator[_Note]:
        """The notes of a note or chord; a grace note has no length yet."""
        length = 0 if element.duration.isGrace else _ticks(element.duration.quarterLength)
        velocity = _velocity(element, at, marks)
        members = element.notes if "ChordBase" in element.classSet else [element]
        for member in members:
            tie = member.tie or element.tie
            scalar = member.volume.velocityScalar  # of the note's attribute `dynamics`
            struck = velocity if scalar is None else max(1, min(127, round(scalar * 127)))
            key = member.pitch.midi if "Note" in member.classSet else member.displayPitch().midi
            if "Note" in member.classSet and not member.pitch.isTwelveTone():
                self.found.setdefault("microtones sound at the nearest key", []).append(at)
            yield _Note(at, at + length, key, struck, bool(tie and tie.type in ("stop", "continue")))
        self.notes += len(members)
        self.limits.refuse("notes", self.notes, "notes or more, repeats played out")

    def _notes(self, track: int, channel: int, notes: list[_Note]) -> None:
        for note in _joined(_with_graces(notes)):
            if 0 <= note.key <= 127:
                self.rows.append((note.start, STRIKE, track, channel, 0x90, note.key << 8 | note.velocity))
                self.rows.append((note.end, RELEASE, track, channel, 0x80, note.key << 8))

    def _tempo(self, at: int, bpm: float) -> None:
        if not 1 <= bpm <= 10_000:
            raise M2MError(f"it has a tempo of {bpm:g} quarter notes a minute; mend it.")
        self.tempi.setdefault(at, bpm)

    def _meter(self, at: int, signature: Any) -> None:
        top, bottom = signature.numerator, signature.denominator
        if 0 < top < 256 and 0 < bottom < 256:
            self.meters.setdefault(at, (int(top), int(bottom)))

    def _changed_meters(self) -> list[tuple[int, int, int]]:
        """(tick, numerator, denominator) of each change: a repeat writes its own once more."""
        meters = [(tick, *meter) for tick, meter in sorted(self.meters.items())]
        return [meter for before, meter in zip([(0, 0, 0), *meters], meters, strict=False) if meter[1:] != before[1:]]

    def _not_played(self, staff: Any) -> None:
        """Notation of this staff that is not played: what it is, and where."""
        for element in staff.notes:
            at = _ticks(staff.elementOffset(element))
            for sign in (*element.expressions, *element.articulations):
                if what := NOT_PLAYED.get(type(sign).__name__):
                    self.found.setdefault(what, []).append(at)
            for spanner in element.getSpannerSites():
                if (what := NOT_PLAYED.get(type(spanner).__name__)) and spanner.isFirst(element):
                    self.found.setdefault(what, []).append(at)


def _ticks(quarters: Any) -> int:
    return round(quarters * DIVISION)


def _move(at: int, words: str) -> tuple[int, int, int, int]:
    """(tick, rank, status, data) of what core/musicxml_tree.py has put into words."""
    kind, *numbers = words.removeprefix(MARK).split()
    if kind == "program":
        return at, PROGRAM, 0xC0, int(numbers[0]) << 8
    controller, value = map(int, numbers)
    return at, PEDAL_DOWN if value else PEDAL_UP, 0xB0, controller << 8 | value


def _marks(staff: Any) -> list[tuple[int, str]]:
    """(tick, mark) of a staff's dynamics, in time."""
    return sorted((_ticks(staff.elementOffset(mark)), str(mark.value)) for mark in staff["Dynamic"])


def _velocity(element: Any, at: int, marks: Sequence[tuple[int, str]]) -> int:
    """The velocity of a note by the last dynamic mark before it, if any, and its accents."""
    before = marks[: bisect_right(marks, (at, "\uffff"))]
    velocity = next((MARKS[mark] for _, mark in reversed(before) if mark in MARKS), VELOCITY)
    if any(tick == at and mark in ACCENTS for tick, mark in before[-2:]):
        velocity = max(velocity, MARKS["ff"])
    accent = max((ACCENT.get(type(sign).__name__, 1.0) for sign in element.articulations), default=1.0)
    return min(127, round(velocity * accent))


def _with_graces(notes: list[_Note]) -> list[_Note]:
    """Grace notes get their length: those of one beat come one after the other and end on it."""
    graces: dict[int, list[_Note]] = {}
    for note in notes:
        if note.end == note.start:
            graces.setdefault(note.start, []).append(note)
    for beat, group in graces.items():
        length = min(GRACE, beat // len(group))
        for number, note in enumerate(group):
            if length:
                note.start, note.end = beat - (len(group) - number) * length, beat - (len(group) - number - 1) * length
            else:  # a piece that begins with them
                note.end = note.start + GRACE
    return notes


def _joined(notes: list[_Note]) -> list[_Note]:
    """Notes of one key in order of time: tied ones as one, and those that overlap too."""
    done: list[_Note] = []
    last: dict[int, _Note] = {}
    for note in sorted(notes):
        before = last.get(note.key)
        if before and ((note.tied and note.start == before.end) or note.start == before.start):
            before.end = max(before.end, note.end)
            continue
        if before and note.start < before.end:  # struck anew while it sounds: it sounds on as long as either
            note.end, before.end = max(note.end, before.end), note.start
        last[note.key] = note
        done.append(note)
    return done
