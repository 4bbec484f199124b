"""The second reading against cases worked out by hand."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import pytest
from mido_channel import PartKey
from mido_machine import Reading, read, settled

PIANO = PartKey(port=0, channel=0, bank=0, program=0, is_drum=False)
Number = Fraction | int


def gain(reading: Reading, port: int = 0) -> list[tuple[int, Number]]:
    """The gain of channel 1, one value a tick."""
    return list(settled(reading.curves[port, 0].gain, Fraction(1)))


def bend(reading: Reading, channel: int = 0) -> list[tuple[int, Number]]:
    """The bend of a channel, one value a tick."""
    return list(settled(reading.curves[0, channel].bend, Fraction(0)))


def song(*tracks: str, division: int = 480) -> Reading:
    """A file with tracks given in hex; every track ends 10 ticks after its last event."""
    data = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), division)
    for track in tracks:
        body = bytes.fromhex(track) + b"\x0a\xff\x2f\x00"
        data += b"MTrk" + struct.pack(">I", len(body)) + body
    return read(data)


def notes(reading: Reading) -> list[tuple[int, int, int]]:
    """All notes as (start, end, key) in ticks."""
    return sorted(note[:3] for part in reading.parts.values() for note in part.notes)


def empty(reading: Reading) -> int:
    """How many notes got no length."""
    return sum(part.empty for part in reading.parts.values())


def test_order_within_a_tick() -> None:
    """Across tracks: others, releases, strikes; nothing overtakes what stands before it in its track."""
    assert notes(song("00903c40 0a903c40 0a803c40", "0a803c40")) == [(0, 10, 60), (10, 20, 60)]
    assert empty(song("00903c40 00803c40")) == 1
    # The program change of track 0 stands behind a strike, so the strike of track 1 comes after it only by its track.
    parts = song("00903c40 00c005", "00903e40").parts
    assert [(key.program, part.notes[0][2]) for key, part in parts.items()] == [(0, 60), (5, 62)]
    parts = song("00903e40", "00903c40 00c005").parts
    assert [key.program for key in parts] == [0]


def test_strikes_of_a_sounding_key() -> None:
    """A second strike ends the first; the next release ends the second."""
    assert notes(song("00903c40 0a903c50 0a803c40 0a803c40")) == [(0, 10, 60), (10, 20, 60)]
    assert notes(song("00b0407f 00903c40 0a803c40 0a903c40 0a803c40 0ab04000")) == [(0, 20, 60), (20, 40, 60)]


def test_pedals_together() -> None:
    """A note ends when neither key nor pedal holds it."""
    both = song("00903c40 0ab0427f 00b0407f 0a803c40 0ab04200 0ab04000")
    assert notes(both) == [(0, 40, 60)]
    late = song("00903c40 0ab0427f 05903e40 05b0427f 0a803c40 00803e40 0ab0423f")
    assert notes(late) == [(0, 40, 60), (15, 40, 62)]
    assert notes(song("00b0427f 00903c40 0a803c40 0ab04200")) == [(0, 10, 60)]


def test_sostenuto_again() -> None:
    """Pressed again it catches more, and keeps what it has; what only the sustain pedal holds it never catches."""
    again = song("00903c40 00b0427f 0a803c40 00903e40 00b0427f 0a803e40 0ab04200")
    assert notes(again) == [(0, 30, 60), (10, 30, 62)]
    assert notes(song("00b0407f 00903c40 0a803c40 00b0427f 0ab04000 0ab04200")) == [(0, 20, 60)]
    assert notes(song("00903c40 00b0427f 0a803c40 0ab07900", "32813c40")) == [(0, 20, 60)]


def test_mono() -> None:
    """In mono mode a strike ends what sounds; CC 126 and 127 let go, but the pedal holds."""
    assert notes(song("00b07e01 00903c40 0a903e40 0a803c40 0a803e40")) == [(0, 10, 60), (10, 30, 62)]
    assert notes(song("00b0407f 00903c40 0ab07f00 0ab04000")) == [(0, 20, 60)]
    assert notes(song("00b07e01 00b07f00 00903c40 0a903e40 0a803c40 0a803e40")) == [(0, 20, 60), (10, 30, 62)]


def test_end_of_piece() -> None:
    """Keys down sound to the end; notes on the pedal to the last release or pedal."""
    assert notes(song("00903c40 0a903e40 0a803e40")) == [(0, 30, 60), (10, 20, 62)]
    assert notes(song("00b0407f 00903c40 0a803c40 0a913c40 0a813c40")) == [(0, 30, 60), (20, 30, 60)]
    assert notes(song("00b0407f 00903c40 0a803c40 0ab0407f 0ab00101")) == [(0, 20, 60)]
    assert notes(song("00b0407f 00903c40 0a803c40 0a913c40")) == [(0, 30, 60), (20, 30, 60)]
    assert empty(song("00b0407f 00903c40 00803c40")) == 1
    assert notes(song("00b9407f 00993c40 00893c40")) == [(0, 0, 60)]


def test_empty_drums_stay() -> None:
    """A drum without length is still a stroke."""
    assert notes(song("00993c40 00893c40")) == [(0, 0, 60)]


def test_cuts() -> None:
    """CC 120 cuts every part of its channel up to that part's next strike."""
    reading = song("00903c40 0ab07800 00c005 0a903c40 0a803c40 00b07800")
    piano, other = reading.parts[PIANO], reading.parts[PIANO._replace(program=5)]
    assert (piano.notes, piano.cuts) == ([(0, 10, 60, 64)], [(10, math.inf)])
    assert (other.notes, other.cuts) == ([(20, 30, 60, 64)], [(30, math.inf)])


