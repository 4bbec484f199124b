"""Small files, made after public bug reports of other tools, that real readers stumble over: each is heard as it is written."""

import re
from pathlib import Path
from typing import Any

import pytest

from m2m.core.instruments import REFERENCE
from m2m.core.rendering.model_choice import omissions
from m2m.core.score import Score, read_score

FILES = Path(__file__).parents[1] / "fixtures" / "midi"
TUNE = [(0.0, 1.0, 60), (1.0, 2.0, 64)]
LATER = (10.0, 10.5, 72)

# file -> notes (start, end, key) of each track, to the millisecond
HEARD: dict[str, list[list[tuple[float, float, int]]]] = {
    "tempo-in-track-2.mid": [[(0.0, 2.0, 60), (2.0, 4.0, 64)]],
    "all-notes-off.mid": [[*TUNE, LATER]],
    "all-sound-off.mid": [[(0.0, 1.0, 60), LATER]],
    "pedal-reset-121.mid": [[(0.0, 1.0, 60), LATER]],
    "pedal-over-program-change.mid": [[(0.0, 0.25, 60), (0.333, 1.0, 64)], [(1.0, 1.5, 67), LATER]],
    "volume-then-program-change.mid": [[(0.0, 0.5, 60), (0.521, 0.938, 62)], [(1.0, 1.5, 67)]],
    "program-change-under-note.mid": [[(0.0, 1.0, 60)], [(1.0, 1.5, 67)]],
    "two-cellos-unison.mid": [[(0.0, 4.0, 48)], [(t, t + 0.25, 48) for t in (0.0, 0.5, 1.0, 1.5)]],
    "sostenuto.mid": [[(0.0, 2.0, 60), (2.0, 2.5, 72)]],
    "drums-gm2-bank-120.mid": [[(0.0, 0.104, 36), (0.5, 0.604, 38)]],
    "velocity-200.mid": [[(0.0, 1.0, 60)]],
    "ticks-32767-160s.mid": [[(2.0 * i, 2 * i + 1.5, 48 + i * 4 % 37) for i in range(80)]],
} | {
    name: [TUNE]
    for name in (
        *("key-18-flats.mid", "key-8-sharps.mid", "key-mode-255.mid", "time-signature-0-4.mid"),
        *("time-signature-2-bytes.mid", "smpte-offset-odd.mid", "alien-chunk-first.mid", "alien-chunk-between.mid"),
        *("track-length-3-too-long-last.mid", "volume-255.mid", "sysex-ff.mid", "riff.rmi", "names-utf8.mid"),
        *("names-shift-jis.mid", "master-volume-sysex.mid", "bends-only-rpn.mid", "mute-volume-0.mid"),
    )
}


def read(name: str) -> Score:
    return read_score(FILES / name)


def notes(score: Score) -> list[list[tuple[float, float, int]]]:
    return [[(round(a, 3), round(b, 3), key) for a, b, key, _ in track.notes.tolist()] for track in score.tracks]


def test_every_file_has_its_line() -> None:
    assert set(HEARD) == {path.name for path in FILES.iterdir()}


@pytest.mark.parametrize("name", HEARD)
def test_what_is_written_is_read(name: str) -> None:
    if name == "ticks-32767-160s.mid":
        (found,) = notes(read(name))
        assert len(found) == 80
        assert found[-1][1] == pytest.approx(159.5, abs=0.01)
        return
    assert notes(read(name)) == HEARD[name]


@pytest.mark.parametrize(
    ("name", "programs"),
    [
        ("pedal-over-program-change.mid", [0, 40]),
        ("program-change-under-note.mid", [0, 40]),
        ("two-cellos-unison.mid", [42, 42]),
    ],
)
def test_a_note_keeps_the_program_that_it_was_struck_with(name: str, programs: list[int]) -> None:
    assert [track.program for track in read(name).tracks] == programs


@pytest.mark.parametrize(
    ("name", "second", "gain"),
    [
        ("all-sound-off.mid", 0.5, 1.0),
        ("all-sound-off.mid", 1.5, 0.0),  # cut without a release
        ("all-sound-off.mid", 10.1, 1.0),
        ("volume-255.mid", 1.0, 1.27**2),
        ("mute-volume-0.mid", 1.0, 0.0),
        ("master-volume-sysex.mid", 1.0, (0x10 * 128 / 16383) ** 2),
        ("volume-then-program-change.mid", 1.2, 0.04),
    ],
)
def test_gains(name: str, second: float, gain: float) -> None:
    track = read(name).tracks[-1]
    assert track.gain_curve(int(second * 1000), int(second * 1000) + 1, 1000)[0] == pytest.approx(gain, abs=1e-6)


TEN = {name: program for program, name in REFERENCE.items()}


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("drums-gm2-bank-120.mid", "drums", "drum notes left out.*: 2"),
        ("track-length-3-too-long-last.mid", "file", "track 1 says 3 bytes more than there are"),
        ("velocity-200.mid", "file", "1 messages of track 1 hold numbers over 127, read as 127"),
        ("volume-255.mid", "file", "1 messages of track 1 hold numbers over 127"),
    ],
)
def test_what_is_not_played_or_was_put_right_is_said(name: str, kind: str, words: str) -> None:
    (omission,) = omissions(read(name), TEN)
    assert omission.kind == kind
    assert re.search(words, omission.text)


@pytest.mark.parametrize(
    ("name", "wanted"), [("names-utf8.mid", "Klavier – größer"), ("names-shift-jis.mid", "ピアノ")]
)
def test_names_are_readable(name: str, wanted: str) -> None:
    assert [track.name for track in read(name).tracks] == [wanted]


def test_velocities_are_clipped() -> None:
    assert read("velocity-200.mid").tracks[0].notes["velocity"].tolist() == [127]


def test_bends_are_kept_in_cents() -> None:
    (track,) = read("bends-only-rpn.mid").tracks
    assert track.bend[-1].tolist() == [0.0, pytest.approx(900.0)]


def test_two_of_a_kind_are_rendered_apart_and_their_stems_are_the_mix() -> None:
    import numpy as np

    import m2m

    pipeline = m2m.Pipeline()
    mix = pipeline.render(FILES / "two-cellos-unison.mid", clip_mode="none")
    apart = pipeline.render(FILES / "two-cellos-unison.mid", clip_mode="none", stems=True)
    assert len(apart.stems) == 2
    assert np.abs(mix.audio - apart.audio).max() < 1e-6
    assert np.abs(sum(apart.stems.values(), np.zeros(1, np.float32)) - apart.audio).max() < 1e-6


def test_smpte_time_is_seconds(tmp_path: Path) -> None:
    """25 frames a second of 40 ticks: a tick is a millisecond, whatever the tempo."""
    data = bytearray((FILES / "sostenuto.mid").read_bytes())
    data[12:14] = bytes([256 - 25, 40])
    (tmp_path / "a.mid").write_bytes(data)
    assert notes(read_score(tmp_path / "a.mid")) == [[(0.0, 1.92, 60), (1.92, 2.4, 72)]]


def test_as_json_it_says_what_is_read(m2m: Any) -> None:
    import json

    done = m2m("score", str(FILES / "volume-then-program-change.mid"), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(t["track"], t["program"], t["notes"], t["timbre"]) for t in found["tracks"]] == [
        (1, 0, 2, "grand-piano"),
        (2, 40, 1, "violin"),
    ]
    told = m2m("score", str(FILES / "velocity-200.mid"))
    assert "TRACK" in told.stdout
    assert "from 0.00 s: 1 messages of track 1 hold numbers over 127" in told.stderr
