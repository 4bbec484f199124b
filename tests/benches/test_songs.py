"""The songs of benches/songs.py, read as any MIDI file is: who plays, how long, and what is done beside notes."""

import hashlib
import io

import numpy as np
import pytest
from songs import SONGS, make

from m2m.core.score import Score, Track, parse_score
from m2m.dataset.ranges import idiom


def song(name: str, seconds: float | None = 30.0) -> tuple[bytes, Score]:
    file = io.BytesIO()
    make(name, seconds).save(file=file)
    return file.getvalue(), parse_score(file.getvalue(), name)


def coverage(track: Track, seconds: float) -> float:
    """The share of the time in which a track sounds."""
    edges = sorted((start, end) for start, end, _, _ in track.notes.tolist())
    sounding, reached = 0.0, 0.0
    for start, end in edges:
        sounding += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return sounding / seconds


@pytest.mark.parametrize("name", SONGS)
def test_a_song_is_music_for_its_instruments(name: str) -> None:
    written, score = song(name)
    assert hashlib.sha256(written).digest() == hashlib.sha256(song(name)[0]).digest()
    assert abs(score.duration - 30) < 4
    drums = [track for track in score.tracks if track.is_drum]
    assert [track.instrument for track in drums] == [128 + SONGS[name].kit]
    assert ((drums[0].notes["pitch"] >= 27) & (drums[0].notes["pitch"] <= 87)).all()
    assert {track.name for track in score.playable} == {part.name for part in SONGS[name].parts}
    for track in score.playable:
        how = idiom(track.program)
        assert how.lowest <= track.notes["pitch"].min() <= track.notes["pitch"].max() <= how.highest
    scale = {(SONGS[name].tonic + step) % 12 for step in SONGS[name].scale}
    assert {key % 12 for track in score.playable for key in track.notes["pitch"].tolist()} <= scale
    bass = min(score.playable, key=lambda track: float(np.median(track.notes["pitch"])))
    assert next(part.role for part in SONGS[name].parts if part.name == bass.name) in ("bass", "walking", "roots")


def test_the_largest_has_twelve_parts_and_drums_for_five_minutes() -> None:
    _, score = song("large", None)
    assert 295 < score.duration < 305
    assert len(score.playable) == 12
    assert len(score.tracks) == 13
    assert all(coverage(track, score.duration) >= 0.4 for track in score.tracks)


def test_the_songs_have_all_that_a_sequencer_writes() -> None:
    tracks = [track for name in SONGS for track in song(name)[1].tracks]
    assert len(SONGS) == 10
    assert sum(len(track.bend) > 10 for track in tracks) >= 5
    assert max(float(np.abs(track.bend[:, 1]).max()) for track in tracks) > 500  # cents: an RPN has widened the range
    assert all(track.bend[-1, 1] == 0 for track in tracks)
    assert sum(len(track.modulation) > 10 for track in tracks) >= 5
    assert {-1, 1} <= {int(np.sign(track.pan[-1, 1])) for track in tracks}
    assert any(len(track.pan) > 10 for track in tracks)
    assert any(len(track.gain) > 10 for track in tracks)
    assert len({track.program for track in tracks if not track.is_drum}) > 25
    assert len({track.program for track in tracks if track.is_drum}) >= 5
    jazz = [track.program for track in song("jazz")[1].tracks if track.name == "Tenor"]
    assert sorted(jazz) == [56, 66]  # the program changes at half
    pedalled = next(track for track in song("ballad")[1].tracks if track.name == "Piano").notes
    assert np.median(pedalled["end"] - pedalled["start"]) > 1.0  # seconds; written are eighths
