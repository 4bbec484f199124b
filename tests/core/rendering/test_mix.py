"""Levels of tracks: what is loud, soft, silent and alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from renderings import score_of

from m2m.core.choices import ClipMode
from m2m.core.errors import M2MError
from m2m.core.notes import NoteArray
from m2m.core.rendering import batch
from m2m.core.rendering.mix import Level, check_mix, gains
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.rendering.rerender import rerender
from m2m.core.score import Score, from_pretty_midi, read_score
from m2m.core.track_selection import Selector

PLAIN: ClipMode = "none"


@pytest.fixture(scope="module")
def score() -> Score:
    """Piano, trumpet, flute, of a chord that they strike together."""
    return from_pretty_midi(score_of((0, [60]), (56, [67]), (73, [76])), "trio.mid")


@pytest.fixture(scope="module")
def stems(pipeline: Pipeline, score: Score) -> dict[str, NDArray[np.float32]]:
    return pipeline.render(score, stems=True, clip_mode=PLAIN).stems


@pytest.mark.parametrize(
    ("mix", "wanted"),
    [
        ({}, [1, 1, 1]),
        ({"track:1": "-6dB", 56: "+20 dB", "name:part 73": 0}, [10 ** (-6 / 20), 10, 1]),
        ({"track:2": "mute"}, [1, 0, 1]),
        ({"track:2": "Solo"}, [0, 1, 0]),
        ({0: "solo", 56: "solo"}, [1, 1, 0]),
        ({0: "mute", "track:1": "-6"}, [10 ** (-6 / 20), 1, 1]),  # a track goes before its program
        ({0: "solo", 56: "mute"}, [1, 0, 0]),
        ({0: "solo", 56: "6"}, [1, 0, 0]),
    ],
)
def test_levels_are_gains(score: Score, mix: Mapping[Selector, Level], wanted: list[float]) -> None:
    assert list(gains(score, mix).values()) == pytest.approx(wanted)


@pytest.mark.parametrize("level", ["loud", "", "-6 db db", "nan", "inf", "61", -60.5, float("nan"), "1e1", "²"])
def test_levels_that_are_none(level: Level) -> None:
    with pytest.raises(M2MError, match="is no level: decibels from -60 to 60"):
        check_mix({"track:1": level})


def test_tracks_that_are_not_there_are_refused_with_those_that_are(score: Score) -> None:
    for selector, word in (("name:Tuba", "name tuba"), ("track:4", "track 4"), (1, "program 1")):
        with pytest.raises(M2MError, match=rf"trio.mid: no track is {word}; there are 1 'Part 0', 2 'Part 56', 3 "):
            gains(score, {selector: "mute"})


def test_the_mix_is_the_sum_of_tracks_at_their_levels(
    pipeline: Pipeline, score: Score, stems: dict[str, NDArray[np.float32]]
) -> None:
    mix: dict[Selector, Level] = {"track:1": "-20dB", 73: "mute"}
    piano, trumpet, _ = stems.values()
    mixed = pipeline.render(score, mix=mix, clip_mode=PLAIN).audio
    assert np.allclose(mixed, piano / 10 + trumpet, atol=1e-6)
    apart = pipeline.render(score, mix=mix, stems=True, clip_mode=PLAIN)
    assert list(apart.stems) == ["1-part-0", "2-part-56"]  # a muted track has no stem
    assert np.allclose(apart.stems["1-part-0"], piano / 10, atol=1e-6)
    assert np.array_equal(apart.stems["2-part-56"], trumpet)
    assert len(mixed) == len(trumpet) == pipeline.length(score)


def test_what_is_muted_is_not_computed(pipeline: Pipeline, score: Score, monkeypatch: pytest.MonkeyPatch) -> None:
    predict, keys = pipeline.model.predict_span, set()

    def watched(notes: NoteArray, *rest: object) -> NDArray[np.float32]:
        keys.update(notes["pitch"].tolist())
        return predict(notes, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline.model, "predict_span", watched)
    pipeline.render(score, mix={56: "solo"})
    assert keys == {67}


def test_no_sound_at_all_is_refused(pipeline: Pipeline, score: Score) -> None:
    with pytest.raises(M2MError, match=r"trio.mid: every track that plays is muted"):
        pipeline.render(score, mix={0: "mute", 56: "mute", 73: "mute"})


def test_tracks_of_one_timbre_but_another_level_are_parts(pipeline: Pipeline) -> None:
    score = from_pretty_midi(score_of((0, [60]), (0, [67])))
    assert len(pipeline.parts(score, None, {})) == 1
    assert [part.level for part in pipeline.parts(score, None, {}, mix={"track:2": "20"})] == pytest.approx([1, 10])


def test_a_mix_is_made_again_from_its_tags(pipeline: Pipeline, tmp_path: Path) -> None:
    score_of((0, [60]), (56, [67])).write(str(tmp_path / "a.mid"))
    rendering = pipeline.render(tmp_path / "a.mid", mix={"name:Part 0": -6.5, 56: "solo", "track:1": "solo"})
    rendering.save(tmp_path / "a.flac")
    assert rendering.provenance["mix"] == {"name:Part 0": "-6.5", "56": "solo", "track:1": "solo"}
    assert rerender(tmp_path / "a.flac").same


def test_a_score_is_read_once_for_its_stems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score_of((0, [60]), (56, [67])).write(str(tmp_path / "a.mid"))
    paths = []

    def counted(path: Path, limits: object = None) -> Score:
        paths.append(path)
        return read_score(path)

    monkeypatch.setattr(batch, "read_score", counted)
    mixing = (("stems", True), ("mix", (("track:2", "mute"),)))
    job = batch.RenderJob(tmp_path / "a.mid", tmp_path / "a.wav", (), mixing)
    batch.check_outputs([job])
    (outcome,) = batch.run([job], 1)
    assert outcome.error == ""
    assert [Path(path).name for path in outcome.outputs] == ["a.wav", "a-1-part-0.wav"]
    assert paths == [tmp_path / "a.mid"]
    score_of((0, [62])).write(str(tmp_path / "a.mid"))  # another score by now
    (outcome,) = batch.run([job], 1)
    assert "no track is track 2" in outcome.error
