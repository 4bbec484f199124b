"""What a channel machine has played becomes tracks: notes and curves in seconds, and what of them will not sound."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from m2m.core.channels import KEPT, Channel, Machine, Part
from m2m.core.errors import M2MError
from m2m.core.notes import HIGHEST_KEY, LOWEST_KEY, NOTE, NoteArray, in_order, polyphony
from m2m.core.score_limits import Limits
from m2m.core.tracks import GLIDE, Curve, Omission, Track

Seconds: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float64]]  # of the machine's times

MAX_CUT_POINTS = 1_000_000  # of gain curves that "all sound off" cuts: each part has its own then
STRIKE_AHEAD = 0.01  # seconds before a strike at which a cut ends, since a gain rises over so long
DRUM_SECONDS = 0.01  # at least, of a drum's note: drums sound by themselves, and files give their notes no length
NEUTRAL = dict(KEPT.values())

# Curves that no stage plays yet: how they are reported.
UNPLAYED = {
    "key pressure": "aftertouch of single keys is left out",
}

# Seconds in which a Sound Canvas SC-55 glides over GLIDE_KEYS keys, by portamento time: MIDI defines none. Measured by J. Novak
# (dosbox-staging, pull request 2705); its rate is constant (FluidSynth, issue 1722).
GLIDE_KEYS = 40
GLIDE_TIMES = (0, 1, 2, 4, 8, 16, 32, 64, 80, 96, 112, 116, 120, 124, 127)
GLIDE_SECONDS = (0, 0.006, 0.023, 0.05, 0.11, 0.25, 0.5, 2.06, 4.2, 8.4, 19.5, 26.7, 40, 80, 480)


def assemble(
    machine: Machine, seconds: Seconds, names: Mapping[int, str], limits: Limits, remarks: Iterable[str] = ()
) -> tuple[tuple[Track, ...], tuple[Omission, ...]]:
    """The tracks that a machine has played, and what of them will not sound. Raises M2MError where it is beyond `limits`.

    seconds: (n,) times of the machine -> (n,) seconds. names: of the MIDI tracks. remarks: what was put right in the file.
    """
    parts = sorted((part for part in machine.parts if part.struck_by), key=lambda part: min(part.struck_by))
    limits.refuse("notes", sum(len(part.rows) for part in parts), "notes")
    limits.refuse("tracks", sum(bool(part.rows) for part in parts), "tracks with notes")
    curves = {channel: _curves(channel, seconds) for channel in machine.channels.values()}
    if sum(len(curves[part.channel]["gain"]) for part in parts if part.cuts) > MAX_CUT_POINTS:
        raise M2MError(f"its volume changes, cut by 'all sound off', are more than {MAX_CUT_POINTS:,}; thin them out.")
    played = [(part, _notes(part, seconds)) for part in parts]
    tracks = tuple(_track(part, notes, curves[part.channel], seconds, names) for part, notes in played)
    limits.refuse("seconds", max((float(n["end"].max()) for _, n in played if len(n)), default=0.0), "seconds")
    limits.refuse("polyphony", polyphony(t.notes for t in tracks if not t.is_drum), "notes at once")
    return tracks, tuple(_omissions(played, curves, seconds, remarks))


def decoded(text: bytes) -> str:
    """A name as text: UTF-8 where it is valid, Shift-JIS where that gives nothing but Japanese, else Windows' Latin-1.

    >>> decoded("größer".encode()), decoded("größer".encode("latin-1")), decoded("ピアノ".encode("shift-jis"))
    ('größer', 'größer', 'ピアノ')
    """
    for encoding, plausible in (("utf-8", r""), ("cp932", r"[\x00-\x7f\u3000-\u30ff\u4e00-\u9fff\uff01-\uff5e]*")):
        try:
            found = text.decode(encoding)
        except UnicodeDecodeError:
            continue
        beyond = len(re.sub(r"[\x00-\x7f]", "", found))
        if not plausible or (re.fullmatch(plausible, found) and beyond > 1):
            return _printable(found)
    return _printable(text.decode("cp1252", errors="replace"))


def _printable(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _notes(part: Part, seconds: Seconds) -> NoteArray:
    """All notes of a part, keys beyond the piano's too."""
    rows = np.array(part.rows, np.float64).reshape(-1, 4)
    notes = np.empty(len(rows), NOTE)
    notes["start"], notes["end"] = seconds(rows[:, 0]), seconds(rows[:, 1])
    notes["pitch"], notes["velocity"] = rows[:, 2], rows[:, 3]
    if part.is_drum:
        notes["end"] = np.maximum(notes["end"], notes["start"] + DRUM_SECONDS)
    return in_order(notes)


