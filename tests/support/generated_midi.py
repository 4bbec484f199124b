"""Legal Standard MIDI Files made up by hypothesis, written byte by byte so that they owe nothing to mido's writer.

Events stand on a coarse grid of times, on few channels and few keys, so that they collide. `files()` is the strategy.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import accumulate, product
from typing import TypeVar

from hypothesis import strategies as st

Item = TypeVar("Item")

CHANNELS = 3  # a file uses at most this many channels; messages name them by index

GRID = 12  # times are 0..GRID steps, now and then one tick later
STEPS = (1, 1, 2, 7, 120, 480, 100_000)
KEYS = (60, 60, 61, 64, 36, 0, 127, 15)
NOTE_OFF, NOTE_ON, KEY_PRESSURE, CONTROL, PROGRAM, PRESSURE, WHEEL = range(0x80, 0xF0, 0x10)


@dataclass(frozen=True)
class Voice:
    """A channel message; the channel is an index into the file's channels."""

    status: int
    channel: int
    data: tuple[int, ...]


@dataclass(frozen=True)
class Raw:
    """A sysex or meta event, whole."""

    data: bytes


@dataclass(frozen=True)
class Rhythm:
    """The GS "use for rhythm part" sysex for a channel, by index."""

    device: int
    channel: int
    value: int


Message = Voice | Raw | Rhythm


@dataclass(frozen=True)
class Placed:
    """A message at a time of the grid, in a track; does it lean on running status where it can?"""

    step: int
    late: bool
    track: int
    running: bool
    message: Message


