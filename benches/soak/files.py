"""Files to try: MIDI files with every event there is, and damage to the bytes or the values of a file."""

from __future__ import annotations

import json
import random
import struct
from typing import Any


def midi_file(draw: random.Random) -> bytes:
    """A MIDI file with every event there is, correct but for its music."""

    def number(value: int) -> bytes:
        out = bytes([value & 0x7F])
        while value := value >> 7:
            out = bytes([0x80 | value & 0x7F]) + out
        return out

    tracks = []
    for _ in range(draw.randint(1, 4)):
        events = b""
        for _ in range(draw.randint(0, 60)):
            channel, gap = (
                draw.randrange(16),
                number(draw.choice([0, 0, 10, 100, 480] * 40 + [draw.randrange(1 << 21)])),
            )
            key, value = draw.randrange(128), draw.randrange(128)
            events += gap + draw.choice(
                [
                    bytes([0x90 | channel, key, value]),
                    bytes([0x90 | channel, key, value]) + b"\x30" + bytes([key, 0]),  # running status
                    bytes([0x80 | channel, key, value]),
                    bytes([0xB0 | channel, draw.choice([7, 11, 64, key]), value]),
                    bytes([0xC0 | channel, key]),
                    bytes([0xE0 | channel, key, value]),
                    b"\xff\x51\x03" + draw.choice([500_000, 300_000, draw.randrange(1 << 24)]).to_bytes(3, "big"),
                    b"\xff\x58\x04" + bytes([value, draw.randrange(8), 24, 8]),
                    b"\xff\x59\x02" + bytes([draw.choice([0, 3, 7, 250] * 9 + [100]), draw.randrange(2)]),
                    b"\xff\x03" + number(5) + draw.randbytes(5),
                    b"\xf0" + number(3) + bytes([key, value, 0xF7]),
                ]
            )
        events += draw.choice([b"\0\xff\x2f\0", b""])
        tracks.append(b"MTrk" + struct.pack(">I", len(events)) + events)
    division = draw.choice([480, 960, 96] * 9 + [1, 0, 32767, 0xE250])
    return b"MThd" + struct.pack(">IHHH", 6, draw.choice([0, 1, 1] * 6 + [2]), len(tracks), division) + b"".join(tracks)


def mutate(data: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, lost, doubled, or everything cut off."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        if not changed:
            break
        at, length = draw.randrange(len(changed)), draw.randint(1, 16)
        what = draw.randrange(6)
        if what == 0:
            changed[at] ^= 1 << draw.randrange(8)
        elif what == 1:
            changed[at : at + length] = draw.randbytes(length)
        elif what == 2:
            del changed[at : at + length]
        elif what == 3:
            changed[at:at] = changed[at : at + length] * draw.choice([1, 4, 64])
        elif what == 4:
            changed[at : at + 4] = draw.choice(
                [b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]
            )
        else:
            del changed[at:]
    return bytes(changed)


def mutate_config(text: str, draw: random.Random) -> str:
    """A model's config with a value of another kind, an unknown key, or one too few."""
    tree = json.loads(text)
    places: list[tuple[dict[str, Any], str]] = []

    def walk(branch: dict[str, Any]) -> None:
        for key, value in branch.items():
            places.append((branch, key))
            if isinstance(value, dict):
                walk(value)

    walk(tree)
    branch, key = draw.choice(places)
    strange: list[Any] = [
        None, -1, 0, 1, 10**9, 10**400, 1e308, "", "x" * 10_000, "../../etc/passwd", "\ud800\x1b[31m\n", [], {}, [[]], True,
        "film", "concat", "onsets-frames", 65_536, 0.5,
    ]  # fmt: skip
    if draw.random() < 0.15:
        del branch[key]
    elif draw.random() < 0.15:
        branch["unknown" + key] = draw.choice(strange)
    else:
        branch[key] = draw.choice(strange)
    return json.dumps(tree)
