"""The channel machine: MIDI events in time become notes that belong to a channel, as in a synthesiser.

A channel remembers its program and bank, volume, expression and the other controllers, pedals, bend and tuning, and the keys that
are down. A note keeps the program that it was struck with. It ends when its key is let go, unless a pedal holds it, when its key
is struck again, or when a message ends it, whichever MIDI track these stand in.

Simultaneous events of different tracks have no order in the standard. Here controllers act first, then releases, then strikes;
but no event overtakes one that stands before it in its own track.

Times are ticks or seconds, whatever the caller counts in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from m2m.core.midi import SYSEX

# Controllers, by the MIDI 1.0 specification.
BANK, MODULATION, PORTAMENTO_TIME, DATA, VOLUME, BALANCE, PAN, EXPRESSION = 0, 1, 5, 6, 7, 8, 10, 11
BANK_FINE, DATA_FINE, SUSTAIN, PORTAMENTO, SOSTENUTO, SOFT, PORTAMENTO_KEY = 32, 38, 64, 65, 66, 67, 84
REVERB, CHORUS, INCREMENT, DECREMENT = 91, 93, 96, 97
NRPN_FINE, NRPN, RPN_FINE, RPN = 98, 99, 100, 101
SOUND_OFF, RESET, NOTES_OFF, OMNI_OFF, OMNI_ON, MONO, POLY = 120, 121, 123, 124, 125, 126, 127

BEND_RANGE, FINE_TUNING, COARSE_TUNING = (0, 0), (0, 1), (0, 2)  # registered parameters
POWER_ON = {BEND_RANGE: (2, 0), FINE_TUNING: (64, 0), COARSE_TUNING: (64, 0)}  # coarse and fine byte of each
DOWN = 64  # a switch or pedal is on from this value up
DRUM_CHANNEL = 9  # channel 10, as musicians count

# Controllers that are kept as they come, and the value at which each is neutral.
KEPT = {
    MODULATION: ("modulation", 0),
    PORTAMENTO_TIME: ("portamento time", 0),
    BALANCE: ("balance", 64),
    PAN: ("pan", 64),
    PORTAMENTO: ("portamento", 0),
    SOFT: ("soft pedal", 0),
    PORTAMENTO_KEY: ("portamento key", 0),
    REVERB: ("reverb", 40),  # General MIDI 2's
    CHORUS: ("chorus", 0),
}
AFTER_RESET = ("modulation", "portamento", "soft pedal", "pressure", "key pressure")  # neutral again (MMA's RP-015)


@dataclass(eq=False)
class Part:
    """What a channel plays on one program, bank and kit.

    rows: (start, end, key, velocity) of each note. cuts: (from, to) in which CC 120 has silenced it; `to` is its next strike.
    struck_by: the MIDI tracks that its strikes stand in, in order. empty: when notes of no length were struck.
    glides: (start, key, cents off, portamento time) of each note that glides.
    """

    channel: Channel
    program: int
    bank: int
    is_drum: bool
    rows: list[tuple[float, float, int, int]] = field(default_factory=list)
    cuts: list[tuple[float, float]] = field(default_factory=list)
    struck_by: dict[int, None] = field(default_factory=dict)
    empty: list[float] = field(default_factory=list)
    silenced: float | None = None
    glides: list[tuple[float, int, float, int]] = field(default_factory=list)


class Note:
    """A note that sounds. down: its key is. caught: by the sostenuto pedal."""

    __slots__ = ("caught", "down", "part", "start", "velocity")

    def __init__(self, start: float, velocity: int, part: Part) -> None:
        self.start, self.velocity, self.part, self.down, self.caught = start, velocity, part, True, False


class Channel:
    """A channel's state. number: port * 16 + channel, from 0. curves: name -> (time, value) of each change."""

    def __init__(self, number: int, is_drum: bool) -> None:
        self.number, self.is_drum = number, is_drum
        self.sounding: dict[int, Note] = {}  # by key
        self.parts: dict[tuple[int, int, bool], Part] = {}
        self.curves: dict[str, list[tuple[float, float]]] = {}
        self.last_pedal = 0.0
        self.power_on()

    def power_on(self) -> None:
        """The state of a synthesiser that was just switched on; what sounds and the curves so far stay."""
        self.program = 0
        self.bank: tuple[int, int] | None = None  # chosen; it counts from the next program change on
        self.bank_now: tuple[int, int] | None = None
        self.rhythm: bool | None = None  # GS: this channel is a drum kit, or is none
        self.volume, self.expression, self.master_volume = 100, 127, 1.0
        self.sustain = self.mono = False
        self.bend, self.master_tuning = 0.0, 0.0  # -1..1, cents
        self.portamento, self.portamento_time = False, 0
        self.struck: int | None = None  # the last key, from which portamento glides
        self.glide_from: int | None = None  # the key that the next note glides from in any case
        self.selected = (127, 127)  # the registered parameter that data entry sets; null
        self.registered = dict(POWER_ON)
        self.part: Part | None = None  # that the next note is struck on; None: to be looked up

    def point(self, name: str, time: float, value: float, neutral: float) -> None:
        """A curve has this value from now on."""
        curve = self.curves.setdefault(name, [])
        if value != (curve[-1][1] if curve else neutral):
            curve.append((time, value))

    def gain(self, time: float) -> None:
        """Volume, expression or the master volume has changed: the 40 log10 law of the General MIDI guidelines."""
        self.point("gain", time, (self.volume / 100 * self.expression / 127) ** 2 * self.master_volume, 1.0)

    def tune(self, time: float) -> None:
        """The bend wheel or a tuning has changed: cents."""
        semitones, cents = self.registered[BEND_RANGE]
        coarse, fine = self.registered[FINE_TUNING]
        tuning = ((coarse << 7 | fine) - 8192) / 81.92 + 100 * (self.registered[COARSE_TUNING][0] - 64)
        self.point("bend", time, self.bend * (100 * semitones + cents) + tuning + self.master_tuning, 0.0)


