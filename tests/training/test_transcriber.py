"""Training a transcriber: what it is given of a data set, that it learns, and that its model transcribes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from command_line import M2M
from hypothesis import given
from hypothesis import strategies as st
from training_runs import same_tensors, tiny_transcriber

from m2m.core.errors import M2MError
from m2m.core.mel import log_mel
from m2m.core.notes import NoteArray, from_rows, note_array
from m2m.dataset.shards import ShardReader
from m2m.training.pieces import TrainingSegment
from m2m.training.state import STATE
from m2m.training.transcriber import TranscriberTask, matched_onsets, targets, train
from m2m.transcribers.onsets_frames.network import MEL, load_network

HOP = 512


def test_a_batch_is_a_function_of_seed_and_step(data: Path) -> None:
    task, again, other = (TranscriberTask(tiny_transcriber(loop__seed=seed), data) for seed in (1, 1, 2))
    mel, *wanted = task.batch(5)
    assert mel.shape == (2, 30, 229)
    assert [part.shape for part in wanted] == [(2, 30, 88)] * 3
    again.batch(3)
    assert all(torch.equal(a, b) for a, b in zip(task.batch(5), again.batch(5), strict=True))
    assert not torch.equal(mel, task.batch(6)[0])
    assert not torch.equal(mel, other.batch(5)[0])


def test_a_segment_is_that_part_of_the_recording(data: Path) -> None:
    task, shards = TranscriberTask(tiny_transcriber(), data), ShardReader(data, "train")
    whole = log_mel(shards.audio(0, "trumpet"), MEL)
    mel, onset, frame, velocity = task.segment(TrainingSegment(shards, 0, "trumpet", 20, 40))
    np.testing.assert_allclose(mel, whole[20:60], atol=1e-4)
    for start, end, key, hard in from_rows(shards.notes(0, "trumpet")).tolist():
        first, last = round(start * 16_000 / HOP) - 20, round(end * 16_000 / HOP) - 20
        if 0 <= first < 38:
            assert onset[first : first + 2, key - 21].tolist() == [1, 1]
            assert velocity[first, key - 21] == np.float32(hard / 127)
            assert frame[first : min(last, 40), key - 21].all()
    beyond = task.segment(TrainingSegment(shards, 0, "trumpet", len(whole), 5))
    assert not beyond[2].any()


def test_targets_of_notes_at_the_edges() -> None:
    notes = note_array([(0.0, 1.0, 60, 90), (1.6, 1.6001, 21, 10), (9.0, 9.5, 108, 127)])
    made = targets(notes, 20, 30, MEL, 3)
    assert made.frame[:11, 39].tolist() == [1.0] * 11
    assert not made.onset[:, 39].any()  # it began before
    assert made.onset[:, 0].tolist() == [0.0] * 30  # frame 50 is the first beyond
    assert not made.frame[:, 87].any()


def test_drums_are_no_notes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TranscriberTask(tiny_transcriber(), data)
    monkeypatch.setitem(task.train.instruments, "trumpet", 128)
    assert not task.segment(TrainingSegment(task.train, 0, "trumpet", 0, 60))[2].any()
    assert task.segment(TrainingSegment(task.train, 0, "grand-piano", 0, 60))[2].any()


@given(*(st.lists(st.tuples(st.integers(0, 300), st.integers(60, 61)), max_size=12) for _ in range(2)))
def test_onsets_are_matched_as_mir_eval_does(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    transcription = pytest.importorskip("mir_eval.transcription")

    def notes(places: list[tuple[int, int]]) -> NoteArray:
        return note_array([(place / 128, place / 128 + 0.5, key, 90) for place, key in places])

    def parts(array: NoteArray) -> tuple[np.ndarray, np.ndarray]:
        spans = np.stack([array["start"], array["end"]], axis=1).reshape(-1, 2)
        return spans, 440.0 * 2 ** ((array["pitch"].astype(float) - 69) / 12)

    first, second = notes(one), notes(two)
    wanted = transcription.match_notes(*parts(first), *parts(second), offset_ratio=None) if one and two else []
    assert matched_onsets(first, second) == len(wanted)


def test_it_learns_and_its_model_is_read(here: M2M, data: Path, tmp_path: Path) -> None:
    run = tiny_transcriber(loop__steps=30, loop__learning_rate=0.01, loop__average=0.5, loop__validate_every=30)
    first = TranscriberTask(run, data).validate()
    figures = train(run, data, tmp_path / "run", resume=False)
    assert figures["loss"] < 0.5 * first["loss"]
    best = tmp_path / "run" / "best"
    network, _ = load_network(best)
    assert network.config.onset_threshold == figures["onset_threshold"]
    assert network.config.frame_threshold == figures["frame_threshold"]
    assert "onset_f1" in (best / "README.md").read_text()
    shards = ShardReader(data, "validation")
    soundfile.write(tmp_path / "work" / "d.wav", shards.audio(0, "grand-piano"), 16_000)
    heard = []
    for more in ([], ["--model", str(best)]):
        done = here("transcribe", "d.wav", "-o", f"{len(more)}.mid", *more, "--json")
        assert done.returncode == 0, done.stderr
        heard.append(json.loads(done.stdout)[0]["notes"])
    true = from_rows(shards.notes(0, "grand-piano"))
    shipped = note_array([(note["start"], note["end"], note["key"], note["velocity"]) for note in heard[0]])
    assert matched_onsets(true, shipped) > len(true) / 2
    assert heard[0] != heard[1]


def test_a_run_stopped_and_resumed_is_the_run_that_never_stopped(data: Path, tmp_path: Path) -> None:
    train(tiny_transcriber(loop__steps=4, loop__decay=0), data, tmp_path / "whole", resume=False)
    train(tiny_transcriber(loop__steps=2, loop__decay=0), data, tmp_path / "parts", resume=False)
    train(tiny_transcriber(loop__steps=4, loop__decay=0), data, tmp_path / "parts", resume=True)
    same_tensors(tmp_path / "whole" / STATE, tmp_path / "parts" / STATE)


def test_it_begins_from_another_model(here: M2M, data: Path, tmp_path: Path) -> None:
    train(tiny_transcriber(loop__steps=1), data, tmp_path / "first", resume=False)
    start = {"start": tmp_path / "first" / "best", "loop__steps": 1, "loop__learning_rate": 1e-9, "loop__average": 0}
    sizes = {"model__channels": 2, "model__features": 16, "model__hidden": 8}
    train(tiny_transcriber(**start, **sizes), data, tmp_path / "second", resume=False)
    same_tensors(tmp_path / "first/best/model.safetensors", tmp_path / "second/best/model.safetensors")
    with pytest.raises(M2MError, match="of another model: hidden differ"):
        train(tiny_transcriber(**start, model__hidden=9), data, tmp_path / "third", resume=False)
    refused = here("train", "transcriber", str(data), "-o", str(tmp_path / "second"), "--resume", "--start", "nowhere")
    assert refused.returncode == 1
    assert "goes on from its own checkpoint" in refused.stderr


def test_another_sample_rate_is_refused(data: Path) -> None:
    with pytest.raises(M2MError, match=r"the data set is at 16,000 Hz, the model at 22,050 Hz"):
        TranscriberTask(tiny_transcriber(model__mel__sample_rate=22_050), data)
