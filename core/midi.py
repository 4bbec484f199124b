"""The bytes of a Standard MIDI File as arrays of events.

One pass over the bytes makes two numbers an event, so a file of 30 MB costs a few times its size in memory; it stops at the
first event that is one too many or makes no sense. What the standard tells readers to pass over is passed over: chunks of
other kinds, meta events that nobody here reads, whatever their length. What is harmless but wrong is put right, with a word
about it in `MidiEvents.remarks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.score_limits import Limits

EVENTS_A_NOTE = 4  # a note is two events; controllers, bends and texts may take as much again
BYTES_A_NOTE = 80  # system exclusive dumps and lyrics come on top of some 8 bytes a note
SYSEX = 0xF0
SYSEX_BYTES = 16  # at most, that are kept: the messages that mean something here are shorter
SYSEX_MARK = 1 << 32  # of a message that stands for a system exclusive one
COMMON_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
TRACK_NAME, INSTRUMENT_NAME, PORT, END_OF_TRACK, TEMPO, METER = 0x03, 0x04, 0x21, 0x2F, 0x51, 0x58  # meta events
FRAME_RATES = {24: 24.0, 25: 25.0, 29: 30000 / 1001, 30: 30.0}  # SMPTE: frames a second by the number that names them


@dataclass(frozen=True)
class LeftOut:
    """Something that is written and has no event: what kind, how often, in words, and the tick where it first is."""

    kind: str
    count: int
    text: str
    tick: int


@dataclass(frozen=True, eq=False)
class MidiEvents:
    """What a file holds, track after track.

    division: ticks a quarter note; where `frame_rate` is not 0, ticks a frame, of so many frames a second.
    tick, track, port, status, data1, data2: (events,) int64 each. status: a channel message's, with its channel; SYSEX stands
        for a system exclusive message, of which data1 is the index in `sysex`.
    tempi: (tick, microseconds a quarter note). meters: (tick, numerator, denominator). Both in order of time.
    names: track -> its name, as bytes.
    end: the last event's tick.
    remarks: what was put right, a phrase each. left_out: notation that has no events, of a file that is not MIDI.
    """

    division: int
    frame_rate: float
    tick: NDArray[np.int64]
    track: NDArray[np.int64]
    port: NDArray[np.int64]
    status: NDArray[np.int64]
    data1: NDArray[np.int64]
    data2: NDArray[np.int64]
    sysex: list[bytes]
    tempi: list[tuple[int, int]]
    meters: list[tuple[int, int, int]]
    names: dict[int, bytes]
    end: int
    remarks: list[str]
    left_out: list[LeftOut] = field(default_factory=list)


class Clock:
    """The tempo map of a file: ticks to seconds. A tempo counts in whichever track it stands.

    tempi: (seconds, quarter notes a minute) of each change.
    """

    def __init__(self, events: MidiEvents) -> None:
        if events.frame_rate:
            changes = [(0, 1 / (events.frame_rate * events.division))]  # SMPTE: tempo is not asked
            self.tempi: tuple[tuple[float, float], ...] = ()
        else:
            changes = [(0, 60 / (120.0 * events.division))]
            for tick, microseconds in events.tempi:
                seconds = 60 / (6e7 / microseconds * events.division)
                if tick == 0:
                    changes = [(0, seconds)]
                elif seconds != changes[-1][1]:
                    changes.append((tick, seconds))
        starts, scales = zip(*changes, strict=True)
        self.starts, self.scales = np.array(starts, np.int64), np.array(scales)
        self.times = np.zeros(len(changes))  # seconds at which each tempo begins
        for i in range(1, len(changes)):
            self.times[i] = self.times[i - 1] + self.scales[i - 1] * (self.starts[i] - self.starts[i - 1])
        if not events.frame_rate:
            tempi = 60 / (self.scales * events.division)
            self.tempi = tuple(zip(self.times.tolist(), tempi.tolist(), strict=True))

    def seconds(self, ticks: NDArray[np.integer]) -> NDArray[np.float64]:
        """Ticks as seconds.

        ticks: (n,) int, in any order. Returns (n,) float64, seconds.
        """
        ticks = np.asarray(ticks, np.int64)
        at = np.searchsorted(self.starts, ticks, side="right") - 1
        found: NDArray[np.float64] = self.times[at] + self.scales[at] * (ticks - self.starts[at])
        return found


def read_events(data: bytes, limits: Limits) -> MidiEvents:
    """Read a whole file, also one inside a RIFF (.rmi). The messages of errors name no file.

    Raises M2MError for what is no music, or more of it than `limits` allow.
    """
    data = unwrapped(data)
    if data[:4] != b"MThd":
        raise M2MError("is not a MIDI file: it does not begin with 'MThd'.")
    if len(data) < 14:
        raise _damaged("its header ends too early", len(data))
    kind, promised, division = (int.from_bytes(data[at : at + 2], "big") for at in (8, 10, 12))
    frames = 256 - (division >> 8) if division >= 0x8000 else 0
    if kind == 2:
        raise M2MError("is a MIDI file of type 2, unrelated patterns with no order; export it as type 0 or 1.")
    if frames and frames not in FRAME_RATES:
        raise M2MError(f"counts time in {frames} frames a second, 24, 25, 29 or 30 were wanted; export it again.")
    if division == 0 or (frames and not division & 0xFF):
        raise _damaged(f"it has 0 ticks a {'frame' if frames else 'quarter note'}", 12)
    reader = _Reader(data, limits)
    for start, end in _tracks(data, 8 + int.from_bytes(data[4:8], "big"), promised, reader.remarks):
        reader.read_track(start, end)
    if not reader.tracks:
        raise M2MError("has no tracks.")
    if not reader.messages and not reader.others:
        raise M2MError("has no events.")
    return reader.events(division & 0xFF if frames else division, FRAME_RATES.get(frames, 0.0))


def unwrapped(data: bytes) -> bytes:
    """The MIDI file inside a RIFF file of form RMID; other bytes as they are. Raises M2MError for one that holds none."""
    if data[:4] != b"RIFF" or data[8:12] != b"RMID":
        return data
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            return data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    raise M2MError("is a RIFF file without a MIDI file in it; export it again as .mid.")


def _tracks(data: bytes, at: int, promised: int, remarks: list[str]) -> Iterator[tuple[int, int]]:
    """(first byte, end) of each track's events; chunks of other kinds are passed over, as the standard wants it."""
    found = 0
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        at += 8
        if kind == b"MTrk":
            found += 1
            yield at, at + length
        at += length
    if found < promised:
        if not found:
            return
        raise _damaged(f"its header promises {promised} tracks, {found} are there", len(data))
    if found > promised:
        remarks.append(f"its header promises {promised} tracks, all {found} that are there are read")


