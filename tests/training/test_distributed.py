"""A run on several processes, through torchrun and the command line, as a user starts one."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import HANGS
from forks import Forks
from safetensors.torch import load_file
from torch import nn

from m2m.core.errors import M2MError
from m2m.training.distributed import Group, join
from m2m.training.state import STATE

TINY = """
sequence = 4
validation_segments = 1
validation_seconds = 0.05
instruments = { grand-piano = 0, trumpet = 56 }
model = { layers = 3, residual = 16, skip = 16, classes = 16 }
loop = { batch_size = 4, precision = "float32", threads = 1 }
"""


def train(
    forks: Forks, data: Path, out: Path, processes: int, steps: int = 4, *more: str
) -> subprocess.CompletedProcess[str]:
    config = out.parent / "tiny.toml"
    config.write_text(TINY)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = ["-m", "m2m", "train", "wavenet", str(data), "-o", str(out), "--steps", str(steps)]
    arguments = [*(launcher if processes > 1 else []), *command, *(more or ("--config", str(config)))]
    return forks.run(*arguments, cwd=out.parent, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=HANGS)


def test_two_processes_train_as_one(forks: Forks, data: Path, tmp_path: Path) -> None:
    one, two = (train(forks, data, tmp_path / name, count) for name, count in (("one", 1), ("two", 2)))
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    assert two.stdout.count('"validation"') == two.stderr.count("step 1:") == 1  # one reports for both
    wanted, found = (load_file(tmp_path / name / STATE) for name in ("one", "two"))
    assert wanted.keys() == found.keys()
    for name, tensor in wanted.items():
        if name.startswith("model/"):
            assert torch.allclose(found[name], tensor, atol=1e-5), name
    resumed = train(forks, data, tmp_path / "two", 2, 6, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "step 6:" in resumed.stderr


def test_a_process_has_every_nth_row() -> None:
    batch = (torch.arange(6), torch.arange(12).reshape(6, 2))
    shares = [Group(rank, 3).share(batch) for rank in range(3)]
    assert [share[0].tolist() for share in shares] == [[0, 3], [1, 4], [2, 5]]
    assert np.array_equal(shares[1][1], batch[1][1::3])


def test_one_process_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    with join("cpu", 3) as group:
        assert group.leads
        group.average([parameter])
    assert parameter.grad.tolist() == [1.0, 2.0]


def test_a_batch_that_cannot_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(M2MError, match=r"loop\.batch_size 4 cannot be shared by 3 processes"), join("cpu", 4):
        pass
