"""What a run of Mel2Mel shows in TensorBoard."""

from collections.abc import Callable
from pathlib import Path

import pytest
from training_runs import INSTRUMENTS, tiny_mel2mel

from m2m.training import mel2mel
from m2m.training.mel2mel import Mel2MelTask, train

Without = Callable[[str], None]


def test_curves_and_pictures(data: Path, tmp_path: Path) -> None:
    for name in ("tensorboard", "matplotlib"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    train(tiny_mel2mel(loop__log_every=2), data, tmp_path / "run", False)
    events = EventAccumulator(str(tmp_path / "run" / "logs"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        *("train/loss", "train/rate", "train/gradient"),
        *(f"validation/{name}" for name in mel2mel.FIGURES),
    }
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4, 6]
    assert [event.step for event in events.Scalars("validation/mae")] == [1, 3, 6]
    assert set(events.Tags()["images"]) == set(INSTRUMENTS)
    image = events.Images("trumpet")[0]
    assert (image.width, image.height) == (375, 160)


def test_pictures_need_matplotlib_and_a_run_does_not(data: Path, without: Without) -> None:
    without("matplotlib")
    assert Mel2MelTask(tiny_mel2mel(), data).pictures() == {}