class _Reader:
    """Reads tracks one by one and keeps what they hold."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data, self.limits = data, limits
        self.remarks: list[str] = []
        self.ticks: list[int] = []
        self.messages: list[int] = []  # status << 16 | data1 << 8 | data2
        self.lengths: list[int] = []  # events of each track
        self.ports: list[tuple[int, int]] = []  # (first event, port)
        self.sysex: list[bytes] = []
        self.packets: bytes | None = None  # of a system exclusive message that goes on
        self.tempi: list[tuple[int, int]] = []
        self.meters: list[tuple[int, int, int]] = []
        self.names: dict[int, bytes] = {}
        self.notes = self.others = self.end = self.tracks = 0
        self.ended = False

    def read_track(self, at: int, end: int) -> None:
        """Read the events of bytes at..end. Raises M2MError for what makes no sense and for what is too much."""
        data, clipped = self.data, end > len(self.data)
        track, before = self.tracks, len(self.messages)
        self.tracks += 1
        self.ports.append((before, 0))
        self.packets = None
        try:
            at = self._read(track, at, min(end, len(data)))
        except IndexError as error:
            raise _damaged("a track's last message is cut off", len(data)) from error
        if clipped:
            if not self.ended:
                raise _damaged("a track is longer than the file", len(data))
            self.remarks.append(f"track {track + 1} says {end - len(data)} bytes more than there are")
        elif at > end:
            raise _damaged("a track's last message is cut off", at)
        elif at < end:
            self.remarks.append(f"{end - at} bytes after the end of track {track + 1} are passed over")
        self.lengths.append(len(self.messages) - before)

    def _read(self, track: int, at: int, end: int) -> int:
        """The loop over a track's events; returns where it ends. A file's whole reading time is spent here."""
        data, ticks, messages = self.data, self.ticks, self.messages
        most_notes, most_events = self.limits.notes, self.limits.notes * EVENTS_A_NOTE - self.others
        tick = status = wrong = 0
        notes = self.notes
        self.ended = False
        while at < end:
            byte = data[at]
            at += 1
            if byte < 0x80:
                tick += byte
            else:
                gap, at = _number(data, at - 1)
                tick += gap
            byte = data[at]
            if byte >= 0x80:
                at += 1
                if byte >= 0xF0:
                    at = self._system(byte, track, tick, at)
                    if self.ended:
                        break
                    continue
                status = byte
            elif not status:
                raise _damaged("a message has no status", at)
            first, second = data[at], 0
            at += 1
            if status & 0xE0 != 0xC0:
                second = data[at]
                at += 1
            if (first | second) >= 0x80:  # MIDI has no such data; what was meant is nearest to the largest
                first, second, wrong = min(first, 127), min(second, 127), wrong + 1
            ticks.append(tick)
            messages.append(status << 16 | first << 8 | second)
            if status & 0xF0 == 0x90 and second:
                notes += 1
                if notes > most_notes:
                    break
            if len(messages) > most_events:
                break
        self.notes, self.end = notes, max(self.end, tick)
        self.limits.refuse("notes", notes, "notes or more")
        self._refuse_too_many(len(messages) + self.others)
        if wrong:
            self.remarks.append(f"{wrong} messages of track {track + 1} hold numbers over 127, read as 127")
        return at

    def _refuse_too_many(self, events: int) -> None:
        most = self.limits.notes * EVENTS_A_NOTE
        if events > most:
            raise M2MError(
                f"it has more than {most:,} events, {EVENTS_A_NOTE} for each of the {self.limits.notes:,} notes that m2m "
                f"reads unasked; allow more with --limit notes={2 * self.limits.notes}, or thin out its controllers."
            )

    def _system(self, status: int, track: int, tick: int, at: int) -> int:
        """Read a message that belongs to no channel, whose status stands before `at`; returns where it ends."""
        data = self.data
        self.others += 1
        if self.others % 4096 == 0:
            self._refuse_too_many(len(self.messages) + self.others)
        if status == 0xFF:
            kind = data[at]
            length, at = _number(data, at + 1)
            content = data[at : at + length]
            if len(content) < length:
                raise IndexError
            self._meta(kind, content, track, tick, at)
            return at + length
        if status in (0xF0, 0xF7):
            length, at = _number(data, at)
            if at + length > len(data):
                raise IndexError
            if status == 0xF0:
                self.packets = b""
            if self.packets is not None:  # else it is an escape, which is passed over
                self.packets = (self.packets + data[at : at + length])[:SYSEX_BYTES]
                if data[at + length - 1] == 0xF7:  # the last packet of a message
                    self.ticks.append(tick)
                    self.messages.append(SYSEX_MARK | len(self.sysex))
                    self.sysex.append(self.packets)
                    self.packets = None
            return at + length
        if status not in COMMON_BYTES:
            raise _damaged("a message is of no known kind", at)
        return at + COMMON_BYTES[status]

    def _meta(self, kind: int, content: bytes, track: int, tick: int, at: int) -> None:
        if kind == TEMPO and len(content) >= 3:
            microseconds = int.from_bytes(content[:3], "big")
            if not microseconds:
                raise M2MError(f"it has a tempo of 0 microseconds a quarter note (byte {at:,}); mend it.")
            self.tempi.append((tick, microseconds))
        elif kind == METER and len(content) >= 2 and content[0] and content[1] < 8:
            self.meters.append((tick, content[0], 1 << content[1]))
        elif kind == TRACK_NAME or (kind == INSTRUMENT_NAME and track not in self.names):
            self.names[track] = content[:200]
        elif kind == PORT and content:
            self.ports.append((len(self.messages), content[0]))
        elif kind == END_OF_TRACK:
            self.ended = True

    def events(self, division: int, frame_rate: float) -> MidiEvents:
        message = np.array(self.messages, np.int64)
        firsts, ports = zip(*self.ports, strict=True)
        exclusive = message >= SYSEX_MARK
        return MidiEvents(
            division=division,
            frame_rate=frame_rate,
            tick=np.array(self.ticks, np.int64),
            track=np.repeat(np.arange(self.tracks), self.lengths),
            port=np.repeat(ports, np.diff([*firsts, len(message)])),
            status=np.where(exclusive, SYSEX, message >> 16),
            data1=np.where(exclusive, message - SYSEX_MARK, message >> 8 & 0xFF),
            data2=np.where(exclusive, 0, message & 0xFF),
            sysex=self.sysex,
            tempi=sorted(self.tempi, key=lambda change: change[0]),
            meters=sorted(self.meters, key=lambda change: change[0]),
            names=self.names,
            end=self.end,
            remarks=self.remarks,
        )


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, of at most four bytes, and where it ends."""
    value = 0
    for byte in data[at : at + 4]:
        value, at = value << 7 | byte & 0x7F, at + 1
        if byte < 0x80:
            return value, at
    raise _damaged("a number has no end", at)


def _damaged(what: str, at: int) -> M2MError:
    return M2MError(f"it is a damaged MIDI file: {what} (byte {at:,}); export it again from its editor.")
