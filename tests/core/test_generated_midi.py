"""The second reading of generated files: what must hold of any of them, and what mido sees in them itself."""

from __future__ import annotations

import io
from itertools import pairwise

import mido  # type: ignore[import-untyped]
import pytest
from generated_midi import files
from hypothesis import HealthCheck, given, settings
from mido_events import read_file
from mido_machine import read

MISREAD_BY_MIDO = (b"XFIH", b"\x00\xf7", b"\xf7\x02\xf3\x01", b"\xf7\x01\xfe")  # other chunks, packets, escapes


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(files())
def test_notes(data: bytes) -> None:
    """Every note lies within the piece, only drums have no length, and no key sounds twice at once."""
    reading = read(data)
    spans: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for key, part in reading.parts.items():
        for start, end, pitch, _ in part.notes:
            assert 0 <= start <= end <= reading.end
            assert start < end or key.is_drum
            spans.setdefault((key.port, key.channel, pitch), []).append((start, end))
    assert all(one[1] <= two[0] for span in spans.values() for one, two in pairwise(sorted(span)))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(files())
def test_against_mido(data: bytes) -> None:
    """Where mido reads a file, it finds as many messages and the same length."""
    if any(mark in data for mark in MISREAD_BY_MIDO):
        return
    theirs, ours = mido.MidiFile(file=io.BytesIO(data)), read_file(data)
    messages = [message for track in theirs.tracks for message in track]
    assert sum(not message.is_meta for message in messages) == sum(
        event.message.type != "set_tempo" for event in ours.events
    )
    if any(message.type == "unknown_meta" for message in messages):
        return  # mido loses the time before these
    assert max(sum(message.time for message in track) for track in theirs.tracks) == ours.end
    if theirs.ticks_per_beat > 0:
        assert float(read(data).seconds(ours.end)) == pytest.approx(theirs.length)