class Machine:
    """Sixteen channels a port, which hear events in order; `parts` has what they played.

    drums: numbers of channels that are drum kits; None: channel 10 of each port.
    """

    def __init__(self, drums: Iterable[int] | None = None) -> None:
        self.drums = None if drums is None else frozenset(drums)
        self.channels: dict[int, Channel] = {}
        self.mode = ""  # by the last "system on" message: gm, gm2, gs or xg
        self.parts: list[Part] = []
        self.last_release = 0.0

    def channel(self, number: int) -> Channel:
        """A channel by its number, switched on when it is first heard of."""
        if number not in self.channels:
            is_drum = number % 16 == DRUM_CHANNEL if self.drums is None else number in self.drums
            self.channels[number] = Channel(number, is_drum)
        return self.channels[number]

    def run(
        self,
        events: Iterable[tuple[float, int, int, int, int, int]],
        sysex: Sequence[bytes] = (),
    ) -> None:
        """Hear events in order: time, channel number, status without its channel, two data bytes, MIDI track.

        sysex: the system exclusive messages, which an event of status SYSEX names by its first data byte.
        """
        for time, number, kind, first, second, track in events:
            channel = self.channels.get(number) or self.channel(number)
            if kind == 0x90 and second:
                self._strike(channel, time, first, second, track)
            elif kind == 0x90 or kind == 0x80:
                note = channel.sounding.get(first)
                if note and note.down:
                    self.last_release = time
                    note.down = False
                    if not (channel.sustain or note.caught):
                        self._end(channel, first, time)
            elif kind == 0xB0:
                self._control(channel, time, first, second)
            elif kind == 0xC0:
                channel.program, channel.bank_now, channel.part = first, channel.bank, None
            elif kind == 0xE0:
                channel.bend = ((second << 7 | first) - 8192) / 8192
                channel.tune(time)
            elif kind == 0xD0:
                channel.point("pressure", time, first, 0)
            elif kind == 0xA0:
                channel.point("key pressure", time, second, 0)
            elif kind == SYSEX:
                self._exclusive(time, number // 16, sysex[first])

    def finish(self, end: float) -> None:
        """The piece is over: keys still down are let go at `end`, and what pedals hold ends when the last key or pedal moved."""
        for channel in self.channels.values():
            if any(note.down for note in channel.sounding.values()):
                self.last_release = end
        for channel in self.channels.values():
            for key, note in list(channel.sounding.items()):
                held = channel.sustain or note.caught or not note.down
                self._end(channel, key, max(self.last_release, channel.last_pedal) if held else end)
            for part in channel.parts.values():
                if part.silenced is not None:
                    part.cuts.append((part.silenced, np.inf))

    def _strike(self, channel: Channel, time: float, key: int, velocity: int, track: int) -> None:
        if key in channel.sounding:
            self._end(channel, key, time)
        if channel.mono:
            self._end_all(channel, time)
        part = channel.part or self._part(channel)
        if part.silenced is not None:
            part.cuts.append((part.silenced, time))
            part.silenced = None
        part.struck_by[track] = None
        channel.sounding[key] = Note(time, velocity, part)
        before = channel.struck if channel.portamento and channel.glide_from is None else channel.glide_from
        if before not in (None, key) and channel.portamento_time and not part.is_drum:
            part.glides.append((time, key, 100.0 * (before - key), channel.portamento_time))
        channel.struck, channel.glide_from = key, None

    def _end(self, channel: Channel, key: int, time: float) -> None:
        note = channel.sounding.pop(key)
        part = note.part
        if time > note.start or part.is_drum:
            part.rows.append((note.start, time, key, note.velocity))
        else:
            part.empty.append(time)

    def _end_all(self, channel: Channel, time: float) -> None:
        for key in list(channel.sounding):
            self._end(channel, key, time)

    def _release_all(self, channel: Channel, time: float) -> None:
        """Every key is let go; the pedals still hold."""
        for note in channel.sounding.values():
            if note.down:
                self.last_release, note.down = time, False
        self._lift(channel, time)

    def _lift(self, channel: Channel, time: float) -> None:
        """End the notes that neither a key nor a pedal holds."""
        for key, note in list(channel.sounding.items()):
            if not (note.down or channel.sustain or note.caught):
                self._end(channel, key, time)

    def _part(self, channel: Channel) -> Part:
        """The part that a channel's program, bank and kind of kit stand for."""
        coarse, fine = channel.bank_now or (0, 0)
        is_drum = self._is_drum(channel)
        key = coarse << 7 | fine, channel.program, is_drum
        if key not in channel.parts:
            channel.parts[key] = Part(channel, channel.program, key[0], is_drum)
            self.parts.append(channel.parts[key])
        channel.part = channel.parts[key]
        return channel.part

    def _is_drum(self, channel: Channel) -> bool:
        """By GS's "use for rhythm part", by the banks of XG (127, 126) and GM2 (120, 121), else by the channel's number."""
        if channel.rhythm is not None:
            return channel.rhythm
        if channel.bank_now is None or self.mode == "gs":
            return channel.is_drum
        coarse = channel.bank_now[0]
        if self.mode == "xg":
            return coarse in (126, 127)
        return coarse in (120, 127) or (channel.is_drum and coarse != 121)

    def _control(self, channel: Channel, time: float, number: int, value: int) -> None:
        if number in KEPT:
            name, neutral = KEPT[number]
            channel.point(name, time, value, neutral)
            if number == PORTAMENTO:
                channel.portamento = value >= DOWN
            elif number == PORTAMENTO_TIME:
                channel.portamento_time = value
            elif number == PORTAMENTO_KEY:
                channel.glide_from = value
        elif number == VOLUME:
            channel.volume = value
            channel.gain(time)
        elif number == EXPRESSION:
            channel.expression = value
            channel.gain(time)
        elif number in (SUSTAIN, SOSTENUTO):
            self._pedal(channel, time, number, value >= DOWN)
        elif number == BANK:
            channel.bank = value, channel.bank[1] if channel.bank else 0
        elif number == BANK_FINE:
            channel.bank = channel.bank[0] if channel.bank else 0, value
        elif number in (RPN, RPN_FINE):
            coarse, fine = channel.selected
            channel.selected = (value, fine) if number == RPN else (coarse, value)
        elif number in (NRPN, NRPN_FINE):
            channel.selected = 127, 127  # what data entry sets now is some maker's own
        elif number in (DATA, DATA_FINE, INCREMENT, DECREMENT):
            self._enter(channel, time, number, value)
        elif number >= SOUND_OFF:
            self._mode(channel, time, number)

    def _pedal(self, channel: Channel, time: float, number: int, down: bool) -> None:
        channel.last_pedal = time
        if number == SUSTAIN:
            channel.sustain = down
        else:
            for note in channel.sounding.values():
                note.caught = down and (note.caught or note.down)
        if not down:
            self._lift(channel, time)

    def _enter(self, channel: Channel, time: float, number: int, value: int) -> None:
        """Data entry for the registered parameter that is selected."""
        if channel.selected not in channel.registered:
            return
        coarse, fine = channel.registered[channel.selected]
        if number in (INCREMENT, DECREMENT):
            coarse = min(max(coarse + (1 if number == INCREMENT else -1), 0), 127)
        channel.registered[channel.selected] = {
            DATA: (value, 0),  # MIDI 1.0: the coarse byte sets the fine one to 0
            DATA_FINE: (coarse, value),
        }.get(number, (coarse, fine))
        channel.tune(time)

    def _mode(self, channel: Channel, time: float, number: int) -> None:
        """Channel mode messages, 120 to 127."""
        if number == SOUND_OFF:
            self._end_all(channel, time)
            for part in channel.parts.values():
                part.silenced = time if part.silenced is None else part.silenced
        elif number == RESET:
            for name in AFTER_RESET:
                channel.point(name, time, 0, 0)
            channel.expression, channel.bend, channel.selected = 127, 0.0, (127, 127)
            channel.portamento, channel.glide_from = False, None
            channel.gain(time)
            channel.tune(time)
            for pedal in (SUSTAIN, SOSTENUTO):
                self._pedal(channel, time, pedal, False)
        elif number in (NOTES_OFF, OMNI_OFF, OMNI_ON, MONO, POLY):
            self._release_all(channel, time)
            if number in (MONO, POLY):
                channel.mono = number == MONO

    def _exclusive(self, time: float, port: int, message: bytes) -> None:
        """System exclusive messages that change what is heard; the byte of the device is not looked at."""
        start, rest = message[:1], message[2:]
        for mode, wanted in (
            ("gm", (b"\x7e", b"\x09\x01")),
            ("gm2", (b"\x7e", b"\x09\x03")),
            ("gs", (b"\x41", b"\x42\x12\x40\x00\x7f\x00")),
            ("xg", (b"\x43", b"\x4c\x00\x00\x7e\x00")),
        ):
            if start == wanted[0] and rest.startswith(wanted[1]):
                self._system_on(time, port, mode)
        if (
            start == b"\x41"
            and len(rest) > 6
            and rest.startswith(b"\x42\x12\x40")
            and rest[3] >> 4 == 1
            and rest[4] == 0x15
        ):
            block = rest[3] & 15  # of GS: 0 is channel 10, then 1 to 9, then 11 to 16
            channel = self.channel(port * 16 + (9 if block == 0 else block - 1 if block < 10 else block))
            channel.rhythm, channel.part = rest[5] > 0, None
        for maker, address in ((b"\x41", b"\x42\x12\x40\x00\x04"), (b"\x43", b"\x4c\x00\x00\x04")):  # GS's, XG's volume
            if start == maker and rest.startswith(address) and len(rest) > len(address):
                self._master(time, port, 1, rest[len(address)] * 129)  # 7 bits as 14: 127 is 16,383
        if start == b"\x7f" and len(rest) > 3 and rest[0] == 4 and rest[1] in (1, 3, 4):
            self._master(time, port, rest[1], rest[3] << 7 | rest[2])

    def _system_on(self, time: float, port: int, mode: str) -> None:
        """Every channel of the port is as after power-on, and silent."""
        self.mode = mode
        for channel in self.channels.values():
            if channel.number // 16 == port:
                self._end_all(channel, time)
                channel.power_on()
                channel.gain(time)
                channel.tune(time)
                for name, neutral in KEPT.values():
                    channel.point(name, time, neutral, neutral)

    def _master(self, time: float, port: int, kind: int, value: int) -> None:
        """Master volume (1), fine tuning (3) and coarse tuning (4) of a port: 14 bits."""
        for number in range(port * 16, port * 16 + 16):
            channel = self.channel(number)
            if kind == 1:
                channel.master_volume = (value / 16383) ** 2
                channel.gain(time)
            elif not channel.is_drum:
                channel.master_tuning = (value - 8192) / 81.92 if kind == 3 else 100.0 * ((value >> 7) - 64)
                channel.tune(time)


def playing_order(
    time: NDArray[np.number], track: NDArray[np.integer], kind: NDArray[np.integer], velocity: NDArray[np.integer]
) -> NDArray[np.intp]:
    """The order in which events of several tracks act.

    time:     (events,) number, ticks or seconds; a track's events come one after the other in time.
    track:    (events,) int, in which MIDI track each stands.
    kind:     (events,) int, statuses without their channel.
    velocity: (events,) int, the second data byte.

    Returns (events,) int, indices.
    """
    strikes, releases = (kind == 0x90) & (velocity > 0), (kind == 0x80) | ((kind == 0x90) & (velocity == 0))
    rank = np.where(strikes, 2, np.where(releases, 1, 0))
    if len(rank):
        another = (np.diff(time) != 0) | (np.diff(track) != 0)  # instant or track
        group = 4 * np.concatenate([[0], np.cumsum(another)])
        rank = np.maximum.accumulate(group + rank) - group  # no event overtakes one of its own track
    return np.lexsort((track, rank, time))
