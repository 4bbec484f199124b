"""benches/fit_timbres.py: a point is found again whose mels are given, and the network stays as it was."""

import json
from pathlib import Path

import fit_timbres as bench
import numpy as np
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file

from m2m.core.checkpoint import save_model
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig, load_mel2mel
from m2m.core.score import as_rows, note_array
from m2m.dataset.build import describe
from m2m.dataset.shards import DatasetConfig, shard_path


def test_a_point_is_found_again(tmp_path: Path) -> None:
    """The data are mels of the model itself: the standard kit's, a kit's elsewhere in the space, one's at the same place."""
    torch.manual_seed(1)
    config = Mel2MelConfig(instruments={"grand-piano": 0, "standard-kit": 128}, hidden=16, timbre_dim=3)
    model = Mel2Mel(config).eval()
    save_model(tmp_path / "model", "mel2mel", config, model, "a card")
    model = load_mel2mel(tmp_path / "model")[0]
    here = model.point("standard-kit")
    there = {"standard-kit": here, "room-kit": here, "jazz-kit": here + np.array([2.0, -1.5, 1.0], np.float32)}
    data = tmp_path / "data"
    data.mkdir()
    (data / "none.sf2").write_bytes(b"none")
    splits = {"train": ["a.mid", "b.mid"], "validation": [], "test": ["c.mid"]}
    describe(data, data / "none.sf2", DatasetConfig(programs=(128, 136, 160), seconds=9.0), splits)
    draw = np.random.default_rng(0)
    for split, names in splits.items():
        for name in names:
            tensors = {}
            for kit, point in there.items():
                notes = note_array((t / 8, t / 8 + 0.1, int(draw.integers(35, 60)), 90) for t in range(60))
                tensors[f"{kit}/notes"] = as_rows(notes)
                tensors[f"{kit}/mel"] = model.predict(notes, point, 1100).astype(np.float16)
            path = shard_path(data, split, name)
            path.parent.mkdir(exist_ok=True)
            save_file(tensors, path)
    command = [str(tmp_path / "model"), str(data), "-o", str(tmp_path / "new"), "--steps", "60", "--batch", "2"]
    done = CliRunner().invoke(bench.main, [*command, "--rate", "0.2", "--json", str(tmp_path / "out.json")])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out.json").read_text())
    assert {name: of["as"] for name, of in found.items()} == dict.fromkeys(there, "standard-kit")
    assert found["jazz-kit"]["fitted"] < 0.2 * found["jazz-kit"]["before"]
    larger = load_mel2mel(tmp_path / "new")[0]
    kits = {"standard-kit": 128, "jazz-kit": 160}  # the room kit needs no place of its own
    assert larger.config.instruments == {"grand-piano": 0, **kits}
    assert np.abs(larger.point("jazz-kit") - there["jazz-kit"]).max() < 0.3
    for name, weight in model.state_dict().items():
        assert torch.equal(larger.state_dict()[name][: len(weight)], weight), name


def test_points_are_replaced_in_their_place_and_added_behind() -> None:
    model = Mel2Mel(Mel2MelConfig(instruments={"standard-kit": 128, "grand-piano": 0}, hidden=4, timbre_dim=2))
    points = {
        name: np.full(2, number, np.float32) for name, number in (("jazz-kit", 3), ("standard-kit", 2), ("flute", 1))
    }
    larger = bench.extended(model, {"jazz-kit": 160, "flute": 73, "standard-kit": 128}, points)
    assert list(larger.config.instruments) == ["standard-kit", "grand-piano", "flute", "jazz-kit"]
    assert larger.timbre.weight[[0, 2, 3], 0].tolist() == [2, 1, 3]
    assert np.array_equal(larger.point("grand-piano"), model.point("grand-piano"))
