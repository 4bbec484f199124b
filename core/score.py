"""A MIDI file becomes a Score: small, immutable, in seconds, with everything that will not sound counted.

What a performer does to a note is folded into it here, once: the tempo map makes ticks seconds, the sustain pedal (CC 64)
holds a note until it is lifted or the key is struck again (as in Onsets and Frames, arXiv 1710.11153), volume (CC 7) and
expression (CC 11) become a gain curve of the track. Nothing downstream knows about MIDI.
"""

from __future__ import annotations

import hashlib
import html
import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import mido
import numpy as np
import pretty_midi
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.midi import BYTES_A_NOTE, Limits, survey
from m2m.core.system.files import read_bytes

LOWEST_KEY, HIGHEST_KEY = 21, 108  # MIDI numbers of the piano's 88 keys, A0 to C8
N_KEYS = HIGHEST_KEY - LOWEST_KEY + 1

NOTE = np.dtype(
    [("start", "f8"), ("end", "f8"), ("pitch", "i4"), ("velocity", "i4")]
)  # seconds, seconds, 21..108, 1..127
NoteArray: TypeAlias = NDArray[np.void]

MAX_CONTROLLERS = 300_000  # copied between tracks of one channel; ordinary automation is a tenth of it

VOLUME, EXPRESSION, PEDAL = CHANNEL_CONTROLLERS = (7, 11, 64)


