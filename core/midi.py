"""The bytes of a MIDI file, looked through before anything is built of them.

Every event becomes an object of about a kilobyte once mido and pretty_midi have read it, so a file of 30 MB could ask for
many gigabytes. This pass makes no objects: it walks over the events as mido will, counts them, and stops at the first that is
one too many or makes no sense.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from m2m.core.errors import M2MError

EVENTS_A_NOTE = 4  # a note is two events; controllers, bends and texts may take as much again
BYTES_A_NOTE = 80  # system exclusive dumps and lyrics come on top of some 8 bytes a note
MAX_TICK = 9_999_998  # pretty_midi keeps a second for every tick below ten million
DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}  # of channel messages
COMMON_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}


class BeyondLimitError(M2MError):
    """A score has more than `Limits` allow."""


@dataclass(frozen=True)
class Limits:
    """The most that a score may have, so that a damaged or hostile file costs seconds and not the machine.

    notes: of all tracks. seconds: length. polyphony: notes that sound at once. tracks: that have notes.

    >>> Limits.of({"notes": "500_000"}).notes
    500000
    """

    notes: int = 100_000
    seconds: float = 7200.0
    polyphony: int = 256
    tracks: int = 256

    @classmethod
    def of(cls, given: dict[str, str]) -> Limits:
        """Other limits than the default ones, by name. Raises M2MError for a name or a number that is none."""
        numbers: dict[str, float] = {}
        for name, text in given.items():
            known = {field.name: float if field.name == "seconds" else int for field in fields(cls)}
            if name not in known:
                raise M2MError(f"there is no limit {name!r}; there are {', '.join(known)}.")
            try:
                numbers[name] = known[name](text)
            except ValueError:
                numbers[name] = 0
            if not 0 < numbers[name] < 1e9:
                raise M2MError(f"limit {name}={text}: a number above 0 and below a billion was wanted.")
        return cls(**numbers)  # type: ignore[arg-type]

    def refuse(self, name: str, found: float, unit: str) -> None:
        """Raise BeyondLimitError where a score has more than is allowed of what `name` limits, and say how to allow it."""
        most = getattr(self, name)
        if found > most:
            raise BeyondLimitError(
                f"it has {found:,.0f} {unit}, {most:,.0f} are the most m2m reads unasked; allow more with "
                f"--limit {name}={math.ceil(found)}, or split the file."
            )


def survey(data: bytes, limits: Limits) -> None:
    """Look through a whole file. Raises M2MError for what is no music or too much of it; the message names no file."""
    tracks, division = int.from_bytes(data[10:12], "big", signed=True), int.from_bytes(data[12:14], "big")
    if len(data) < 14:
        raise _damaged("its header ends too early", len(data))
    if division == 0:
        raise _damaged("it has 0 ticks a quarter note", 12)
    if tracks < 1:
        raise M2MError("it has no tracks.")
    at, events, notes = 8 + int.from_bytes(data[4:8], "big"), 0, 0
    most_events = limits.notes * EVENTS_A_NOTE
    for _ in range(tracks):
        if data[at : at + 4] != b"MTrk":
            raise _damaged("a track was to begin", at)
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        if end > len(data):
            raise _damaged("a track is longer than the file", at)
        at, status, tick = at + 8, 0, 0
        while at < end:
            gap, at = _number(data, at)
            tick += gap
            first = data[at] if at < end else 0xFF00
            if first >= 0x80:
                status_now, at = first, at + 1
                status = status if first == 0xFF else first
            elif status:
                status_now = status
            else:
                raise _damaged("a message has no status", at)
            if status_now < 0xF0:
                if status_now & 0xF0 == 0x90 and data[at + 1 : at + 2] > b"\0":
                    notes += 1
                at += DATA_BYTES[status_now & 0xF0]
            elif status_now == 0xFF:
                kind = data[at : at + 1]
                length, at = _number(data, at + 1)
                if kind == b"\x51" and not any(data[at : at + length]):
                    raise M2MError(f"it has a tempo of 0 microseconds a quarter note (byte {at:,}); mend it.")
                at += length
            elif status_now in (0xF0, 0xF7):
                length, at = _number(data, at)
                at += length
            elif status_now in COMMON_BYTES:
                at += COMMON_BYTES[status_now]
            else:
                raise _damaged("a message is of no known kind", at)
            events += 1
            if notes > limits.notes or events > most_events:
                break
        limits.refuse("notes", notes, "notes or more")
        if events > most_events:
            raise M2MError(
                f"it has more than {most_events:,} events, {EVENTS_A_NOTE} for each of the {limits.notes:,} notes that m2m "
                f"reads unasked; allow more with --limit notes={2 * limits.notes}, or thin out its controllers."
            )
        if at != end:
            raise _damaged("a track's last message is cut off", at)
        if tick > MAX_TICK:
            raise M2MError(f"its last event is at tick {tick:,}, {MAX_TICK:,} are the most m2m reads; split the file.")


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
