"""The second reading against midi/README.md, row by row, and against cases worked out by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from mido_channel import PartKey
from mido_machine import Reading, read, settled

FILES = Path(__file__).parent.parent / "fixtures" / "midi"

PIANO = PartKey(port=0, channel=0, bank=0, program=0, is_drum=False)
TUNE = {PIANO: [(0, 1, 60, 80), (1, 2, 64, 80)]}
THE_TUNE = (
    "key-18-flats.mid",
    "key-8-sharps.mid",
    "key-mode-255.mid",
    "time-signature-0-4.mid",
    "time-signature-2-bytes.mid",
    "smpte-offset-odd.mid",
    "alien-chunk-first.mid",
    "alien-chunk-between.mid",
    "track-length-3-too-long-last.mid",
    "volume-255.mid",
    "sysex-ff.mid",
    "riff.rmi",
    "names-utf8.mid",
    "names-shift-jis.mid",
    "master-volume-sysex.mid",
    "bends-only-rpn.mid",
    "mute-volume-0.mid",
)

Number = Fraction | int
Sounds = dict[PartKey, list[tuple[Number, Number, int, int]]]


def example(name: str) -> Reading:
    """One of the example files, read."""
    return read((FILES / name).read_bytes())


def sounds(reading: Reading) -> Sounds:
    """The notes of all parts in seconds."""
    return {
        key: [
            (reading.seconds(start), reading.seconds(end), pitch, velocity)
            for start, end, pitch, velocity in part.notes
        ]
        for key, part in reading.parts.items()
    }


def keys(reading: Reading, part: PartKey = PIANO) -> list[tuple[Number, Number, int]]:
    """The notes of one part in seconds, without velocities."""
    return [note[:3] for note in sounds(reading)[part]]


@pytest.mark.parametrize("name", THE_TUNE)
def test_the_tune(name: str) -> None:
    """Odd things that leave the tune as it is."""
    assert sounds(example(name)) == TUNE


def test_tempo_in_track_2() -> None:
    """A tempo counts whichever track it stands in."""
    reading = example("tempo-in-track-2.mid")
    assert keys(reading) == [(0, 2, 60), (2, 4, 64)]
    assert settled(reading.tempi, None) == [(0, 1_000_000)]


def test_all_notes_off() -> None:
    """CC 123 lets go."""
    reading = example("all-notes-off.mid")
    assert keys(reading) == [(0, 1, 60), (1, 2, 64), (10, Fraction(21, 2), 72)]
    assert reading.parts[PIANO].cuts == []


def test_all_sound_off() -> None:
    """CC 120 ends without a release, up to the next strike."""
    reading = example("all-sound-off.mid")
    assert keys(reading) == [(0, 1, 60), (10, Fraction(21, 2), 72)]
    assert reading.parts[PIANO].cuts == [(960, 9600)]


def test_pedal_reset_121() -> None:
    """CC 121 lifts the pedal."""
    assert keys(example("pedal-reset-121.mid")) == [(0, 1, 60), (10, Fraction(21, 2), 72)]


def test_pedal_over_program_change() -> None:
    """A note the pedal holds outlives a program change; what is struck later has the new program."""
    reading = example("pedal-over-program-change.mid")
    found: dict[int, tuple[int, Number, Number]] = {
        pitch: (key.program, start, end) for key, part in sounds(reading).items() for start, end, pitch, _ in part
    }
    assert found[64] == (0, Fraction(320, 960), 1)
    assert found[67] == (40, 1, Fraction(3, 2))


def test_volume_then_program_change() -> None:
    """The volume stays over a program change."""
    reading = example("volume-then-program-change.mid")
    assert reading.curves[0, 0].gain == [(490, Fraction(1, 25))]
    assert [key.program for key in reading.parts] == [0, 40]


def test_program_change_under_note() -> None:
    """A sounding note keeps its program."""
    assert sounds(example("program-change-under-note.mid")) == {
        PIANO: [(0, 1, 60, 80)],
        PIANO._replace(program=40): [(1, Fraction(3, 2), 67, 80)],
    }


def test_ticks_32767() -> None:
    """The largest number of ticks a quarter."""
    reading = example("ticks-32767-160s.mid")
    assert len(reading.parts[PIANO].notes) == 80
    assert abs(reading.seconds(reading.parts[PIANO].notes[-1][1]) - Fraction(319, 2)) < Fraction(1, 100)


def test_bytes_over_127() -> None:
    """Clipped to 127."""
    assert sounds(example("velocity-200.mid")) == {PIANO: [(0, 1, 60, 127)]}
    assert example("volume-255.mid").curves[0, 0].gain == [(0, Fraction(127, 100) ** 2)]


def test_two_cellos_unison() -> None:
    """Each channel has its own note of a key."""
    reading = example("two-cellos-unison.mid")
    first, second = (PartKey(0, channel, 0, 42, is_drum=False) for channel in (0, 1))
    assert [note[:2] for note in reading.parts[first].notes] == [(0, 3840)]
    assert [note[:2] for note in reading.parts[second].notes] == [(at, at + 240) for at in (0, 480, 960, 1440)]


def test_sostenuto() -> None:
    """Sostenuto holds what was down."""
    assert keys(example("sostenuto.mid"))[0] == (0, 2, 60)


def test_gm2_drums() -> None:
    """Bank 120 is a kit on any channel."""
    assert list(example("drums-gm2-bank-120.mid").parts) == [PartKey(0, 0, 120 * 128, 0, is_drum=True)]


def test_gain_and_bend_rows() -> None:
    """Master volume, bend range and volume 0."""
    assert example("master-volume-sysex.mid").curves[0, 0].gain == [(0, Fraction(16 * 128, 16383) ** 2)]
    assert example("mute-volume-0.mid").curves[0, 0].gain == [(0, Fraction(0))]
    assert example("bends-only-rpn.mid").curves[0, 0].bend == [(0, Fraction((112 - 64) * 128, 8192) * 1200)]
