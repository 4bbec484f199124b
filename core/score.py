"""A score: notes in seconds, track by track, with all that a performer does to them, and what of it will not sound.

A MIDI file's bytes become events (core/midi.py), events become notes of channels (core/channels.py), and these become a Score:
small and immutable. The tempo map makes ticks seconds; pedals are in the notes' ends; volume and expression are a track's gain
curve. Nothing downstream knows about MIDI.
"""

from __future__ import annotations

import hashlib
import html
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m2m.core.assembly import assemble, decoded
from m2m.core.channels import Machine, playing_order
from m2m.core.errors import M2MError
from m2m.core.midi import BYTES_A_NOTE, SYSEX, Clock, MidiEvents, read_events
from m2m.core.notes import HIGHEST_KEY as HIGHEST_KEY
from m2m.core.notes import LOWEST_KEY as LOWEST_KEY
from m2m.core.notes import N_KEYS as N_KEYS
from m2m.core.notes import NOTE as NOTE
from m2m.core.notes import NoteArray as NoteArray
from m2m.core.notes import as_rows as as_rows
from m2m.core.notes import excerpt as excerpt
from m2m.core.notes import from_rows as from_rows
from m2m.core.notes import hold as hold
from m2m.core.notes import merge as merge
from m2m.core.notes import note_array as note_array
from m2m.core.score_limits import MUSICXML_BYTES_A_NOTE, Limits
from m2m.core.system.files import read_bytes
from m2m.core.tracks import Curve as Curve
from m2m.core.tracks import Omission as Omission
from m2m.core.tracks import Track as Track
from m2m.core.tracks import constant as constant

if TYPE_CHECKING:
    import pretty_midi


@dataclass(frozen=True, eq=False)
class Score:
    """Music as m2m sees it.

    tempi: (seconds, quarter notes a minute) of each tempo change; meters: (seconds, numerator, denominator).
    sha256: sixteen hexadecimal digits that name the file it was read from, "" if there was none. path: of that file.
    """

    tracks: tuple[Track, ...]
    omissions: tuple[Omission, ...] = ()
    tempi: tuple[tuple[float, float], ...] = ()
    meters: tuple[tuple[float, int, int], ...] = ()
    name: str = ""
    sha256: str = ""
    path: str = ""

    @property
    def duration(self) -> float:
        """Seconds until the last sounding note is let go; 0 for an empty score."""
        ends = [notes["end"].max() for track in self.tracks for notes in (track.notes, track.outside) if len(notes)]
        return float(max(ends, default=0.0))

    @property
    def playable(self) -> tuple[Track, ...]:
        """The tracks that have notes of a pitched instrument; whether drums play as well, the model decides."""
        return tuple(track for track in self.tracks if track.is_playable and not track.is_drum)

    def number(self, track: Track) -> int:
        """A track's number, from 1: `m2m score` lists it, `--map track:2=..` and the names of stems use it."""
        return next(number for number, other in enumerate(self.tracks, start=1) if other is track)

    @classmethod
    def from_pretty_midi(cls, midi: pretty_midi.PrettyMIDI, name: str = "", limits: Limits | None = None) -> Score:
        """A pretty_midi object as a Score. Raises M2MError where it is beyond `limits` or holds what no MIDI file could."""
        from m2m.core import pretty_midi_tracks

        try:
            tracks, omissions = pretty_midi_tracks.read(midi, limits or Limits())
        except M2MError as error:
            raise type(error)(f"{name or 'the PrettyMIDI object'}: {error}") from error
        times, tempi = midi.get_tempo_changes()
        meters = tuple((m.time, m.numerator, m.denominator) for m in midi.time_signature_changes)
        return cls(tracks, omissions, tuple(zip(times.tolist(), tempi.tolist(), strict=True)), meters, name)

    def to_pretty_midi(self) -> pretty_midi.PrettyMIDI:
        """The score as a pretty_midi object, with all that such an object can hold; pedals are in the notes' ends."""
        from m2m.core import pretty_midi_tracks

        return pretty_midi_tracks.write(self.tracks, self.tempi, self.meters)

    def __repr__(self) -> str:
        notes = sum(len(track.notes) for track in self.tracks)
        return f"Score({self.name!r}, {len(self.tracks)} tracks, {notes} notes, {self.duration:.1f} s)"

    def _repr_html_(self) -> str:
        """A piano roll for notebooks, one colour a track, at most 5,000 notes of each."""
        bars = [
            f"<rect x='{start:.3f}' y='{HIGHEST_KEY - key}' width='{max(end - start, 0.02):.3f}' height='0.9' "
            f"fill='hsl({index * 137 % 360} 60% 45%)' fill-opacity='{0.3 + 0.7 * velocity / 127:.2f}'/>"
            for index, track in enumerate(self.playable)
            for start, end, key, velocity in track.notes[:5000].tolist()
        ]
        box = f"viewBox='0 0 {max(self.duration, 1.0):.2f} {N_KEYS}' preserveAspectRatio='none'"
        style = "width:100%;height:220px;background:#8881"
        roll = f"<svg {box} style='{style}'>{''.join(bars)}</svg>"
        return f"<figure>{roll}<figcaption>{html.escape(repr(self))}</figcaption></figure>"


