from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pretty_midi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2m.core.errors import M2MError
from m2m.core.rendering.model_choice import omissions
from m2m.core.score import (
    NOTE,
    as_rows,
    excerpt,
    from_pretty_midi,
    from_rows,
    hold,
    merge,
    note_array,
    parse_score,
    read_score,
)


def midi_of(*notes: tuple[float, float, int], program: int = 0, drum: bool = False) -> pretty_midi.PrettyMIDI:
    midi = pretty_midi.PrettyMIDI()
    instrument = pretty_midi.Instrument(program, is_drum=drum)
    instrument.notes = [pretty_midi.Note(100, key, start, end) for start, end, key in notes]
    midi.instruments.append(instrument)
    return midi


def test_the_pedal_holds_a_note_until_it_is_lifted() -> None:
    notes = note_array([(0.0, 1.0, 60, 90), (3.0, 4.0, 60, 90)])
    held = hold(notes, [(0.5, 127), (2.0, 0)], end=4.0)
    assert held["end"].tolist() == [2.0, 4.0]


def test_the_pedal_lets_go_where_the_key_is_struck_again() -> None:
    held = hold(note_array([(0.0, 1.0, 60, 90), (1.5, 1.8, 60, 90)]), [(0.5, 127), (9.0, 0)], end=9.0)
    assert held["end"].tolist() == [1.5, 9.0]


def test_a_pedal_never_lifted_holds_until_the_end_of_the_piece() -> None:
    held = hold(note_array([(0.0, 1.0, 60, 90), (0.0, 5.0, 64, 90)]), [(0.5, 100)], end=5.0)
    assert held["end"].tolist() == [5.0, 5.0]


def test_half_pedal_below_64_is_up() -> None:
    assert hold(note_array([(0.0, 1.0, 60, 90)]), [(0.5, 63)], end=5.0)["end"].tolist() == [1.0]


notes_strategy = st.lists(
    st.tuples(st.floats(0, 20), st.floats(0.01, 5), st.integers(21, 108), st.integers(1, 127)).map(
        lambda n: (n[0], n[0] + n[1], n[2], n[3])
    ),
    max_size=40,
)
pedal_strategy = st.lists(st.tuples(st.floats(0, 25), st.integers(0, 127)), max_size=10)


@given(notes_strategy, pedal_strategy)
def test_no_key_sounds_twice_at_once_and_no_pedal_shortens(
    notes: list[tuple[float, float, int, int]], pedal: list[tuple[float, int]]
) -> None:
    before, after = hold(note_array(notes), [], 25.0), hold(note_array(notes), pedal, 25.0)
    assert len(before) == len(after)
    assert (after["end"] >= before["end"]).all()
    for key in set(after["pitch"].tolist()):
        one = after[after["pitch"] == key]
        assert (one["end"][:-1] <= one["start"][1:]).all()
        assert (one["end"] > one["start"]).all()


def test_a_pedal_in_a_track_of_its_own_holds_the_notes_of_its_channel(tmp_path: Path) -> None:
    """The files of piano-midi.de are made like this; pretty_midi alone would lose the pedal."""
    file = mido.MidiFile(ticks_per_beat=480)
    right, left, pedal = mido.MidiTrack(), mido.MidiTrack(), mido.MidiTrack()
    for track, key in ((right, 72), (left, 48)):
        track += [mido.Message("note_on", note=key, velocity=80), mido.Message("note_off", note=key, time=480)]
    pedal += [
        mido.Message("control_change", control=64, value=127, time=240),
        mido.Message("control_change", control=64, value=0, time=1200),
    ]
    file.tracks += [right, left, pedal]
    file.save(tmp_path / "pedal.mid")
    (track,) = read_score(tmp_path / "pedal.mid").tracks  # both hands play on one channel
    assert track.notes["pitch"].tolist() == [48, 72]
    assert track.notes["end"].tolist() == [1.5, 1.5]  # 1440 ticks at 120 quarters a minute


def test_two_tracks_may_work_one_pedal(tmp_path: Path) -> None:
    file = mido.MidiFile(ticks_per_beat=480)
    foot, other, notes = mido.MidiTrack(), mido.MidiTrack(), mido.MidiTrack()
    for track, *moves in (
        (foot, (0, 127), (960, 127)),
        (other, (480, 0), (960, 0)),
    ):  # down, up, down, up, 480 ticks each
        track += [mido.Message("control_change", control=64, value=value, time=gap) for gap, value in moves]
    notes += [mido.Message("note_on", note=60, velocity=80, time=960), mido.Message("note_off", note=60, time=120)]
    file.tracks += [foot, other, notes]
    file.save(tmp_path / "two.mid")
    assert read_score(tmp_path / "two.mid").tracks[0].notes["end"].tolist() == [1.5]


