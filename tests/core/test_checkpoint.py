"""Model folders that somebody has damaged, or made to do damage: a model or one clear line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import HANGS
from forks import Forks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from m2m.core.checkpoint import load_model, load_weights, save_model
from m2m.core.errors import M2MError, explain
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig, load_mel2mel
from m2m.core.model_folders import CONFIG, WEIGHTS
from m2m.vocoders.parallel_wavenet.network import Student, StudentConfig, load_student
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig, load_wavenet

TINY = Mel2MelConfig(hidden=4, timbre_dim=2, instruments={"organ": 19})
Network = tuple[Callable[[Any], nn.Module], Any, Callable[[Path], tuple[nn.Module, str]]]
KINDS: dict[str, Network] = {  # the network, its config, and what loads it
    "mel2mel": (Mel2Mel, TINY, load_mel2mel),
    "wavenet": (WaveNet, WaveNetConfig(layers=2, residual=2, skip=2, classes=4), load_wavenet),
    "parallel-wavenet": (Student, StudentConfig(flows=(1, 2), residual=2, skip=2), load_student),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


only = partial(pytest.mark.parametrize, "kind", indirect=True, scope="module")  # of a test that is about one kind


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, kind: str) -> Path:
    folder = tmp_path_factory.mktemp("model") / kind
    torch.manual_seed(0)
    network, config, _ = KINDS[kind]
    save_model(folder, kind, config, network(config), "# tiny")
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


def outcome(folder: Path, kind: str = "mel2mel") -> str:
    """The line that says why there is no model; empty if there is one. Anything else that is raised is a bug."""
    try:
        model, _ = KINDS[kind][2](folder)
    except M2MError as error:
        line = explain(error)
        assert line.isprintable()
        assert str(folder) in line or "installed" in line or "encoder" in line or "conditioner" in line
        return line
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    return ""


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([CONFIG, WEIGHTS]), st.floats(0, 1), st.integers(0, 12), st.binary(max_size=12))
def test_any_bytes_are_a_model_or_a_line(
    copy: Path, whole: Path, kind: str, name: str, at: float, lost: int, new: bytes
) -> None:
    data = bytearray((whole / name).read_bytes())
    place = int(at * len(data)) if name == CONFIG else int(at * 2500)  # the header of the weights, and some of them
    data[place : place + lost] = new
    shutil.copytree(whole, copy, dirs_exist_ok=True)
    (copy / name).write_bytes(data)
    outcome(copy, kind)


strange = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("../../etc"), st.just([]),
    st.just({"organ": -1}), st.sampled_from([10**9, 10**400, 65_536, "\ud800\x1b[31m\n", "film", "concat"]),
)  # fmt: skip


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_config_is_a_model_or_a_line(copy: Path, whole: Path, kind: str, data: st.DataObject) -> None:
    about = json.loads((whole / CONFIG).read_text())
    branch = data.draw(st.sampled_from([about, about["config"], about["config"], about["config"]["mel"]]))
    branch[data.draw(st.sampled_from([*branch, "unknown"]))] = data.draw(strange)
    shutil.copytree(whole, copy, dirs_exist_ok=True)
    (copy / CONFIG).write_text(json.dumps(about))
    outcome(copy, kind)


def change(folder: Path, **values: object) -> None:
    about = json.loads((folder / CONFIG).read_text())
    about["config"] |= values
    (folder / CONFIG).write_text(json.dumps(about))


def test_a_model_larger_than_its_weights_is_never_built(copy: Path, kind: str) -> None:
    """65,536 units would be 34 GB of weights and more, of which the file holds none."""
    change(copy, **{"hidden" if kind == "mel2mel" else "residual": 65_536})
    assert "does not fit its config.json" in outcome(copy, kind)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("mel2mel", {"layers": 65}),
        ("wavenet", {"layers": 257}),
        ("wavenet", {"mixtures": 10**9}),
        ("wavenet", {"skip": 10**9}),
        ("wavenet", {"upsample": [[1, 1]] * 50 + [[128, 128]]}),
        ("wavenet", {"upsample": [[128 + 2 * 10**9, 128]]}),
        ("parallel-wavenet", {"flows": [65]}),
        ("parallel-wavenet", {"flows": [1] * 17}),
        ("parallel-wavenet", {"residual": 10**9}),
    ],
    indirect=["kind"],
    scope="module",
)
def test_what_would_be_built_for_hours_is_refused_by_its_config(
    copy: Path, kind: str, sizes: dict[str, object]
) -> None:
    """Without memory too, a module takes its time: as many as a config of a few bytes can ask for take for ever."""
    change(copy, **sizes)
    line = outcome(copy, kind)
    assert "should be less than or equal to" in line or "should have at most" in line
    assert next(iter(sizes)) in line


@only(["mel2mel"])
def test_a_component_that_cannot_do_without_memory_is_checked_after_it_is_made(whole: Path) -> None:
    class Eager(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.weight.detach().numpy()  # PyTorch's meta device has no numbers

    with pytest.raises(M2MError, match="does not fit"):
        load_model(Eager, whole)


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@only(["mel2mel"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / CONFIG).write_bytes(b"[" * 500_000), "is not JSON"),
        (lambda f: (f / CONFIG).write_text("[1]"), "not a JSON object"),
        (lambda f: (f / CONFIG).write_bytes(b"x" * (2 << 20)), "are the most for a model's config"),
        (lambda f: change(f, unknown=1), "unknown: Extra inputs are not permitted"),
        (lambda f: change(f, hidden=5), "does not fit its config.json"),
        (lambda f: change(f, conditioner="../../evil"), "no conditioner '../../evil' is installed"),
        (lambda f: change(f, mel={"hop_length": 1}), "frames a second does not hold"),
        (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-100]), "cannot read the weights"),
        (lambda f: torch.save({"a": torch.zeros(1)}, f / WEIGHTS), "only safetensors files are loaded"),
        (lambda f: save_file({"a": torch.zeros(1)}, f / WEIGHTS), "it may be another model's"),
        (lambda f: replace_by_fifo(f / CONFIG), "not a regular file"),
        (lambda f: replace_by_fifo(f / WEIGHTS), "not a regular file"),
        (lambda f: ((f / WEIGHTS).unlink(), (f / WEIGHTS).symlink_to(WEIGHTS)), "symbolic links"),
    ],
)
def test_what_is_no_model_is_one_line(copy: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(copy)
    assert words in outcome(copy)


STRANGE = ["float8_e4m3fn", "float8_e5m2", "float64", "int64", "uint8", "bool", "complex64"]


@pytest.mark.parametrize("dtype", STRANGE)
def test_weights_of_other_numbers_are_refused(copy: Path, kind: str, dtype: str) -> None:
    tensors = load_file(copy / WEIGHTS)
    name = sorted(tensors)[-1]
    save_file(tensors | {name: torch.zeros_like(tensors[name], dtype=getattr(torch, dtype))}, copy / WEIGHTS)
    assert f"numbers in {name}, F16, BF16, F32 were wanted" in outcome(copy, kind)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_of_floating_point_are_taken(copy: Path, kind: str, dtype: torch.dtype) -> None:
    save_file({name: tensor.to(dtype) for name, tensor in load_file(copy / WEIGHTS).items()}, copy / WEIGHTS)
    assert not outcome(copy, kind)


@only(["mel2mel"])
def test_nan_weights_are_refused(copy: Path) -> None:
    model = Mel2Mel(TINY)
    nn.init.constant_(model.inward.weight, float("nan"))
    save_model(copy, "mel2mel", TINY, model, "")
    assert "holds NaN or infinite numbers in inward.weight" in outcome(copy)


@only(["mel2mel"])
def test_weights_of_another_model_are_refused(copy: Path) -> None:
    with pytest.raises(M2MError, match=r"tensors differ.*found.*wanted"):
        load_weights(Mel2Mel(Mel2MelConfig(hidden=9, timbre_dim=3)), copy)


@only(["mel2mel"])
def test_broken_weights_are_refused(copy: Path) -> None:
    tensors = load_file(copy / WEIGHTS)
    tensors["outward.bias"] = torch.full_like(tensors["outward.bias"], torch.nan)
    save_file(tensors, copy / WEIGHTS)
    with pytest.raises(M2MError, match=r"NaN.*outward\.bias"):
        load_mel2mel(copy)
    torch.save(tensors, copy / WEIGHTS)
    with pytest.raises(M2MError, match="only safetensors"):
        load_mel2mel(copy)
    (copy / WEIGHTS).write_bytes(b"\x10")
    with pytest.raises(M2MError, match="cannot read the weights"):
        load_mel2mel(copy)
    (copy / WEIGHTS).unlink()
    with pytest.raises(M2MError, match="cannot read the weights"):
        load_mel2mel(copy)


@pytest.mark.parametrize("vocoder", ["griffin-lim", "wavenet", "parallel-wavenet"])
def test_loading_imports_no_compiler(forks: Forks, tmp_path: Path, vocoder: str) -> None:
    """PyTorch's compiler and sympy take two seconds to import: a third of a short score's rendering."""
    code = (
        f"import sys, m2m; m2m.Pipeline(vocoder={vocoder!r}); "
        "print([name for name in ('torch._dynamo', 'sympy') if name in sys.modules])"
    )
    done = forks.run("-c", code, cwd=tmp_path, timeout=HANGS)
    assert done.stdout == "[]\n", done.stderr