def read_score(path: str | Path, limits: Limits | None = None) -> Score:
    """Read a Standard MIDI File or, with the extra m2m[musicxml], a MusicXML file (.musicxml, .mxl).

    Raises M2MError for anything that is neither, or is beyond `limits` (core/midi.py).
    """
    path, limits = Path(path), limits or Limits()
    is_xml = path.suffix.lower() in (".musicxml", ".xml", ".mxl")
    a_note = MUSICXML_BYTES_A_NOTE if is_xml else BYTES_A_NOTE
    data = read_bytes(path, a_note * limits.notes, f"a score of {limits.notes:,} notes, which --limit notes=N raises")
    return replace(parse_score(data, str(path), limits), name=path.name, path=str(path))


def parse_score(data: bytes, name: str = "", limits: Limits | None = None) -> Score:
    """Read a MIDI or MusicXML file that is in memory; `name` is what errors call it. Raises M2MError as `read_score` does."""
    limits = limits or Limits()
    try:
        events = _events(data, limits)
        machine = Machine()
        kind = np.where(events.status == SYSEX, SYSEX, events.status & 0xF0)
        order = playing_order(events.tick, events.track, kind, events.data2)
        numbers = events.port * 16 + np.where(events.status == SYSEX, 0, events.status & 15)
        arrays = (events.tick, numbers, kind, events.data1, events.data2, events.track)
        machine.run(zip(*(array[order].tolist() for array in arrays), strict=True), events.sysex)
        machine.finish(events.end)
        clock = Clock(events)
        names = {track: decoded(text) for track, text in events.names.items()}
        tracks, omissions = assemble(machine, clock.seconds, names, limits, events.remarks)
    except M2MError as error:
        raise type(error)(_named(name, str(error))) from error
    times = clock.seconds(np.array([tick for tick, *_ in events.meters]))
    meters = tuple((float(time), top, bottom) for time, (_, top, bottom) in zip(times, events.meters, strict=True))
    firsts = clock.seconds(np.array([left_out.tick for left_out in events.left_out]))
    omissions += tuple(
        Omission(left_out.kind, left_out.count, left_out.text, float(second))
        for left_out, second in zip(events.left_out, firsts, strict=True)
    )
    return Score(tracks, omissions, clock.tempi, meters, name, hashlib.sha256(data).hexdigest()[:16])


def _events(data: bytes, limits: Limits) -> MidiEvents:
    """The events of a MIDI file or, with the extra m2m[musicxml], of a MusicXML file; its bytes tell which it is."""
    if data[:4] in (b"MThd", b"RIFF"):  # MIDI waits for no module that it does not need
        return read_events(data, limits)
    from m2m.core import musicxml

    if not musicxml.recognised(data):
        return read_events(data, limits)
    from m2m.core import musicxml_events

    return musicxml_events.read_events(musicxml.read_tree(data, limits), limits)


def _named(name: str, sentence: str) -> str:
    """A sentence about a file with the file's name, or with "the score" where it has none."""
    about_the_file = sentence.startswith(("is ", "has ", "counts "))  # sentences whose subject is the file
    return f"{name or 'the score'} {sentence}" if about_the_file else f"{name or 'the score'}: {sentence}"


def from_pretty_midi(midi: pretty_midi.PrettyMIDI, name: str = "", limits: Limits | None = None) -> Score:
    """`Score.from_pretty_midi`."""
    return Score.from_pretty_midi(midi, name, limits)


def as_score(score: object, limits: Limits | None = None) -> Score:
    """A Score, a file's path or a pretty_midi object as a Score. Raises M2MError for anything else, as `read_score` does."""
    if isinstance(score, Score):
        return score
    if isinstance(score, str | Path):
        return read_score(score, limits)
    pretty_midi = sys.modules.get("pretty_midi")  # whoever has such an object has imported it
    if pretty_midi and isinstance(score, pretty_midi.PrettyMIDI):
        return Score.from_pretty_midi(score, limits=limits)
    raise M2MError(f"a {type(score).__name__} came as the score, a Score or a MIDI file's path was wanted.")


def stem_name(index: int, track: Track) -> str:
    """A file-name part for a track: its number and its name, letters and digits only.

    >>> stem_name(2, Track("Vln. I/II", 40, False, note_array([]), constant(1.0)))
    '2-vln-i-ii'
    """
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in track.name.lower()).split()
    return "-".join([str(index), *words])[:60]
