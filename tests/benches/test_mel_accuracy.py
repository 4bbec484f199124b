"""benches/mel_accuracy.py: every instrument counted once, with and without a training split."""

import json
from pathlib import Path

import mel_accuracy as bench
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from m2m.core.checkpoint import save_model
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from m2m.core.score import as_rows, note_array
from m2m.dataset.build import describe
from m2m.dataset.shards import DatasetConfig, shard_path

CONFIG = DatasetConfig(programs=(0, *range(40, 50), 128), seconds=1.0, tail=0.25)


def data_set(folder: Path, splits: dict[str, list[str]]) -> Path:
    """Mels of noise around a mean that is the instrument's number."""
    (folder / "none.sf2").parent.mkdir(parents=True, exist_ok=True)
    (folder / "none.sf2").write_bytes(b"none")
    describe(folder, folder / "none.sf2", CONFIG, splits)
    draw = np.random.default_rng(0)
    instruments = json.loads((folder / "dataset.json").read_text())["instruments"]
    for split, names in splits.items():
        for name in names:
            path = shard_path(folder, split, name)
            path.parent.mkdir(exist_ok=True)
            notes = as_rows(note_array([(0.0, 0.5, 60, 80)]))
            mels = {
                f"{i}/mel": (draw.normal(size=(40, 80)) - p / 32).astype(np.float16) for i, p in instruments.items()
            }
            save_file({**mels, **{f"{i}/notes": notes for i in instruments}}, path)
    return folder


def test_every_instrument_counts_once() -> None:
    mae = np.array([[0.2, 0.9, np.nan], [0.4, 0.7, 0.6]])
    figures = {"mae": mae, "correlation": 1 - mae}
    found = bench.summary(figures, ["piano", "flute", "standard-kit"])
    assert found["means"] == {"mae": pytest.approx((0.3 + 0.8 + 0.6) / 3), "correlation": pytest.approx(1 - 1.7 / 3)}
    assert found["poor"] == 1
    assert list(found["worst"]) == ["flute", "standard-kit", "piano"]  # type: ignore[call-overload]


@pytest.mark.parametrize("train", [[], ["a.mid"]])
def test_a_model_is_measured_with_a_baseline_where_there_can_be_one(tmp_path: Path, train: list[str]) -> None:
    data = data_set(tmp_path / "data", {"train": train, "validation": [], "test": ["b.mid", "c.mid"]})
    instruments = json.loads((data / "dataset.json").read_text())["instruments"]
    config = Mel2MelConfig(instruments={**instruments, "flute": 73}, hidden=4, timbre_dim=2)  # the data have no flute
    save_model(tmp_path / "model", "mel2mel", config, Mel2Mel(config), "a card")
    done = CliRunner().invoke(bench.main, [str(data), str(tmp_path / "model"), "--json", str(tmp_path / "out.json")])
    assert done.exit_code == 0, done.output
    kept = json.loads((tmp_path / "out.json").read_text())
    assert ("baseline" in kept) == bool(train)
    assert ("no baseline" in done.output) != bool(train)
    found = kept[str(tmp_path / "model")]
    assert np.array(found["mae"]).shape == (2, 12)
    assert found["instruments"] == list(instruments)
    assert found["means"]["mae"] == pytest.approx(np.mean(found["mae"]))
    assert len(found["worst"]) == 10
    assert f"{found['poor']} of 12 are over 0.60 nepers. The worst: {next(iter(found['worst']))} " in done.output
    if train:  # noise of deviation 1 against its mean
        assert kept["baseline"]["means"]["mae"] == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)
