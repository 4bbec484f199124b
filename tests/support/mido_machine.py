"""A second reading of Standard MIDI Files, written from the MIDI specification to check the reader against.

It is meant to be obviously right, not fast. `mido_events` finds the events, `mido_channel` is the state of a channel,
this file plays. Curves and the tempo map hold every change in playing order, so one tick may stand in them more than
once (only its last value lasts): `settled` leaves one value a tick.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TypeVar

import mido  # type: ignore[import-untyped]
from mido_channel import DRUM_CHANNEL, NULL, Channel, Note, PartKey, Port
from mido_events import Event, read_file

Value = TypeVar("Value", int, Fraction)

SYSTEM_ON = {
    "GM": re.compile(rb"\x7e.\x09\x01", re.DOTALL),
    "GM2": re.compile(rb"\x7e.\x09\x03", re.DOTALL),
    "GS": re.compile(rb"\x41.\x42\x12\x40\x00\x7f\x00.*", re.DOTALL),
    "XG": re.compile(rb"\x43[\x10-\x1f]\x4c\x00\x00\x7e\x00", re.DOTALL),
}
GS_RHYTHM = re.compile(rb"\x41.\x42\x12\x40([\x10-\x1f])\x15(.).*", re.DOTALL)
MASTER = re.compile(rb"\x7f.\x04([\x01\x03\x04])(.)(.)", re.DOTALL)


@dataclass
class Part:
    """Notes as (start, end, key, velocity), how many got no length, and the stretches cut by CC 120."""

    notes: list[tuple[int, int, int, int]] = field(default_factory=list)
    empty: int = 0
    cuts: list[tuple[int, float]] = field(default_factory=list)


@dataclass
class Curves:
    """Changes of one channel as (tick, value); they start at gain 1, bend 0 cents, pan 64 and modulation 0."""

    gain: list[tuple[int, Fraction]] = field(default_factory=list)
    bend: list[tuple[int, Fraction]] = field(default_factory=list)
    pan: list[tuple[int, int]] = field(default_factory=list)
    modulation: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Reading:
    """A whole file; `division` is the raw header word, `end` the tick of the last event of any kind."""

    division: int
    end: int
    parts: dict[PartKey, Part]
    curves: dict[tuple[int, int], Curves]
    tempi: list[tuple[int, int]]

    def seconds(self, tick: int) -> Fraction:
        """The exact time of a tick; 29 frames a second are 30000/1001 (drop frame)."""
        if self.division & 0x8000:
            frames = 256 - (self.division >> 8)
            rate = Fraction(30000, 1001) if frames == 29 else Fraction(frames)
            return tick / (rate * (self.division & 0xFF))
        index = bisect_right(self.tempi, tick, key=lambda change: change[0]) - 1
        start, tempo = self.tempi[index]
        return Fraction(self._elapsed[index] + (tick - start) * tempo, 1_000_000 * self.division)

    @cached_property
    def _elapsed(self) -> list[int]:
        """Microseconds times the division before each tempo."""
        spans = ((after[0] - before[0]) * before[1] for before, after in pairwise(self.tempi))
        return [0, *accumulate(spans)]


def settled(points: Iterable[tuple[int, Value]], start: Value | None) -> list[tuple[int, Value]]:
    """One value a tick (the last), without those that change nothing against the one before."""
    result: list[tuple[int, Value]] = []
    value = start
    for tick, new in dict(points).items():
        if new != value:
            result.append((tick, new))
        value = new
    return result


class Machine:
    """Plays events in order and writes down what sounds."""

    def __init__(self) -> None:
        self.ports: dict[int, Port] = {}
        self.parts: dict[PartKey, Part] = {}
        self.curves: dict[tuple[int, int], Curves] = {}
        self.cut_since: dict[PartKey, int] = {}
        self.tempi = [(0, 500_000)]
        self.mode = ""
        self.last_release = 0

    def port(self, number: int) -> Port:
        """A port, which comes to be when it is first used."""
        if number not in self.ports:
            self.ports[number] = Port()
            self.curves |= {(number, channel): Curves() for channel in range(16)}
        return self.ports[number]

    def play(self, event: Event) -> None:
        """One event."""
        tick, message = event.tick, event.message
        if message.type == "set_tempo":
            if message.tempo != self.tempi[-1][1]:
                self.tempi.append((tick, message.tempo))
        elif message.type == "sysex":
            self.sysex(tick, event.port, bytes(message.data))
            self.draw(tick, event.port, range(16))
        elif hasattr(message, "channel"):
            self.channel_message(tick, event.port, message)
            self.draw(tick, event.port, [message.channel])

    def draw(self, tick: int, number: int, channels: Iterable[int]) -> None:
        """Add to the curves of these channels what changed."""
        port = self.port(number)
        for index in channels:
            channel, curves = port.channels[index], self.curves[number, index]
            tuning = 0 if index == DRUM_CHANNEL else port.tuning
            _add(curves.gain, tick, channel.gain() * port.volume**2, Fraction(1))
            _add(curves.bend, tick, channel.bend() + tuning, Fraction(0))
            _add(curves.pan, tick, channel.pan, 64)
            _add(curves.modulation, tick, channel.modulation, 0)

    def sysex(self, tick: int, number: int, data: bytes) -> None:
        """System on, the GS rhythm switch, master volume and tuning; anything else means nothing."""
        port = self.port(number)
        for mode, pattern in SYSTEM_ON.items():
            if pattern.fullmatch(data):
                self.mode = mode
                for channel in port.channels:
                    self.end_all(channel, tick)
                self.ports[number] = Port()
                return
        if found := GS_RHYTHM.fullmatch(data):
            block = found[1][0] & 0x0F
            index = DRUM_CHANNEL if block == 0 else block - 1 if block <= 9 else block
            port.channels[index].rhythm = found[2][0] > 0
        elif found := MASTER.fullmatch(data):
            low, high = found[2][0], found[3][0]
            if found[1] == b"\x01":
                port.volume = Fraction(high * 128 + low, 16383)
            elif found[1] == b"\x03":
                port.tuning = Fraction(100 * (high * 128 + low - 8192), 8192)
            else:
                port.tuning = Fraction(100 * (high - 64))

    def channel_message(self, tick: int, number: int, message: mido.Message) -> None:
        """Notes, controllers, program changes and the wheel; pressure changes nothing here."""
        channel = self.port(number).channels[message.channel]
        match message.type:
            case "note_on" if message.velocity > 0:
                self.strike(tick, number, channel, message.note, message.velocity)
            case "note_on" | "note_off":
                self.let_go(channel, tick, [note for note in channel.sounding.values() if note.key == message.note])
            case "control_change":
                self.control(tick, number, channel, message.control, message.value)
            case "program_change":
                channel.program = message.program
                if channel.coarse is not None or channel.fine is not None:
                    channel.bank = (channel.coarse or 0, channel.fine or 0)
            case "pitchwheel":
                channel.wheel = message.pitch

    def strike(self, tick: int, number: int, channel: Channel, key: int, velocity: int) -> None:
        """A key goes down; the same key, or in mono mode any key, that sounds ends."""
        if channel.mono:
            self.end_all(channel, tick)
        if key in channel.sounding:
            self.end(channel.sounding.pop(key), tick)
        coarse, fine = channel.bank or (0, 0)
        is_drum = channel.is_drum(self.mode)
        part_key = PartKey(number, channel.number, coarse * 128 + fine, channel.program, is_drum)
        part = self.parts.setdefault(part_key, Part())
        if part_key in self.cut_since:
            part.cuts.append((self.cut_since.pop(part_key), tick))
        channel.sounding[key] = Note(part_key, tick, key, velocity)

    def let_go(self, channel: Channel, tick: int, notes: Iterable[Note]) -> None:
        """The keys of these notes come up, those that are down."""
        for note in notes:
            if note.down:
                note.down, self.last_release = False, tick
        self.settle(channel, tick)

    def settle(self, channel: Channel, tick: int) -> None:
        """End every note that nothing holds any more."""
        for note in list(channel.sounding.values()):
            if not (note.down or note.caught or channel.sustain):
                self.end(channel.sounding.pop(note.key), tick)

    def end_all(self, channel: Channel, tick: int) -> None:
        """End every note of a channel, held or not."""
        while channel.sounding:
            self.end(channel.sounding.popitem()[1], tick)

    def end(self, note: Note, tick: int) -> None:
        """Write a note down; without length it is dropped, unless it is a drum."""
        part = self.parts[note.part]
        if tick > note.start or note.part.is_drum:
            part.notes.append((note.start, max(tick, note.start), note.key, note.velocity))
        else:
            part.empty += 1

    def control(self, tick: int, number: int, channel: Channel, control: int, value: int) -> None:
        """A controller or channel mode message."""
        match control:
            case 0:
                channel.coarse = value
            case 32:
                channel.fine = value
            case 1:
                channel.modulation = value
            case 7:
                channel.volume = value
            case 10:
                channel.pan = value
            case 11:
                channel.expression = value
            case 64 | 66:
                self.pedal(tick, channel, control, down=value >= 64)
            case 6 | 38 | 96 | 97 | 98 | 99 | 100 | 101:
                channel.parameter(control, value)
            case 120:
                self.end_all(channel, tick)
                for key in self.parts:
                    if (key.port, key.channel) == (number, channel.number):
                        self.cut_since.setdefault(key, tick)
            case 121:
                channel.expression, channel.modulation, channel.wheel = 127, 0, 0
                channel.selected = NULL
                self.pedal(tick, channel, 64, down=False)
                self.pedal(tick, channel, 66, down=False)
            case 123 | 124 | 125 | 126 | 127:
                if control in (126, 127):
                    channel.mono = control == 126
                self.let_go(channel, tick, channel.sounding.values())

    def pedal(self, tick: int, channel: Channel, control: int, *, down: bool) -> None:
        """Sustain (64) or sostenuto (66) goes down or up."""
        channel.last_pedal = tick
        if control == 64:
            channel.sustain = down
        else:
            for note in channel.sounding.values():
                note.caught = down and (note.caught or note.down)
        self.settle(channel, tick)

    def finish(self, end: int) -> None:
        """The piece is over at tick `end`: end what still sounds, close the cuts."""
        channels = [channel for port in self.ports.values() for channel in port.channels]
        if any(note.down for channel in channels for note in channel.sounding.values()):
            self.last_release = end
        for channel in channels:
            self.end_all(channel, max(self.last_release, channel.last_pedal))
        for key, part in self.parts.items():
            part.notes.sort()
            if key in self.cut_since:
                part.cuts.append((self.cut_since[key], math.inf))


def _add(curve: list[tuple[int, Value]], tick: int, value: Value, start: Value) -> None:
    """Append a point if the value is new."""
    if value != (curve[-1][1] if curve else start):
        curve.append((tick, value))


def read(data: bytes) -> Reading:
    """Read a whole file of type 0 or 1."""
    file = read_file(data)
    machine = Machine()
    for event in file.events:
        machine.play(event)
    machine.finish(file.end)
    return Reading(file.division, file.end, machine.parts, machine.curves, machine.tempi)
