"""Parts mixed as they are rendered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from renderings import score_of

from m2m.core.mel import Mel
from m2m.core.rendering import performance
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.score import NoteArray, from_pretty_midi

Array = NDArray[np.float32]


def test_stems_add_up_to_the_mix(pipeline: Pipeline) -> None:
    score = from_pretty_midi(score_of((0, [60]), (56, [67])))
    rendering = pipeline.render(score, stems=True, gain=40.0)  # so loud that it must be rescaled
    assert "softer" in rendering.notice
    assert "the vocoder" not in rendering.notice
    assert list(rendering.stems) == ["1-part-0", "2-part-56"]
    assert np.allclose(sum(rendering.stems.values()), rendering.audio, atol=1e-5)
    assert np.abs(rendering.audio).max() <= 1.0


def test_a_vocoder_that_is_too_loud_is_named(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = pipeline.stream

    def loud(mel: Mel, seed: int) -> Iterator[Array]:
        for block in quiet(mel, seed):
            block[0] = 10.0
            yield block

    monkeypatch.setattr(pipeline, "stream", loud)
    rendering = pipeline.render(from_pretty_midi(score_of((0, [60]))), gain=0.0)
    assert rendering.notice.endswith("; the vocoder griffin-lim alone is 20.0 dB over")
    assert pipeline.render(from_pretty_midi(score_of((0, [60]))), gain=-40.0).notice == ""


@pytest.mark.parametrize("stems", [False, True])
def test_what_is_heard_while_it_is_rendered_is_what_is_rendered(pipeline: Pipeline, stems: bool) -> None:
    score = from_pretty_midi(score_of((0, list(range(60, 76))), (56, [67, 69]), volume=90))  # the second ends early
    played = pipeline.play(score, seed=2, gain=0.0, stems=stems)
    blocks = [block.copy() for block in played]
    whole = pipeline.render(score, seed=2, gain=0.0, stems=stems)
    assert len(blocks) > 1
    assert len(whole.audio) == pipeline.length(score) == sum(map(len, blocks))
    assert np.array_equal(np.concatenate(blocks), whole.audio)
    assert played.finish().provenance == whole.provenance


def test_a_part_that_is_complete_lets_go_of_its_vocoder(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    quiet = pipeline.stream

    def held(mel: Mel, seed: int) -> Iterator[Array]:
        try:
            yield from quiet(mel, seed)
            yield np.zeros(1, np.float32)  # more than was asked for: what has played all of the mix is not asked again
        finally:
            ended.append(seed)

    monkeypatch.setattr(pipeline, "stream", held)
    played = pipeline.play(from_pretty_midi(score_of((0, [60]), (56, [67]))))
    assert sum(map(len, played)) == len(played.mix)
    assert len(ended) == 2


def test_the_first_block_does_not_wait_for_the_end_of_the_score(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = []
    predict = pipeline.model.predict_span

    def counted(notes: NoteArray, timbre: Array, first: int, last: int) -> Array:
        predicted.append((first, last))
        return predict(notes, timbre, first, last)

    monkeypatch.setattr(pipeline.model, "predict_span", counted)
    played = iter(pipeline.play(from_pretty_midi(score_of((0, [60] * 240)))))  # two minutes
    assert not predicted
    assert len(next(played)) == 8 * 16_000
    assert predicted == [(0, 1024)]
    played.close()  # type: ignore[attr-defined]


def test_no_more_than_some_parts_play_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "TOGETHER", 3)
    track = from_pretty_midi(score_of((0, [60]))).tracks[0]
    playing: set[int] = set()
    most = []

    def blocks(number: int) -> Iterator[Array]:
        playing.add(number)
        most.append(len(playing))
        try:
            for _ in range(4):
                yield np.full(5, 2.0**number, np.float32)
        finally:
            playing.remove(number)

    lanes = tuple(performance.Lane(blocks(number), track, "") for number in range(8))
    about = lambda *_: pytest.fail("it was finished")  # noqa: E731
    played = performance.Performance(np.zeros(20, np.float32), 16_000, lanes, 1.0, about)
    del lanes  # a lane that is complete must go
    whole = [block.copy() for block in played]
    assert max(most) == 3
    assert len(whole) > 1  # the last parts are heard while they play
    assert np.array_equal(np.concatenate(whole), np.full(20, 255.0))
