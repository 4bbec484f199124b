"""Data on a device: the same batches as from disk, and more of them as a data set grows. The device of the tests is the CPU."""

import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import HANGS
from torch import Tensor
from training_runs import same_tensors, tiny_mel2mel, tiny_student, tiny_transcriber, tiny_wavenet, untrained_mel2mel

from m2m.core.errors import M2MError
from m2m.dataset.shards import ShardReader, shard_path
from m2m.training.curves import Curves
from m2m.training.loop import fit
from m2m.training.mel2mel import Mel2MelTask
from m2m.training.mel2mel import train as train_mel2mel
from m2m.training.parallel_wavenet import StudentTask
from m2m.training.parallel_wavenet import train as train_student
from m2m.training.pieces import PieceTask
from m2m.training.pool import Pool, growing, make_pool
from m2m.training.state import STATE
from m2m.training.transcriber import TranscriberTask
from m2m.training.wavenet import WaveNetTask
from m2m.training.wavenet import train as train_wavenet

pytestmark = pytest.mark.usefixtures("no_tensorboard")
Make = Callable[[Path], PieceTask]
TASKS: dict[str, Make] = {
    "mel2mel": lambda data: Mel2MelTask(tiny_mel2mel(loop__batch_size=8, silence=0.3), data),
    "mel2mel, decays": lambda data: Mel2MelTask(tiny_mel2mel(model__encoder="onsets-frames-decay"), data),
    "mel2mel, longer than a piece": lambda data: Mel2MelTask(tiny_mel2mel(sequence=512, silence=0.5), data),
    "mel2mel, adversary": lambda data: Mel2MelTask(tiny_mel2mel(adversarial=0.1, silence=0.0), data),
    "wavenet": lambda data: WaveNetTask(tiny_wavenet(loop__batch_size=8), data),
    "wavenet, gaussian": lambda data: WaveNetTask(tiny_wavenet(model__output="gaussian"), data),
    "wavenet, notes": lambda data: WaveNetTask(tiny_wavenet(model__condition_on_notes=True, without_notes=0.5), data),
    "student": lambda data: StudentTask(tiny_student(), data),
    "transcriber": lambda data: TranscriberTask(tiny_transcriber(), data),
}


def loaded(task: PieceTask) -> Pool:
    pool = make_pool(task, "cpu", wanted=True)
    assert pool
    while pool.load():
        pass
    return pool


def same(one: tuple[Tensor, ...], two: tuple[Tensor, ...]) -> bool:
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", TASKS)
def test_batches_are_those_from_disk_to_the_bit(name: str, data: Path) -> None:
    task = TASKS[name](data)
    wanted = [task.batch(step) for step in range(12)]
    pool = loaded(task)
    assert all(same(pool.batch(step), batch) for step, batch in enumerate(wanted))
    assert not same(wanted[0], wanted[1])


def test_an_excitation_is_the_same_up_to_rounding(data: Path) -> None:
    task = WaveNetTask(
        tiny_wavenet(model__excitation=2, model__output="gaussian", without_notes=0.5, sequence=16), data
    )
    wanted = [task.batch(step) for step in range(6)]
    pool = loaded(task)
    for step, batch in enumerate(wanted):
        for found, part in zip(pool.batch(step), batch, strict=True):
            assert torch.allclose(found, part, atol=2e-3 * float(part.abs().max()))


def test_predicted_mels_are_held_beside_true_ones(data: Path, tmp_path: Path) -> None:
    folder = untrained_mel2mel(tmp_path / "m", {"trumpet": 56, "grand-piano": 0})
    task = WaveNetTask(tiny_wavenet(mel_model=str(folder), mel_model_share=0.5, loop__batch_size=8), data)
    wanted, pool = task.batch(2), loaded(task)
    found = pool.batch(2)
    assert pool.pieces == 8  # two files, two instruments, two mels
    assert torch.equal(found[0], wanted[0])
    assert float((found[1] - wanted[1]).abs().max()) < 1e-3


@pytest.mark.parametrize("model", ["mel2mel", "wavenet", "student"])
def test_a_run_from_the_pool_is_the_run_from_disk(model: str, data: Path, tmp_path: Path) -> None:
    """Bit for bit; and so is one that was resumed."""

    def train(out: Path, resume: bool = False, **changes: object) -> None:
        if model == "mel2mel":
            train_mel2mel(tiny_mel2mel(**changes), data, out, resume)
        elif model == "wavenet":
            train_wavenet(tiny_wavenet(loop__precision="float32", **{"loop__steps": 6} | changes), data, out, resume)
        else:
            train_student(tiny_student(**{"loop__steps": 6, "loop__precision": "float32"} | changes), data, out, resume)

    train(tmp_path / "disk", loop__data="disk")
    train(tmp_path / "device", loop__data="device")
    same_tensors(tmp_path / "disk" / STATE, tmp_path / "device" / STATE)
    train(tmp_path / "two", loop__data="device", loop__steps=3, loop__schedule="halving")
    train(tmp_path / "two", True, loop__data="device", loop__schedule="halving")
    train(tmp_path / "whole", loop__data="disk", loop__schedule="halving")
    same_tensors(tmp_path / "two" / STATE, tmp_path / "whole" / STATE)