def _varlen(value: int) -> bytes:
    """A variable-length number."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def _meta(kind: int, data: bytes) -> Raw:
    """A meta event."""
    return Raw(bytes([0xFF, kind]) + _varlen(len(data)) + data)


def _sysex(*data: int, cut: int = 0) -> Raw:
    """A sysex (without F0 and F7), in two packets if `cut` lies inside it."""
    body = bytes([*data, 0xF7])
    if 0 < cut < len(body):
        head, tail = body[:cut], body[cut:]
        return Raw(b"\xf0" + _varlen(len(head)) + head + b"\x00\xf7" + _varlen(len(tail)) + tail)
    return Raw(b"\xf0" + _varlen(len(body)) + body)


def _roland(device: int, *address_and_data: int) -> tuple[int, ...]:
    """A GS message with its checksum."""
    return (0x41, device, 0x42, 0x12, *address_and_data, -sum(address_and_data) & 0x7F)


def _product(make: Callable[..., Message], *columns: Iterable[object]) -> st.SearchStrategy[list[Message]]:
    """One of all combinations, as a phrase of one message: a single draw, which is what makes examples quick."""
    return st.sampled_from([[make(*row)] for row in product(*columns)])


def _control(channel: int, control: int, value: int) -> Message:
    """A controller."""
    return Voice(CONTROL, channel, (control, value))


def _parameter(channel: int, number: tuple[int, int], changes: list[tuple[int, int]], null: bool) -> list[Message]:
    """Select a parameter (coarse, fine), change it, and perhaps select none."""
    chain = [(101, number[0]), (100, number[1]), *changes, *([(101, 127), (100, 127)] if null else [])]
    return [Voice(CONTROL, channel, pair) for pair in chain]


def _bank(channel: int, coarse: int | None, fine: int | None, program: int | None) -> list[Message]:
    """Choose a bank, or half of one, and perhaps a program."""
    message: list[Message] = []
    if coarse is not None:
        message.append(Voice(CONTROL, channel, (0, coarse)))
    if fine is not None:
        message.append(Voice(CONTROL, channel, (32, fine)))
    if program is not None:
        message.append(Voice(PROGRAM, channel, (program,)))
    return message


def _strike(channel: int, key: int, velocity: int) -> Message:
    """A key goes down."""
    return Voice(NOTE_ON, channel, (key, velocity))


def _release(channel: int, key: int, velocity: int | None) -> Message:
    """A key is let go, by a note off or by a strike of velocity 0."""
    return Voice(NOTE_ON, channel, (key, 0)) if velocity is None else Voice(NOTE_OFF, channel, (key, velocity))


def _on(device: int, kind: str, cut: int) -> Message:
    """A "system on" message."""
    bodies: dict[str, tuple[int, ...]] = {
        "GM": (0x7E, device, 0x09, 0x01),
        "GM2": (0x7E, device, 0x09, 0x03),
        "GS": _roland(device, 0x40, 0x00, 0x7F, 0x00),
        "XG": (0x43, 0x10 | device & 0x0F, 0x4C, 0x00, 0x00, 0x7E, 0x00),
    }
    return _sysex(*bodies[kind], cut=cut)


def _master(device: int, kind: int, low: int, high: int, cut: int) -> Message:
    """Universal master volume (1), fine tuning (3) or coarse tuning (4)."""
    return _sysex(0x7F, device, 0x04, kind, 0 if kind == 4 else low, high, cut=cut)


# The pools hold what is likely to matter more than once.
_CHANNELS = range(CHANNELS)
_BYTES = (0, 1, 2, 40, 63, 64, 65, 100, 126, 127)
_DEVICES = (0x7F, 0x10, 0x00)
_WHEELS = ((0, 64), (0, 64), (0, 0), (127, 127), (1, 64), (0, 32), (77, 90), (127, 63))
_CUTS = (0, 0, 0, 0, 1, 4, 5)
_TEXTS = (b"", b"Piano", "Größe".encode(), b"\x83s\x83A", b"x" * 130)
_TEMPI = (1, 200_000, 333_333, 500_000, 500_001, 1_000_000, 0xFFFFFF)
_PARAMETERS = ((0, 0), (0, 0), (0, 1), (0, 2), (0, 5), (127, 127), (1, 0))
_MEANINGLESS = (
    _sysex(0x7E, 0x7F, 0x06, 0x01),
    _sysex(0x7E, 0x7F, 0x09, 0x02),
    _sysex(0x7F, 0x7F, 0x04, 0x02, 0x00, 0x20),
    _sysex(*_roland(0x10, 0x40, 0x01, 0x30, 0x04)),
    _sysex(0x43, 0x10, 0x4C, 0x08, 0x00, 0x07, 0x00),
    _sysex(0x7D),
    _sysex(*range(128)),
    Raw(b"\xf7\x02\xf3\x01"),
    Raw(b"\xf7\x01\xfe"),
)

_strikes = _product(_strike, _CHANNELS, KEYS, (1, 64, 100, 127))
_releases = _product(_release, _CHANNELS, KEYS, (None, 0, 64))
_metas = st.one_of(
    _product(lambda port: _meta(0x21, bytes([port])), range(3)),
    _product(lambda tempo: _meta(0x51, tempo.to_bytes(3)), _TEMPI),
    _product(lambda above, below: _meta(0x58, bytes([above, below, 24, 8])), (1, 3, 4, 13), range(6)),
    _product(lambda fifths, mode: _meta(0x59, bytes([fifths & 0xFF, mode])), range(-7, 8), range(2)),
    _product(_meta, range(1, 10), _TEXTS),
    _product(lambda channel: _meta(0x20, bytes([channel])), range(16)),
    st.just([_meta(0x7F, b"\x7d\x01")]),
)
_pedals = _product(_control, _CHANNELS, (64, 64, 66, 66, 67), (0, 63, 64, 127))
_modes = st.one_of(
    _product(_control, _CHANNELS, (120, 121, 123, 124, 125, 127), (0,)),
    _product(_control, _CHANNELS, (126,), (0, 1, 16)),
)
_controls = st.one_of(
    _product(_control, _CHANNELS, (1, 7, 7, 10, 11, 11), _BYTES),
    _product(_control, _CHANNELS, (5, 8, 65, 84), _BYTES),
    _product(_control, _CHANNELS, (6, 38, 96, 97, 98, 99, 100, 101), (0, 0, 1, 2, 3, 127)),
)
_banks = st.builds(
    _bank,
    st.sampled_from(_CHANNELS),
    st.sampled_from((None, None, 0, 1, 8, 120, 121, 126, 127)),
    st.sampled_from((None, None, 0, 1, 3)),
    st.sampled_from((None, 0, 0, 5, 40, 127)),
)
_changes = st.lists(st.sampled_from(list(product((6, 6, 6, 38, 38, 96, 97), _BYTES))), min_size=1, max_size=3)
_parameters = st.builds(_parameter, st.sampled_from(_CHANNELS), st.sampled_from(_PARAMETERS), _changes, st.booleans())
_others = st.one_of(
    _product(lambda channel, wheel: Voice(WHEEL, channel, wheel), _CHANNELS, _WHEELS),
    _product(lambda channel, wheel: Voice(WHEEL, channel, wheel), _CHANNELS, _WHEELS),
    _product(lambda channel, value: Voice(PRESSURE, channel, (value,)), _CHANNELS, _BYTES),
    _product(lambda channel, key, value: Voice(KEY_PRESSURE, channel, (key, value)), _CHANNELS, KEYS, _BYTES),
)
_sysexes = st.one_of(
    _product(_on, _DEVICES, ("GM", "GM2", "GS", "XG"), _CUTS),
    _product(_master, _DEVICES, (1, 3, 4), _BYTES, _BYTES, _CUTS),
    _product(Rhythm, _DEVICES, _CHANNELS, range(3)),
    st.sampled_from([[message] for message in _MEANINGLESS]),
)
_notes = (_strikes, _strikes, _releases)
_phrases = st.one_of(
    *_notes, *_notes, _pedals, _pedals, _modes, _controls, _others, _banks, _parameters, _metas, _sysexes
)
_places = st.sampled_from(list(product(range(GRID + 1), (False, False, False, True), range(4), (False, True))))
_placed = st.tuples(_places, _phrases)
_lengths = st.sampled_from(list(product(range(GRID + 1), range(5), range(4), (0, 0, 1, 2, 3), (None, 0, 64))))
_written = st.tuples(_strikes, _lengths)


def _each(messages: Iterable[Message]) -> list[list[Message]]:
    """Phrases of one message."""
    return [[message] for message in messages]


# Scenes: one channel, actions that mean something only together, one after the other or at once.
_PEDAL_ACTIONS: list[list[Message]] = [
    *_each(_strike(0, key, 70) for key in (60, 60, 60, 62, 62)),
    *_each(_release(0, key, 64) for key in (60, 60, 60, 62, 62)),
    *_each(_control(0, 64, value) for value in (127, 127, 0, 0)),
    *_each(_control(0, 66, value) for value in (127, 127, 127, 0, 0)),
    *_each(_control(0, control, 0) for control in (120, 120, 121, 121, 123, 124, 126, 127)),
    *_each(Voice(PROGRAM, 0, (program,)) for program in (0, 5)),
]
_PARAMETER_ACTIONS: list[list[Message]] = [
    *([_control(0, 101, 0), _control(0, 100, number)] for number in (0, 0, 0, 1, 1, 2, 2)),
    *_each(_control(0, 6, value) for value in (0, 2, 12, 127, 127)),
    *_each(_control(0, 38, value) for value in (0, 50, 127)),
    *_each(_control(0, control, 0) for control in (96, 97, 96, 97, 98, 99, 121, 121)),
    [_control(0, 101, 127), _control(0, 100, 127)],
    [_control(0, 100, 1)],
    *_each(Voice(WHEEL, 0, data) for data in ((0, 0), (127, 127), (0, 96), (0, 96))),
    [_master(0x7F, 3, 0, 0x60, 0)],
    [_master(0x7F, 4, 0, 0x42, 0)],
]
_KIT_ACTIONS: list[list[Message]] = [
    *_each(_on(0x10, kind, 0) for kind in ("GM", "GM2", "GS", "GS", "XG", "XG", "XG")),
    *_each(_control(0, 0, coarse) for coarse in (0, 120, 121, 121, 126, 126, 127)),
    *_each(_control(0, 32, fine) for fine in (0, 3)),
    *([_control(0, 0, coarse), Voice(PROGRAM, 0, (0,))] for coarse in (0, 120, 121, 126, 127)),
    *_each(Voice(PROGRAM, 0, (program,)) for program in (0, 0, 9)),
    *_each(_strike(0, 60, 70) for _ in range(4)),
    *([_strike(0, 60, 70), _release(0, 60, 0)] for _ in range(2)),
    *_each(Rhythm(0x10, 0, value) for value in (0, 1, 2)),
    [_control(0, 7, 50), _control(0, 10, 0), _control(0, 1, 64)],
    [_master(0x7F, 1, 0, 0x40, 0)],
]
_scenes = st.tuples(
    st.sampled_from(list(product(range(GRID + 1), range(4), _CHANNELS))),
    st.one_of(
        *(
            st.lists(st.tuples(st.sampled_from((1, 1, 1, 2, 0)), st.sampled_from(actions)), min_size=4, max_size=14)
            for actions in (_PEDAL_ACTIONS, _PARAMETER_ACTIONS, _KIT_ACTIONS)
        )
    ),
)
_divisions = st.one_of(
    st.sampled_from((1, 24, 96, 480, 960, 32767)),
    st.integers(1, 32767),
    st.integers(1, 32767),
    st.builds(
        lambda frames, ticks: (256 - frames) << 8 | ticks, st.sampled_from((24, 25, 29, 30)), st.integers(1, 255)
    ),
)


def _encode(message: Message, channels: list[int]) -> bytes:
    """The bytes of a message, status first."""
    match message:
        case Voice(status, index, data):
            return bytes([status | channels[index % len(channels)], *data])
        case Rhythm(device, index, value):
            channel = channels[index % len(channels)]
            block = 0 if channel == 9 else channel + 1 if channel < 9 else channel
            return _sysex(*_roland(device, 0x40, 0x10 | block, 0x15, value)).data
        case Raw(data):
            return data


def _write_track(placed: list[Placed], step: int, channels: list[int], rest: int) -> bytes:
    """A track chunk; `rest` ticks of silence stand before its end."""
    body = bytearray()
    now, status = 0, 0
    for item in sorted(placed, key=lambda item: item.step * step + item.late):
        data = _encode(item.message, channels)
        tick = item.step * step + item.late
        body += _varlen(tick - now)
        body += data[1:] if item.running and data[0] == status else data
        now, status = tick, data[0] if data[0] < 0xF0 else 0
    body += _varlen(rest) + b"\xff\x2f\x00"
    return b"MTrk" + struct.pack(">I", len(body)) + body


def _move(message: Message, channel: int) -> Message:
    """The message on another channel, if it has one."""
    return message if isinstance(message, Raw) else replace(message, channel=channel)


def _many(items: st.SearchStrategy[Item], most: int) -> st.SearchStrategy[list[Item]]:
    """A list that is not mostly short, as hypothesis would have it."""
    return st.lists(items, max_size=most // 3) | st.lists(items, min_size=most // 3, max_size=most)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A legal MIDI file of type 0 or 1."""
    kind = draw(st.sampled_from((0, 1, 1)))
    tracks = 1 if kind == 0 else draw(st.integers(1, 4))
    channels = draw(
        st.lists(st.sampled_from((0, 9, 1, 9, 8, 10, 15)) | st.integers(0, 15), min_size=1, max_size=CHANNELS)
    )
    step = draw(st.sampled_from(STEPS))
    placed = [
        Placed(at, late, track % tracks, running, message)
        for (at, late, track, running), phrase in draw(_many(_placed, 24))
        for message in phrase
    ]
    for (strike,), (at, length, track, aside, velocity) in draw(_many(_written, 8)):
        assert isinstance(strike, Voice)
        let_go = _release(strike.channel, strike.data[0], velocity)
        placed.append(Placed(at, False, track % tracks, True, strike))
        placed.append(Placed(at + length, False, (track + aside) % tracks, True, let_go))
    for (start, track, channel), actions in draw(st.lists(_scenes, max_size=2)):
        times = accumulate((wait for wait, _ in actions), initial=start)
        for at, (_, phrase) in zip(times, actions, strict=False):
            placed += [Placed(at, False, track % tracks, True, _move(message, channel)) for message in phrase]
    alien = b"XFIH" + struct.pack(">I", 4) + b"abcd" if draw(st.integers(0, 3)) == 1 else b""
    data = b"MThd" + struct.pack(">IHHH", 6, kind, tracks, draw(_divisions)) + alien
    for track in range(tracks):
        rest = draw(st.sampled_from((0, 0, 1, step, 5 * step)))
        data += _write_track([item for item in placed if item.track == track], step, channels, rest) + alien
    return data