def test_a_channel_of_another_part_does_not_hold(tmp_path: Path) -> None:
    file = mido.MidiFile(ticks_per_beat=480)
    notes, pedal = mido.MidiTrack(), mido.MidiTrack()
    notes += [mido.Message("note_on", note=60, velocity=80), mido.Message("note_off", note=60, time=480)]
    pedal += [mido.Message("control_change", channel=1, control=64, value=127)]
    file.tracks += [notes, pedal]
    file.save(tmp_path / "other.mid")
    assert read_score(tmp_path / "other.mid").tracks[0].notes["end"].tolist() == [0.5]


def test_tempo_changes_are_honoured(tmp_path: Path) -> None:
    file = mido.MidiFile(ticks_per_beat=100)
    track = mido.MidiTrack()
    track += [
        mido.MetaMessage("set_tempo", tempo=1_000_000),  # 60 quarters a minute
        mido.Message("note_on", note=60, velocity=80),
        mido.Message("note_off", note=60, time=100),
        mido.MetaMessage("set_tempo", tempo=500_000),
        mido.Message("note_on", note=62, velocity=80),
        mido.Message("note_off", note=62, time=100),
    ]
    file.tracks.append(track)
    file.save(tmp_path / "tempo.mid")
    score = read_score(tmp_path / "tempo.mid")
    notes = score.tracks[0].notes
    assert notes["start"].tolist() == [0.0, 1.0]
    assert notes["end"].tolist() == [1.0, 1.5]
    assert score.tempi == ((0.0, 60.0), (1.0, 120.0))


def test_what_will_not_sound_is_counted() -> None:
    midi = midi_of((0, 1, 60), (0, 1, 12), (0, 1, 110))
    midi.instruments[0].pitch_bends = [pretty_midi.PitchBend(0, 0.0), pretty_midi.PitchBend(500, 0.1)]
    drums = pretty_midi.Instrument(0, is_drum=True)
    drums.notes = [pretty_midi.Note(100, 36, 0.2 * i, 0.2 * i + 0.1) for i in range(5)]
    midi.instruments.append(drums)
    score = from_pretty_midi(midi)
    counted = {omission.kind: omission.count for omission in omissions(score, {"grand-piano": 0})}
    assert counted == {"drums": 5}  # bends and keys beyond the piano's sound
    assert "drums" not in {omission.kind for omission in omissions(score, {"grand-piano": 0, "standard-kit": 128})}
    assert [track.notes["pitch"].tolist() for track in score.playable] == [[60]]
    assert [track.outside["pitch"].tolist() for track in score.playable] == [[12, 110]]


def test_volume_and_expression_are_a_gain_curve() -> None:
    midi = midi_of((0, 2, 60))
    midi.instruments[0].control_changes = [
        pretty_midi.ControlChange(7, 50, 0.0),
        pretty_midi.ControlChange(11, 127, 0.0),
        pretty_midi.ControlChange(7, 100, 1.0),
    ]
    curve = from_pretty_midi(midi).tracks[0].gain_curve(0, 2000, 1000)
    assert curve[500] == pytest.approx(0.25)  # half the volume: 12 dB down, the 40 log10 law
    assert curve[1500] == pytest.approx(1.0)
    assert np.abs(np.diff(curve)).max() < 0.1  # a step is a short ramp, not a click