def note_array(notes: Iterable[tuple[float, float, int, int]]) -> NoteArray:
    """(start, end, pitch, velocity) tuples as a read-only array in order of start, then pitch.

    >>> note_array([(0.5, 1.0, 64, 80), (0.0, 0.5, 60, 100)])["pitch"].tolist()
    [60, 64]
    """
    array = np.array(list(notes), dtype=NOTE)
    array = array[np.lexsort((array["pitch"], array["start"]))]
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Track:
    """One instrument's part.

    program: General MIDI program, 0..127.
    notes:   `NOTE` array; `end` is where the sound is let go, pedal included.
    gain:    (points, 2) float64: from that second on, this linear factor. Volume 100 and expression 127 (MIDI's power-on
             state) are 1.0; attenuation is the 40 log10 law of the General MIDI guidelines.
    """

    name: str
    program: int
    is_drum: bool
    notes: NoteArray
    gain: NDArray[np.float64]

    def gain_curve(self, first: int, last: int, sample_rate: int) -> NDArray[np.float32]:
        """The gain of samples first..last: (last - first,) float32, steps smoothed over 10 ms so that no jump clicks."""
        if len(self.gain) < 2:
            return np.full(last - first, self.gain[0, 1], np.float32)
        width = max(1, sample_rate // 100)
        at = (self.gain[:, 0] * sample_rate).astype(np.int64)
        samples = np.arange(first - width, last).clip(0)
        steps = self.gain[np.searchsorted(at, samples, side="right") - 1, 1]
        sums = steps.cumsum()  # the mean of each sample and the `width - 1` before it
        return ((sums[width:] - sums[:-width]) / width).astype(np.float32)


@dataclass(frozen=True)
class Omission:
    """Something in the file that will not sound as written."""

    kind: str
    count: int
    text: str


@dataclass(frozen=True, eq=False)
class Score:
    """Music as m2m sees it.

    tempi: (seconds, quarter notes a minute) of each tempo change; meters: (seconds, numerator, denominator).
    sha256: sixteen hexadecimal digits that name the file it was read from, "" if there was none.
    """

    tracks: tuple[Track, ...]
    omissions: tuple[Omission, ...] = ()
    tempi: tuple[tuple[float, float], ...] = ()
    meters: tuple[tuple[float, int, int], ...] = ()
    name: str = ""
    sha256: str = ""

    @property
    def duration(self) -> float:
        """Seconds until the last sounding note is let go; 0 for an empty score."""
        return max((float(track.notes["end"].max()) for track in self.playable if len(track.notes)), default=0.0)

    @property
    def playable(self) -> tuple[Track, ...]:
        """The tracks that have notes and are not drums."""
        return tuple(track for track in self.tracks if len(track.notes) and not track.is_drum)

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


def excerpt(notes: NoteArray, start: float, stop: float) -> NoteArray:
    """The notes struck in start <= t < stop (seconds), moved so that `start` is 0 and cut off at `stop`."""
    kept = notes[(notes["start"] >= start) & (notes["start"] < stop)].copy()
    kept["start"] -= start
    kept["end"] = np.minimum(kept["end"], stop) - start
    kept.flags.writeable = False
    return kept


def read_score(path: str | Path, limits: Limits | None = None) -> Score:
    """Read a Standard MIDI File. Raises M2MError for anything that is not one, or is beyond `limits` (core/midi.py)."""
    path, limits = Path(path), limits or Limits()
    data = read_bytes(
        path, BYTES_A_NOTE * limits.notes, f"a score of {limits.notes:,} notes, which --limit notes=N raises"
    )
    return replace(parse_score(data, str(path), limits), name=path.name)


def parse_score(data: bytes, name: str = "", limits: Limits | None = None) -> Score:
    """Read a Standard MIDI File that is in memory; `name` is what errors call it. Raises M2MError as `read_score` does."""
    limits = limits or Limits()
    if data[:4] != b"MThd":
        raise M2MError(f"{name} is not a MIDI file: it does not begin with 'MThd'.")
    if data[8:10] == b"\x00\x02":
        raise M2MError(f"{name} is a MIDI file of type 2, unrelated patterns with no order; export it as type 0 or 1.")
    if data[12:13] >= b"\x80":
        raise M2MError(f"{name} counts time in SMPTE frames, not in beats; export it with ticks a quarter note.")
    try:
        survey(data, limits)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            midi = pretty_midi.PrettyMIDI(mido_object=_channel_wide(mido.MidiFile(file=io.BytesIO(data))))
        score = from_pretty_midi(midi, name, limits)
    except M2MError as error:
        raise type(error)(f"{name}: {error}") from error
    except Exception as error:  # mido and pretty_midi raise whatever the bytes led them into
        raise M2MError(
            f"{name} is a damaged MIDI file ({type(error).__name__}: {error}); re-export it from its editor."
        ) from error
    return replace(score, sha256=hashlib.sha256(data).hexdigest()[:16])


def _channel_wide(midi: mido.MidiFile) -> mido.MidiFile:
    """Copy what belongs to a MIDI channel into every track that plays on it, and end notes that never do.

    Programs, pedal and volume act on a channel whichever track they stand in, and editors like to give them a track of their
    own (the pedal of the piano-midi.de files is in one). pretty_midi keeps them to the track where they stand, so a pedal
    without notes beside it would be lost. Two ports have channels of their own each. Raises M2MError where the copies would
    be too many to be music.
    """
    shared: dict[tuple[int, int], list[tuple[int, int, mido.Message]]] = {}  # port, channel -> (tick, track, message)
    midi.tracks = [track for track in midi.tracks if track]  # pretty_midi falls over one without events
    if not midi.tracks:
        raise M2MError("it has no events.")
    players: list[set[tuple[int, int]]] = []  # the channels that each track plays notes on
    hanging: list[
        tuple[int, list[tuple[int, int]]]
    ] = []  # each track's last tick, and its (channel, key) still down there
    for index, track in enumerate(midi.tracks):
        tick, port, channels = 0, 0, set()
        down: set[tuple[int, int]] = set()
        for message in track:
            tick += message.time
            if message.type == "midi_port":
                port = message.port
            elif message.type == "program_change" or (
                message.type == "control_change" and message.control in CHANNEL_CONTROLLERS
            ):
                shared.setdefault((port, message.channel), []).append((tick, index, message))
            elif message.type == "note_on" and message.velocity:
                channels.add((port, message.channel))
                down.add((message.channel, message.note))
            elif message.type in ("note_on", "note_off"):
                down.discard((message.channel, message.note))
        players.append(channels)
        hanging.append((tick, sorted(down)))
    shared = {channel: _news(events) for channel, events in shared.items()}
    end = max((tick for tick, _ in hanging), default=0)
    for track, (tick, keys) in zip(midi.tracks, hanging, strict=True):
        for number, (channel, key) in enumerate(keys):
            track.append(mido.Message("note_off", channel=channel, note=key, time=0 if number else end - tick))
    copies = sum(len(shared.get(channel, ())) for channels in players for channel in channels)
    if copies > MAX_CONTROLLERS:
        raise M2MError(
            f"its tracks share {copies:,} controllers, {MAX_CONTROLLERS:,} are the most m2m reads; merge its tracks."
        )
    for index, channels in enumerate(players):
        foreign = [(t, m) for c in channels for t, source, m in shared.get(c, ()) if source != index]
        if foreign:
            ticks = np.cumsum([message.time for message in midi.tracks[index]]).tolist()
            own = list(zip(ticks, midi.tracks[index], strict=True))
            merged = sorted(
                foreign + own, key=lambda pair: pair[0]
            )  # stable: a foreign event acts before a note of its tick
            gaps = np.diff([0, *(t for t, _ in merged)]).tolist()
            midi.tracks[index] = mido.MidiTrack(m.copy(time=gap) for gap, (_, m) in zip(gaps, merged, strict=True))
    return midi


def _news(events: list[tuple[int, int, mido.Message]]) -> list[tuple[int, int, mido.Message]]:
    """A channel's events of all tracks in time, without controllers that repeat what was said."""
    said: dict[int, int] = {}
    news = []
    for tick, index, message in sorted(events, key=lambda event: event[:2]):
        if message.type == "control_change":
            if said.get(message.control) == message.value:
                continue
            said[message.control] = message.value
        news.append((tick, index, message))
    return news


def from_pretty_midi(midi: pretty_midi.PrettyMIDI, name: str = "", limits: Limits | None = None) -> Score:
    """Turn pretty_midi's object into a Score. Raises M2MError where it is beyond `limits`."""
    limits = limits or Limits()
    limits.refuse("notes", sum(len(instrument.notes) for instrument in midi.instruments), "notes")
    limits.refuse("tracks", sum(bool(instrument.notes) for instrument in midi.instruments), "tracks with notes")
    end = max((note.end for instrument in midi.instruments for note in instrument.notes), default=0.0)
    limits.refuse("seconds", end, "seconds")
    tracks = tuple(_track(instrument, end) for instrument in midi.instruments)
    limits.refuse("polyphony", _polyphony(tracks), "notes at once")
    times, tempi = midi.get_tempo_changes()
    return Score(
        tracks=tracks,
        omissions=_omissions(midi),
        tempi=tuple(zip(times.tolist(), tempi.tolist(), strict=True)),
        meters=tuple((m.time, m.numerator, m.denominator) for m in midi.time_signature_changes),
        name=name,
    )


def _polyphony(tracks: Iterable[Track]) -> int:
    """The most notes that sound at once, drums left out."""
    notes = [track.notes for track in tracks if not track.is_drum and len(track.notes)]
    if not notes:
        return 0
    starts, ends = (np.sort(np.concatenate([part[edge] for part in notes])) for edge in ("start", "end"))
    return int((np.arange(1, len(starts) + 1) - np.searchsorted(ends, starts, side="right")).max())


def _track(instrument: pretty_midi.Instrument, end: float) -> Track:
    keys = (n for n in instrument.notes if LOWEST_KEY <= n.pitch <= HIGHEST_KEY or instrument.is_drum)
    notes = note_array((n.start, n.end, n.pitch, max(1, n.velocity)) for n in keys)
    notes = hold(notes, [(c.time, c.value) for c in instrument.control_changes if c.number == PEDAL], end)
    return Track(instrument.name.strip(), int(instrument.program), instrument.is_drum, notes, _gain(instrument))


def hold(notes: NoteArray, pedal: list[tuple[float, int]], end: float) -> NoteArray:
    """Apply a sustain pedal, given as (second, CC 64 value) events: down from 64 up. A pedal never lifted holds until `end`.

    A note also ends where its key is struck again, so that no key sounds twice at once.
    """
    held = notes.copy()
    if pedal:
        times, down = np.array([t for t, _ in sorted(pedal)]), np.array([v >= 64 for _, v in sorted(pedal)])
        state = np.searchsorted(times, held["end"], side="right") - 1  # the last pedal event at or before the release
        lifted = np.append(np.where(~down, times, np.inf), max(end, float(times[-1])))
        lifted = np.minimum.accumulate(lifted[::-1])[::-1]  # from each event on: when the pedal is next up
        caught = (state >= 0) & down[np.maximum(state, 0)]
        held["end"] = np.where(caught, np.maximum(held["end"], lifted[np.maximum(state, 0)]), held["end"])
    order = np.lexsort((held["start"], held["pitch"]))
    same_key = held["pitch"][order][1:] == held["pitch"][order][:-1]
    again = np.append(np.where(same_key, held["start"][order][1:], np.inf), np.inf)[: len(order)]
    held["end"][order] = np.minimum(held["end"][order], again)
    held = held[held["end"] > held["start"]]  # two strikes of one key at one instant are one note
    held.flags.writeable = False
    return held


def _gain(instrument: pretty_midi.Instrument) -> NDArray[np.float64]:
    volume, expression = 100, 127  # MIDI's power-on state
    points = [(0.0, 1.0)]
    for change in sorted(instrument.control_changes, key=lambda c: c.time):
        if change.number == VOLUME:
            volume = change.value
        elif change.number == EXPRESSION:
            expression = change.value
        else:
            continue
        points.append((change.time, (volume / 100 * expression / 127) ** 2))
    curve = np.array(points)
    curve.flags.writeable = False
    return curve


def _omissions(midi: pretty_midi.PrettyMIDI) -> tuple[Omission, ...]:
    pitched = [i for i in midi.instruments if not i.is_drum]
    drums = sum(len(i.notes) for i in midi.instruments if i.is_drum)
    outside = sum(not LOWEST_KEY <= n.pitch <= HIGHEST_KEY for i in pitched for n in i.notes)
    bends = sum(bend.pitch != 0 for i in pitched for bend in i.pitch_bends)
    found = (
        Omission("drums", drums, f"drum notes left out, since the model has no drums: {drums}"),
        Omission("range", outside, f"notes left out, since they lie outside the 88 piano keys (A0 to C8): {outside}"),
        Omission("bends", bends, f"pitch bends ignored, so that notes sound at their keys' pitch: {bends}"),
    )
    return tuple(omission for omission in found if omission.count)


def stem_name(index: int, track: Track) -> str:
    """A file-name part for a track: its number and its name, letters and digits only.

    >>> stem_name(2, Track("Vln. I/II", 40, False, note_array([]), np.ones((1, 2))))
    '2-vln-i-ii'
    """
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in track.name.lower()).split()
    return "-".join([str(index), *words])[:60]


def as_rows(notes: NoteArray) -> NDArray[np.float64]:
    """Notes as a plain (notes, 4) float64 matrix, for files that know no structured types."""
    return np.stack([notes[name].astype(np.float64) for name in NOTE.names or ()], axis=1)


def from_rows(rows: NDArray[Any]) -> NoteArray:
    """The inverse of `as_rows`.

    rows: (notes, 4) numbers in the order of `NOTE`'s fields.
    """
    notes = np.empty(len(rows), NOTE)
    for column, name in enumerate(NOTE.names or ()):
        notes[name] = rows[:, column]
    notes.flags.writeable = False
    return notes


def merge(parts: Iterable[NoteArray]) -> NoteArray:
    """Several parts as one: where they strike the same key, the earlier note ends."""
    return hold(note_array(note for part in parts for note in part.tolist()), [], 0.0)