# A data set that grows.


@pytest.fixture
def unfinished(data: Path, tmp_path: Path) -> tuple[Path, Callable[[], object]]:
    """A data set without its second training shard, and what adds it."""
    folder = tmp_path / "set"
    shutil.copytree(data, folder)
    shard = shard_path(folder, "train", "b/c.mid")
    shard.rename(tmp_path / "aside")
    return folder, lambda: (tmp_path / "aside").rename(shard)


def until(reached: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < HANGS
        time.sleep(0.02)


def test_shards_that_a_build_adds_are_taken_in(unfinished: tuple[Path, Callable[[], object]]) -> None:
    folder, add = unfinished
    shards = ShardReader(folder, "train")
    assert (len(shards), shards.missing, shards.longest) == (1, 1, 375)
    add()
    shards.refresh()
    assert (shards.files, shards.missing) == (["a.mid", "b/c.mid"], 0)
    assert np.array_equal(shards.mel(1, "trumpet"), ShardReader(folder, "train").mel(1, "trumpet"))


@pytest.mark.parametrize("kind", ["device", "disk"])
def test_the_pool_grows_while_training_runs(kind: str, unfinished: tuple[Path, Callable[[], object]]) -> None:
    folder, add = unfinished
    task = Mel2MelTask(tiny_mel2mel(loop__batch_size=8), folder)
    pool = loaded(task) if kind == "device" else None
    assert {at.index for at in task.cuts(0)} == {0}
    places = [part.values.data_ptr() for part in pool.parts] if pool else []
    hours = pool.hours if pool else 0.0
    with growing(task, pool):
        add()
        until(lambda: task.files == 2)
    assert {at.index for at in task.cuts(0)} == {0, 1}
    if pool:
        assert [part.values.data_ptr() for part in pool.parts] == places  # nothing moved
        assert pool.hours > hours
        assert same(pool.batch(3), task.batch(3))
        assert all(part.used <= len(part.values) for part in pool.parts)


def test_a_run_for_a_time_on_data_that_grows_goes_on_from_its_checkpoint(
    unfinished: tuple[Path, Callable[[], object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It logs its rate and how much data it has."""
    folder, add = unfinished
    ticks = itertools.count()
    logged: list[tuple[int, str, set[str]]] = []
    monkeypatch.setattr(Curves, "scalars", lambda _, *given: logged.append((given[0], given[1], set(given[2]))))

    def train(seconds: float, resume: bool) -> list[int]:
        logged.clear()
        run = tiny_mel2mel(loop__time_limit=seconds, loop__data="device", loop__log_every=1)
        task = Mel2MelTask(run, folder)
        fit(task, run.loop, tmp_path / "run", {}, resume, lambda: float(next(ticks)))
        assert all("rate" in names for _, group, names in logged if group == "train" and names)
        steps = [step for step, group, names in logged if group == "pool" and names == {"hours"}]
        assert steps == list(range(steps[0], steps[-1] + 1))
        return steps

    first = train(40, False)
    assert first[0] == 1
    add()
    assert train(80, True)[0] == first[-1] + 1


def test_a_damaged_shard_does_not_end_training(
    unfinished: tuple[Path, Callable[[], object]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = unfinished
    task = Mel2MelTask(tiny_mel2mel(), folder)
    pool = loaded(task)
    with growing(task, pool):
        shard_path(folder, "train", "b/c.mid").write_bytes(b"none")
        said = ""

        def told() -> bool:
            nonlocal said
            said += capsys.readouterr().err
            return "no more training files are taken in: cannot read the shard" in said

        until(told)
    assert same(pool.batch(3), pool.batch(3))


def test_data_that_does_not_fit_is_told(
    unfinished: tuple[Path, Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Mel2MelTask(tiny_mel2mel(), unfinished[0])
    monkeypatch.setattr(ShardReader, "longest", 1 << 50)
    with pytest.raises(M2MError, match=r"the data set takes .* GB on cpu, .*set loop\.data=disk"):
        make_pool(task, "cpu", wanted=True)


def test_a_cpu_holds_no_data_unless_it_is_asked_to(data: Path) -> None:
    assert make_pool(Mel2MelTask(tiny_mel2mel(), data), "cpu", wanted=False) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is seen here")
@pytest.mark.parametrize("name", TASKS)
def test_on_a_gpu_batches_are_those_from_disk(name: str, data: Path) -> None:
    task = TASKS[name](data)
    wanted = [task.batch(step) for step in range(4)]
    pool = make_pool(task, "cuda", wanted=False)
    assert pool
    while pool.load():
        pass
    for step, batch in enumerate(wanted):
        assert same(tuple(part.cpu() for part in pool.batch(step)), batch)
