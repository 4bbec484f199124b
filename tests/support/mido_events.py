"""The events of a Standard MIDI File in playing order: the first half of the second reading (see mido_machine).

mido decodes the single messages; this file finds them itself, because mido 1.3 stops at several things that are legal
or common: a RIFF wrapper, chunks of another kind, SMPTE divisions (it reads them as negative ticks), meta events of odd
length or content, a chunk length past the end of the file, sysex in several packets, `F7` escapes, and meta events it
does not know (it loses the time before them). Data bytes over 127 are clipped to 127 before mido sees them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import mido  # type: ignore[import-untyped]


class Event(NamedTuple):
    """A message at its place; the first four fields are the order of playing."""

    tick: int
    rank: int
    track: int
    order: int
    port: int
    message: mido.Message | mido.MetaMessage


class TrackReader:
    """Finds the events of one track; where its bytes run out, it ends."""

    def __init__(self, body: bytes, track: int) -> None:
        self.body = body
        self.track = track
        self.at = 0
        self.tick = 0
        self.last_tick = 0
        self.port = 0
        self.running = 0
        self.unfinished: bytes | None = None  # a sysex waiting for its next packet
        self.events: list[Event] = []

    def read(self) -> None:
        """Read up to the end-of-track event or the end of the chunk."""
        try:
            while self.at < len(self.body):
                self.tick += self.number()
                ended = self.event()
                self.last_tick = self.tick
                if ended:
                    return
        except IndexError:
            return

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if self.at + count > len(self.body):
            raise IndexError("the track's bytes run out")
        self.at += count
        return self.body[self.at - count : self.at]

    def number(self) -> int:
        """A variable-length number."""
        value = 0
        while True:
            byte = self.take(1)[0]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value

    def add(self, message: mido.Message | mido.MetaMessage) -> None:
        """Keep a message with its rank, which is never below that of its track's earlier ones at this tick."""
        rank = 0
        if message.type in ("note_on", "note_off"):
            rank = 2 if message.type == "note_on" and message.velocity > 0 else 1
        if self.events and self.events[-1].tick == self.tick:
            rank = max(rank, self.events[-1].rank)
        self.events.append(Event(self.tick, rank, self.track, len(self.events), self.port, message))

    def event(self) -> bool:
        """Read one event; True at the end of the track."""
        status = self.take(1)[0]
        if status == 0xFF:
            return self.meta()
        if status in (0xF0, 0xF7):
            self.sysex(status)
            return False
        self.unfinished = None
        if status < 0x80:
            self.at -= 1
            status = self.running
        elif status < 0xF0:
            self.running = status
        if status not in mido.messages.SPEC_BY_STATUS:
            raise ValueError(f"byte {self.at} of track {self.track} is no event")
        data = self.take(mido.messages.SPEC_BY_STATUS[status]["length"] - 1)
        self.add(mido.Message.from_bytes([status, *(min(byte, 127) for byte in data)]))
        return False

    def meta(self) -> bool:
        """Tempo, port and end of track count; True at the end of the track."""
        kind = self.take(1)[0]
        data = self.take(self.number())
        if kind == 0x51 and len(data) >= 3 and any(data[:3]):
            self.add(mido.MetaMessage("set_tempo", tempo=int.from_bytes(data[:3], "big")))
        elif kind == 0x21 and data:
            self.port = data[0]
        return kind == 0x2F

    def sysex(self, status: int) -> None:
        """A sysex, one packet of it, or an escape with whole messages."""
        data = self.take(self.number())
        if status == 0xF7 and self.unfinished is None:
            for message in mido.Parser(data):
                self.add(message)
            return
        if status == 0xF7:
            data = (self.unfinished or b"") + data
        self.unfinished = None if data.endswith(b"\xf7") else data
        if self.unfinished is None and max(data[:-1], default=0) < 0x80:
            self.add(mido.Message("sysex", data=data[:-1]))


def _unwrap(data: bytes) -> bytes:
    """The MIDI file inside a RIFF RMID file, or the file itself."""
    if data[:4] != b"RIFF" or data[8:12] != b"RMID":
        return data
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"data":
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    raise ValueError("a RIFF RMID file without a data chunk")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a MIDI file by name; one that claims more bytes than there are gets what there is."""
    at = 0
    while at + 8 <= len(data):
        name, size = struct.unpack_from(">4sI", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size


class File(NamedTuple):
    """The raw division word, the tick of the last event of any kind, and what is to be played, in order."""

    division: int
    end: int
    events: list[Event]


def read_file(data: bytes) -> File:
    """Read a whole file of type 0 or 1."""
    chunks = list(_chunks(_unwrap(data)))
    if not chunks or chunks[0][0] != b"MThd" or len(chunks[0][1]) < 6:
        raise ValueError("no MIDI header")
    kind, _, division = struct.unpack_from(">HHH", chunks[0][1])
    if kind > 1 or division == 0 or division & 0x80FF == 0x8000:
        raise ValueError(f"type {kind} with division {division} is not read")
    tracks = [TrackReader(body, index) for index, body in enumerate(body for name, body in chunks if name == b"MTrk")]
    for track in tracks:
        track.read()
    end = max((track.last_tick for track in tracks), default=0)
    events = [event for track in tracks for event in track.events]
    return File(division, end, sorted(events, key=lambda event: event[:4]))
