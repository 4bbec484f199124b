"""The odd files that every MIDI reader meets, through the command, with its peak memory."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

from soak.commands import M2M

NOTE = b"\0\x90\x3c\x50\x83\x60\x80\x3c\x00"
# Rendered where it is music, by the fastest setting there is.
QUICK = ["--vocoder-opt", "iterations=0", "--vocoder-opt", "updates=1"]


def special(folder: Path, **_: Any) -> dict[str, Any]:
    """Render each odd file: its exit code, what was said, time and memory."""
    for name, data in odd_files().items():
        (folder / f"{name}.mid").write_bytes(data)
    with (folder / "two gigabytes of zeros.mid").open("wb") as file:
        file.truncate(2 << 30)
    (folder / "a directory.mid").mkdir()
    os.mkfifo(folder / "a FIFO.mid")
    (folder / "a loop of links.mid").symlink_to("a loop of links.mid")
    return {path.stem: render(path) for path in sorted(folder.glob("*.mid"))}


def odd_files() -> dict[str, bytes]:
    """MIDI files by what is odd about them."""
    at_once = (b"\0\x90" + bytes([n % 88 + 21, 80]) for n in range(100_000))
    return {
        "ten million notes": one_track(b"\0\x90\x3c\x50" + b"\x01\x3c\0\0\x3c\x50" * 10_000_000),
        "a hundred thousand notes at once": one_track(b"".join(at_once)),
        "the largest tick there is": one_track(b"\xff\xff\xff\x7f\x90\x3c\x50\xff\xff\xff\x7f\x80\x3c\0"),
        "a number without an end": one_track(b"\xff" * 1_000_000),
        "zero tempo": one_track(b"\0\xff\x51\x03\0\0\0" + NOTE),
        "zero ticks a quarter": one_track(NOTE, division=0),
        "SMPTE division": one_track(NOTE, division=0xE250),
        "type 2": one_track(NOTE, kind=2),
        "an endless note": one_track(b"\0\x90\x3c\x50\x87\x40\x90\x40\x50\x87\x40\x80\x40\x00"),
        "overlapping notes": one_track(b"\0\x90\x3c\x50" * 50 + b"\x83\x60\x80\x3c\x00" * 50),
        "running status": one_track(b"\0\x90\x3c\x50\x83\x60\x3c\x00\0\x40\x50\x83\x60\x40\0"),
        "empty": b"",
        "not MIDI": b"%PDF-1.7",
        "text of a megabyte": one_track(b"\0\xff\x01\xbd\x84\x40" + b"x" * 1_000_000 + NOTE),
        "two hours": one_track(NOTE + b"\xff\x7f\x90\x3c\x50\x10\x80\x3c\0" * 415),
    }


def one_track(events: bytes, division: int = 480, kind: int = 1) -> bytes:
    """A MIDI file of one track."""
    return b"MThd" + struct.pack(">IHHH", 6, kind, 1, division) + b"MTrk" + struct.pack(">I", len(events)) + events


def render(path: Path) -> dict[str, Any]:
    """What `m2m render` does with a file."""
    began = time.perf_counter()
    command = [*M2M, "render", path.name, "-o", "out.wav", "-y", *QUICK]
    process = subprocess.Popen(command, cwd=path.parent, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert "Traceback" not in said, said
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "said": said.strip()[-250:],
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mb": usage.ru_maxrss >> 10,
        "lines": said.count("\n"),
    }