def test_reset_all_controllers() -> None:
    """RP-015: volume, pan and bend range stay; expression, modulation and the wheel do not."""
    reset = song("00b00732 000b40 000a14 000140 006500 006400 00060c 00e00000 0ab07900 05e00000")
    curves = reset.curves[0, 0]
    assert gain(reset) == [(0, Fraction(32, 127) ** 2), (10, Fraction(1, 4))]
    assert curves.pan == [(0, 20)]
    assert curves.modulation == [(0, 64), (10, 0)]
    assert bend(reset) == [(0, -1200), (10, 0), (15, -1200)]
    assert bend(song("00b06500 006400 007900 00060c 00e00000")) == [(0, -200)]


def test_registered_parameters() -> None:
    """Range in semitones and cents, both tunings, steps up and down, null and NRPN."""
    chosen = "00b06500 0064"
    assert bend(song(chosen + "00 000603 002632 00e00000")) == [(0, -350)]
    assert bend(song(chosen + "00 006000 00e00000")) == [(0, -300)]
    assert bend(song(chosen + "00 006100 006100 006100 00e00000")) == []
    assert bend(song(chosen + "01 000660")) == [(0, 50)]
    assert bend(song(chosen + "02 00063e")) == [(0, -200)]
    assert bend(song(chosen + "02 00657f 00647f 00063e")) == []
    assert bend(song(chosen + "02 006301 00063e")) == []
    assert bend(song(chosen + "00 00067f 006000 00e00000")) == [(0, -12700)]
    assert bend(song(chosen + "00 000603 002632 000603 00e00000")) == [(0, -300)]


def test_banks() -> None:
    """Bank bytes act at the next program change and stay for those after it."""
    reading = song("00b00001 002003 00903c40 0ac000 00903e40 0ac005 00904040 0ab00002 00c005 00904140")
    assert [(key.bank, key.program) for key in reading.parts] == [(0, 0), (131, 0), (131, 5), (259, 5)]


def test_last_release() -> None:
    """What lets go of a key counts as the last release, whichever message; a release of a key that is up does not."""
    held = "00b0407f 00903c40 0a803c40"
    assert notes(song(held, "14813c40")) == [(0, 10, 60)]
    assert notes(song(held + "0a913c40 0ab17b00")) == [(0, 30, 60), (20, 30, 60)]


def test_end_of_track() -> None:
    """What stands behind the end of a track is not read."""
    assert notes(song("00903c40 0aff2f00 0a903e40")) == [(0, 10, 60)]


def test_master_tuning() -> None:
    """The later message replaces the earlier one; channel 10 has none."""
    reading = song("00f0077f7f04030060f7 0af0077f7f04040042f7")
    assert bend(reading) == [(0, 50), (10, 200)]
    assert bend(reading, channel=9) == []


def test_system_on() -> None:
    """Notes end, curves go back, and only this port is touched."""
    strike = "00b00732 00903c40"
    assert gain(song("00f0077f7f04010040f7 0af0057e7f0901f7"))[-1] == (10, 1)
    reading = song(strike + "0af0057e7f0901f7 0a803c40", "00ff210101" + strike + "14803c40")
    assert {key.port: part.notes[0][:2] for key, part in reading.parts.items()} == {0: (0, 10), 1: (0, 20)}
    assert gain(reading) == [(0, Fraction(1, 4)), (10, 1)]
    assert gain(reading, port=1) == [(0, Fraction(1, 4))]


GM, GS, XG = "00f0057e7f0901f7", "00f00a41104212 40007f0041f7", "00f00843104c00007e00f7"


@pytest.mark.parametrize(
    ("track", "is_drum"),
    [
        ("00993c40", True),
        ("00903c40", False),
        ("00b90079 00c900 00993c40", False),
        ("00b90000 00993c40", True),
        ("00b90001 00c900 00993c40", True),
        ("00b0007f 00c000 00903c40", True),
        ("00b00078 00903c40", False),
        (GM + "00b00078 00c000 00903c40", True),
        (GS + "00b00078 00c000 00903c40", False),
        (GS + "00b90079 00c900 00993c40", True),
        (XG + "00b90000 00c900 00993c40", False),
        (XG + "00b0007e 00c000 00903c40", True),
        (XG + "00b00078 00c000 00903c40", False),
        (XG + "00993c40", True),
        ("00f00a41104212 4011150119f7 00903c40", True),
        ("00f00a41104212 401015001bf7 00993c40", False),
        ("00f00a41104212 401a150110f7 009a3c40", True),
        ("00f00a41104212 4011150119f7" + GS + "00903c40", False),
    ],
)
def test_drums(track: str, is_drum: bool) -> None:
    """What makes a channel a kit."""
    assert [key.is_drum for key in song(track).parts] == [is_drum]


def test_packets_and_escapes() -> None:
    """A sysex in two packets counts when it is whole; an escape may carry any message."""
    assert gain(song("00f0037f7f04 0af704010010f7")) == [(10, Fraction(2048, 16383) ** 2)]
    assert notes(song("00f703903c40 0a803c40")) == [(0, 10, 60)]


def test_seconds() -> None:
    """Tempo changes and SMPTE divisions, exactly."""
    changing = song("0aff51030f4240 0a903c40", "05ff51030003e8")
    assert changing.seconds(20) == Fraction(5 * 500_000 + 5 * 1_000 + 10 * 1_000_000, 480_000_000)
    assert song("00903c40", division=0xE728).seconds(1000) == 1
    assert song("00903c40", division=0xE364).seconds(100) == Fraction(1001, 30000)
