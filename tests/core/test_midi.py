"""MIDI files that somebody has damaged, or made to do damage: a Score or one clear line, at once."""

import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from m2m.core.errors import M2MError, explain
from m2m.core.midi import read_events
from m2m.core.score import Score, parse_score, read_score
from m2m.core.score_limits import Limits

NOTE = b"\0\x90\x3c\x50\x83\x60\x80\x3c\x00"  # middle C for a quarter


def midi(*tracks: bytes, division: int = 480, kind: int = 1) -> bytes:
    chunks = b"".join(b"MTrk" + struct.pack(">I", len(events)) + events for events in tracks)
    return b"MThd" + struct.pack(">IHHH", 6, kind, len(tracks), division) + chunks


def number(value: int) -> bytes:
    out = bytes([value & 0x7F])
    while value := value >> 7:
        out = bytes([0x80 | value & 0x7F]) + out
    return out


byte, gap = st.integers(0, 127), st.one_of(st.integers(0, 500), st.integers(0, (1 << 28) - 1)).map(number)
channel_message = st.tuples(st.sampled_from([0x80, 0x90, 0xA0, 0xB0, 0xE0]), st.integers(0, 15), byte, byte).map(
    lambda m: bytes([m[0] | m[1], m[2], m[3]])
)
short_message = st.tuples(st.sampled_from([0xC0, 0xD0]), st.integers(0, 15), byte).map(
    lambda m: bytes([m[0] | m[1], m[2]])
)
running = st.tuples(byte, byte).map(bytes)  # data alone: the status is the last one's, if any
meta = st.tuples(st.integers(0, 127), st.binary(max_size=6)).map(lambda m: bytes([0xFF, m[0], len(m[1])]) + m[1])
sysex = st.binary(max_size=6).map(lambda data: b"\xf0" + bytes([len(data)]) + data)
event = st.tuples(
    gap, st.one_of(channel_message, channel_message, short_message, running, meta, sysex, st.binary(max_size=3))
)
track = st.lists(event.map(b"".join), max_size=30).map(b"".join)
made = st.builds(
    midi, track, track, division=st.sampled_from([480, 96, 1, 0, 32767, 0xE250]), kind=st.sampled_from([0, 1, 2])
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A file that was music, with a few bytes changed, lost or doubled."""
    data = bytearray(midi(NOTE * 6 + b"\0\xb0\x40\x7f" + NOTE, NOTE * 3 + b"\0\xff\x51\x03\x07\xa1\x20" + NOTE))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(0, 8))
        data[at : at + length] = draw(st.binary(max_size=8))
    return bytes(data)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("midi") / "a.mid"


def outcome(file: Path, data: bytes) -> Score | str:
    """The score, or the one line that says why there is none. Anything else that is raised is a bug."""
    file.write_bytes(data)
    try:
        return read_score(file)
    except M2MError as error:
        line = explain(error)
        assert line.startswith(str(file))
        assert line.isprintable()
        return line


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(made, mutated(), st.binary(max_size=60).map(lambda data: b"MThd" + data)))
@example(midi())
@example(midi(b"", b""))
@example(midi(NOTE)[:-3])
def test_any_bytes_are_a_score_or_a_line(file: Path, data: bytes) -> None:
    score = outcome(file, data)
    if isinstance(score, Score):
        assert score.duration <= Limits().seconds
        for part in score.playable:
            assert (part.notes["end"] > part.notes["start"]).all()
            assert ((part.notes["velocity"] > 0) & (part.notes["velocity"] < 128)).all()


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 300), byte, byte), min_size=1, max_size=20))
def test_mido_reads_the_same_events(file: Path, events: list[tuple[int, int, int]]) -> None:
    """With running status, and counted as mido counts them."""
    import io

    import mido

    data = midi(b"\0\x90\x3c\x40" + b"".join(number(gap) + bytes([key, value]) for gap, key, value in events))
    sounding = 1 + sum(value > 0 for _, _, value in events)
    found = read_events(data, Limits(notes=sounding))
    read = mido.MidiFile(file=io.BytesIO(data))
    assert sum(m.type == "note_on" and m.velocity > 0 for m in read.tracks[0]) == sounding
    ours = zip(found.tick.tolist(), found.status.tolist(), found.data1.tolist(), found.data2.tolist(), strict=True)
    ticks = np.cumsum([m.time for m in read.tracks[0]]).tolist()
    theirs = [(tick, *m.bytes()) for tick, m in zip(ticks, read.tracks[0], strict=True) if not m.is_meta]
    assert list(ours) == theirs
    if sounding > 1:
        with pytest.raises(M2MError, match=f"--limit notes={sounding}"):
            read_events(data, Limits(notes=sounding - 1))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (midi(b"\0\x90\x3c\x50" + b"\x01\x3c\0\0\x3c\x50" * 300_000), "notes or more, 100,000 are the most"),
        (midi(b"\0\xb0\x07\x01" + b"\0\x07\x02" * 500_000), "more than 400,000 events"),
        (b"MThd" + bytes(9_000_000), "9,000,004 bytes, 8,000,000 are the most"),
        (midi(b"\xff\xff\xff\x7f\x90\x3c\x50\x01\x80\x3c\0"), "279,620 seconds, 7,200 are the most"),
        (midi(b"\xff" * 100_000), "a number has no end"),
        (midi(b"\0\xff\x51\x03\0\0\0" + NOTE), "a tempo of 0 microseconds"),
        (midi(NOTE, division=0), "0 ticks a quarter note"),
        (midi(NOTE, division=0x9C50), "counts time in 100 frames a second"),
        (midi(NOTE, division=0xE200), "0 ticks a frame"),
        (midi(NOTE, kind=2), "type 2"),
        (midi(b"\0\x3c\x50"), "a message has no status"),
        (midi(b"\0\xf5\x50"), "a message is of no known kind"),
        (midi(NOTE[:-1]), "a track's last message is cut off"),
        (midi(NOTE)[:-1], "a track's last message is cut off"),
        (midi(NOTE, NOTE)[: -len(NOTE)], "a track is longer than the file"),
        (midi(NOTE, NOTE)[: -len(NOTE) - 8], "its header promises 2 tracks, 1 are there"),
        (midi(NOTE).replace(b"MTrk", b"XTrk"), "has no tracks"),
        (midi(), "has no tracks"),
        (midi(b""), "has no events"),
        (b"RIFF\x04\0\0\0RMID", "a RIFF file without a MIDI file in it"),
        (
            midi(b"\0\x90\x3c\x50" + b"\xff\xff\x7f\x80\x3c\0" * 3, division=96),
            "seconds, 7,200 are the most",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_too_much_or_no_music_is_one_line_at_once(file: Path, data: bytes, words: str) -> None:
    began = time.process_time()
    said = outcome(file, data)
    assert isinstance(said, str), said
    assert words in said
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "events", [b"\0\x90\x3c\x50\x83\x60\x3c\x00\0\x40\x50\x83\x60\x40\0", NOTE * 2 + b"\0\xf0\x02\x01\xf7" + NOTE]
)
def test_running_status_and_system_messages_are_read(file: Path, events: bytes) -> None:
    score = outcome(file, midi(events))
    assert isinstance(score, Score)
    assert len(score.playable[0].notes) >= 2


def test_an_empty_track_beside_music_does_no_harm(file: Path) -> None:
    score = outcome(file, midi(b"", NOTE))
    assert isinstance(score, Score)
    assert len(score.playable) == 1


def test_limits_can_be_raised_and_lowered(file: Path) -> None:
    file.write_bytes(midi(NOTE * 30, b"\0\x91\x40\x50\x90\x00\x81\x40\x00"))
    assert read_score(file, Limits(notes=31)).duration > 0
    for limits, words in (
        (Limits(notes=30), r"31 notes( or more)?, 30 are the most .* --limit notes=31"),
        (Limits(seconds=5), r"15 seconds, 5 are the most .* --limit seconds=15"),
        (Limits(polyphony=1), r"2 notes at once, 1 are the most .* --limit polyphony=2"),
        (Limits(tracks=1), r"2 tracks with notes, 1 are the most .* --limit tracks=2"),
    ):
        with pytest.raises(M2MError, match=words):
            read_score(file, limits)
    assert Limits.of({"notes": "7", "seconds": "1.5"}) == Limits(notes=7, seconds=1.5)
    for bad in ({"notes": "many"}, {"notes": "0"}, {"bars": "3"}, {"seconds": "nan"}, {"seconds": "inf"}):
        with pytest.raises(M2MError, match="limit"):
            Limits.of(bad)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mid")
    (tmp_path / "loop.mid").symlink_to("loop.mid")
    with (tmp_path / "zeros.mid").open("wb") as file:
        file.truncate(2 << 30)
    for name, words in (
        ("fifo.mid", "not a regular file"),
        ("loop.mid", "symbolic links"),
        ("zeros.mid", "2,147,483,648 bytes"),
        (".", "not a regular file"),
        ("x" * 300, "File name too long"),
        ("nul\0", "null"),
    ):
        with pytest.raises(M2MError, match=words):
            read_score(tmp_path / name)


@pytest.mark.parametrize(
    "message",
    [b"\x41\x10\x42\x12\x40\x00\x04\x40\x7c\xf7", b"\x43\x10\x4c\x00\x00\x04\x40\xf7"],
    ids=["GS", "XG"],
)
def test_the_master_volume_of_gs_and_xg_is_played(message: bytes) -> None:
    volume = b"\0\xf0" + bytes([len(message)]) + message
    track = parse_score(midi(volume + NOTE)).tracks[0]
    assert track.gain[-1, 1] == pytest.approx((64 / 127) ** 2, abs=1e-6)  # 40 log10, as General MIDI's volume


def test_a_score_without_a_name_is_the_score() -> None:
    with pytest.raises(M2MError, match=r"^the score is not a MIDI file"):
        parse_score(b"no music")
    with pytest.raises(M2MError, match=r"^the score: it is a damaged MIDI file"):
        parse_score(midi(b"\0\x90\x3c"))