def test_an_untouched_channel_has_gain_one() -> None:
    assert (from_pretty_midi(midi_of((0, 1, 60))).tracks[0].gain_curve(0, 100, 1000) == 1).all()


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "not a MIDI file"), (b"RIFF....", "not a MIDI file"), (b"MThd\x00\x00", "damaged MIDI file")],
)
def test_what_is_not_midi_is_one_clear_error(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "bad.mid"
    path.write_bytes(data)
    with pytest.raises(M2MError, match=words):
        read_score(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(M2MError, match=r"absent\.mid: No such file"):
        read_score(tmp_path / "absent.mid")
    with pytest.raises(M2MError, match="not a regular file"):
        read_score(tmp_path)


def test_excerpt_moves_and_cuts() -> None:
    part = excerpt(note_array([(0.0, 5.0, 60, 90), (1.0, 9.0, 62, 90), (4.0, 5.0, 64, 90)]), 0.5, 4.0)
    assert part.tolist() == [(0.5, 3.5, 62, 90)]


def test_merge_ends_a_note_where_another_hand_strikes_its_key() -> None:
    merged = merge([note_array([(0.0, 2.0, 60, 90)]), note_array([(1.0, 3.0, 60, 70)])])
    assert merged.tolist() == [(0.0, 1.0, 60, 90), (1.0, 3.0, 60, 70)]


def test_rows_keep_every_field() -> None:
    notes = note_array([(0.1, 0.2, 60, 90), (0.3, 0.4, 61, 127)])
    assert from_rows(as_rows(notes)).tolist() == notes.tolist()
    assert from_rows(as_rows(note_array([]))).dtype == NOTE


def test_notes_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        from_pretty_midi(midi_of((0, 1, 60))).tracks[0].notes["pitch"] = 1


def test_ports_have_channels_of_their_own(tmp_path: Path) -> None:
    file = mido.MidiFile(ticks_per_beat=480)
    for port in (0, 1):
        track = mido.MidiTrack([mido.MetaMessage("midi_port", port=port)])
        if port == 1:
            track.append(mido.Message("control_change", control=7, value=0))
        track += [mido.Message("note_on", note=60, velocity=80), mido.Message("note_off", note=60, time=480)]
        file.tracks.append(track)
    file.save(tmp_path / "ports.mid")
    loud, silent = read_score(tmp_path / "ports.mid").tracks
    assert loud.gain[-1, 1] == 1.0
    assert silent.gain[-1, 1] == 0.0


def test_a_note_that_never_ends_sounds_to_the_end(tmp_path: Path) -> None:
    file = mido.MidiFile(ticks_per_beat=480)
    stuck = mido.MidiTrack([mido.Message("note_on", note=60, velocity=80)])
    other = mido.MidiTrack([mido.Message("note_on", note=72, velocity=80), mido.Message("note_off", note=72, time=960)])
    file.tracks += [stuck, other]
    file.save(tmp_path / "stuck.mid")
    assert [track.notes["end"].tolist() for track in read_score(tmp_path / "stuck.mid").tracks] == [[1.0, 1.0]]


def test_a_channel_that_many_tracks_control_costs_no_copies(tmp_path: Path) -> None:
    file = mido.MidiFile()
    for number in range(100):
        notes = [mido.Message("note_on", note=60, velocity=80), mido.Message("note_off", note=60, time=10)]
        controls = [mido.Message("control_change", control=11, value=(i + number) % 128, time=1) for i in range(100)]
        file.tracks.append(mido.MidiTrack(notes + controls))
    file.save(tmp_path / "many.mid")
    (track,) = read_score(tmp_path / "many.mid").tracks
    assert 100 < len(track.gain) <= 10_001


@pytest.mark.parametrize(("at", "value", "words"), [(9, 2, "type 2"), (12, 0x9C, "100 frames a second")])
def test_kinds_of_midi_file_that_are_no_score(tmp_path: Path, at: int, value: int, words: str) -> None:
    midi_of((0, 1, 60)).write(str(tmp_path / "a.mid"))
    data = bytearray((tmp_path / "a.mid").read_bytes())
    data[at] = value
    (tmp_path / "a.mid").write_bytes(data)
    with pytest.raises(M2MError, match=words):
        read_score(tmp_path / "a.mid")


def test_a_gain_curve_is_the_same_in_pieces() -> None:
    midi = midi_of((0, 2, 60))
    midi.instruments[0].control_changes = [pretty_midi.ControlChange(7, 20 * i, 0.3 * i) for i in range(6)]
    track = from_pretty_midi(midi).tracks[0]
    whole = track.gain_curve(0, 2000, 1000)
    pieces = [track.gain_curve(first, min(first + 77, 2000), 1000) for first in range(0, 2000, 77)]
    assert np.allclose(np.concatenate(pieces), whole, atol=1e-6)
    assert whole[0] == pytest.approx(0.0, abs=1e-6)  # from its first sample on


def test_a_score_in_memory_is_the_one_in_the_file(tmp_path: Path) -> None:
    midi_of((0, 1, 60)).write(str(tmp_path / "a.mid"))
    data = (tmp_path / "a.mid").read_bytes()
    read, parsed = read_score(tmp_path / "a.mid"), parse_score(data, "an upload")
    assert (read.name, parsed.name) == ("a.mid", "an upload")
    assert read.sha256 == parsed.sha256 != ""
    assert np.array_equal(read.tracks[0].notes, parsed.tracks[0].notes)
    with pytest.raises(M2MError, match=r"an upload.* is a damaged MIDI file"):
        parse_score(data[:30], "an upload")


def test_the_soft_pedal_makes_what_is_struck_under_it_softer() -> None:
    midi = midi_of((0.0, 0.9, 60), (1.0, 1.9, 60), (2.0, 2.9, 60), (3.0, 3.9, 60))
    moves = [(1.0, 127), (2.5, 64), (2.6, 63)]  # it is down from the second note to the third
    midi.instruments[0].control_changes = [pretty_midi.ControlChange(67, value, at) for at, value in moves]
    score = from_pretty_midi(midi)
    (track,) = score.tracks
    assert not score.omissions
    written = track.notes["velocity"][0]
    assert track.notes["velocity"].tolist() == 4 * [written]  # the score is as it is written
    assert track.struck["velocity"].tolist() == [written, round(0.8 * written), round(0.8 * written), written]
    assert not track.struck.flags.writeable
    (again,) = from_pretty_midi(score.to_pretty_midi()).tracks
    assert again.struck.tolist() == track.struck.tolist()
    untouched = from_pretty_midi(midi_of((0.0, 1.0, 60))).tracks[0]
    assert untouched.struck is untouched.notes