def _track(
    part: Part, notes: NoteArray, curves: Mapping[str, Curve], seconds: Seconds, names: Mapping[int, str]
) -> Track:
    piano = _on_the_piano(notes)
    outside = notes[~piano]
    if len(outside):
        notes, outside = in_order(notes[piano]), in_order(outside)
    said = dict.fromkeys(names[track] for track in part.struck_by if names.get(track))
    known = {name: curves[name] for name in ("pan", "bend", "modulation") if name in curves}
    return Track(
        name=", ".join(said),
        program=part.program,
        is_drum=part.is_drum,
        notes=notes,
        gain=_cut(curves["gain"], part.cuts, seconds),
        outside=outside,
        glides=_glides(part, seconds),
        controls={name: curve for name, curve in curves.items() if name not in ("gain", *known)},
        bank=part.bank,
        channel=part.channel.number % 16 + 1,
        port=part.channel.number // 16,
        **known,
    )


def _glides(part: Part, seconds: Seconds) -> NDArray[np.void]:
    """A part's glides in seconds, `GLIDE` array."""
    rows = np.array(part.glides, np.float64).reshape(-1, 4)
    glides = np.empty(len(rows), GLIDE)
    glides["start"], glides["key"], glides["cents"] = seconds(rows[:, 0]), rows[:, 1], rows[:, 2]
    over = np.interp(rows[:, 3], GLIDE_TIMES, GLIDE_SECONDS)
    glides["seconds"] = over * np.abs(rows[:, 2]) / (100 * GLIDE_KEYS)
    return glides


def _on_the_piano(notes: NoteArray) -> NDArray[np.bool_]:
    kept: NDArray[np.bool_] = (notes["pitch"] >= LOWEST_KEY) & (notes["pitch"] <= HIGHEST_KEY)
    return kept


def _curves(channel: Channel, seconds: Seconds) -> dict[str, Curve]:
    """A channel's curves in seconds; "gain" is always there. Pan is from -1, modulation 0..1, bend in cents, others 0..127."""
    made: dict[str, Curve] = {}
    points: list[tuple[float, float]]
    for name, points in {"gain": [], **channel.curves}.items():
        neutral, scale, offset = {"gain": (1.0, 1, 0), "pan": (64, 1 / 64, -64), "modulation": (0, 1 / 127, 0)}.get(
            name, (NEUTRAL.get(name, 0), 1, 0)
        )
        array = np.array([(0.0, neutral), *points], np.float64)
        array[:, 1] = (array[:, 1] + offset) * scale
        array[1:, 0] = seconds(array[1:, 0])
        array.flags.writeable = False
        made[name] = array
    return made


def _cut(gain: Curve, cuts: Sequence[tuple[float, float]], seconds: Seconds) -> Curve:
    """A gain curve that is 0 in each of `cuts` (machine's times); itself where there are none."""
    if not cuts:
        return gain
    spans = np.array(cuts, np.float64)
    ends = np.where(np.isinf(spans[:, 1]), 0, spans[:, 1])
    starts, ends = seconds(spans[:, 0]), np.where(np.isinf(spans[:, 1]), np.inf, seconds(ends) - STRIKE_AHEAD)
    ends = np.maximum(starts, ends)
    at = np.unique(np.concatenate([gain[:, 0], starts, ends[np.isfinite(ends)]]))
    values = gain[np.searchsorted(gain[:, 0], at, side="right") - 1, 1]
    span = np.searchsorted(starts, at, side="right") - 1
    silent = (span >= 0) & (at < ends[np.maximum(span, 0)])
    curve = np.stack([at, np.where(silent, 0.0, values)], axis=1)
    curve.flags.writeable = False
    return curve


def _omissions(
    played: Sequence[tuple[Part, NoteArray]],
    curves: Mapping[Channel, Mapping[str, Curve]],
    seconds: Seconds,
    remarks: Iterable[str],
) -> Iterator[Omission]:
    """What of a score will not sound as written, each kind with how often and where it first does not."""
    outside = [notes[~_on_the_piano(notes)] for part, notes in played if part.is_drum]
    outside = [notes for notes in outside if len(notes)]
    empty = seconds(np.sort(np.array([time for part, _ in played for time in part.empty], np.float64)))
    if outside:
        count, first = sum(map(len, outside)), min(float(notes["start"][0]) for notes in outside)
        text = f"drum notes left out, since they lie outside the 88 piano keys (A0 to C8): {count}"
        yield Omission("range", count, text, first)
    if len(empty):
        yield Omission("empty", len(empty), f"notes of no length left out: {len(empty)}", float(empty[0]))
    pitched = dict.fromkeys(part.channel for part, notes in played if not part.is_drum and len(notes))
    moved: dict[str, list[Curve]] = {}
    for channel in pitched:
        for name, curve in curves[channel].items():
            away = curve[curve[:, 1] != curve[0, 1]]
            if len(away) and name in UNPLAYED:
                moved.setdefault(UNPLAYED[name], []).append(away)
    for what, away_from in moved.items():
        count, first = sum(map(len, away_from)), min(float(curve[0, 0]) for curve in away_from)
        yield Omission(what.partition(" is ")[0].partition(" are ")[0], count, f"{what}: {count} changes", first)
    for remark in remarks:
        yield Omission("file", 1, remark)
