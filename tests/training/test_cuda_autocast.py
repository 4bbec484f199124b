"""What CUDA's autocast makes of each model's forward pass, without a GPU.

PyTorch's fake tensors have a device, a shape and a type but no numbers. On the device "cuda" they go through the rules of CUDA's
autocast, which are not those of the CPU's, and refuse what a GPU refuses: to be mixed with the host's memory, or to be read.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_runs import tiny_mel2mel, tiny_student, tiny_transcriber, tiny_wavenet

from m2m.core.checkpoint import save_model
from m2m.training.mel2mel import Mel2MelTask
from m2m.training.parallel_wavenet import StudentTask
from m2m.training.task import TrainingTask
from m2m.training.transcriber import TranscriberTask
from m2m.training.wavenet import WaveNetTask
from m2m.vocoders.shared.cpu import training_stack
from m2m.vocoders.shared.layer import Layer
from m2m.vocoders.wavenet.network import WaveNet

pytestmark = pytest.mark.filterwarnings("ignore:PyTorch was compiled without cuDNN")
SUMS = ("mean", "sum", "var", "std", "logsumexp", "_log_softmax", "linalg_vector_norm", "cumsum")
CUDA, META = 1, 14  # c10's numbers of these devices
HALVES = (torch.float16, torch.bfloat16)


@pytest.fixture(autouse=True)
def _guard() -> Iterator[None]:
    """A PyTorch built for the CPU does not know how to make a GPU current, and asks even where nothing is computed.

    The meta device's way, to do nothing, stands in for CUDA's. Builds for CUDA have such a thing where there is no GPU.
    """
    if torch.version.cuda:
        yield
        return
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    ways = (ctypes.c_void_p * 15).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")  # by type of device
    was, ways[CUDA] = ways[CUDA], ways[META]
    yield
    ways[CUDA] = was


def taught(data: Path, folder: Path, output: str) -> StudentTask:
    run = tiny_wavenet(model__output=output).model
    save_model(folder / "teacher", "wavenet", run, WaveNet(run), "")
    return StudentTask(tiny_student(teacher=str(folder / "teacher"), losses__adversarial=1.0), data)


Make = Callable[[Path, Path], TrainingTask]
TASKS: dict[str, Make] = {
    "mel2mel, film": lambda data, _: Mel2MelTask(tiny_mel2mel(model__conditioner="film"), data),
    "mel2mel, concat": lambda data, _: Mel2MelTask(tiny_mel2mel(model__conditioner="concat"), data),
    "mel2mel, adversary": lambda data, _: Mel2MelTask(tiny_mel2mel(adversarial=0.1), data),
    "wavenet": lambda data, _: WaveNetTask(tiny_wavenet(noise=1.0), data),
    "wavenet, gaussian": lambda data, _: WaveNetTask(tiny_wavenet(model__output="gaussian", noise=1.0), data),
    "wavenet, mol": lambda data, _: WaveNetTask(
        tiny_wavenet(model__output="mol", model__condition_on_notes=True), data
    ),
    "transcriber": lambda data, _: TranscriberTask(tiny_transcriber(), data),
    "student, adversary": lambda data, _: StudentTask(tiny_student(losses__power=1.0), data),
    "student of a gaussian": lambda data, folder: taught(data, folder, "gaussian"),
    "student of logistics": lambda data, folder: taught(data, folder, "mol"),
}


def there(like: Tensor) -> Tensor:
    """A fake tensor on the GPU, of the shape and type of another."""
    return torch.empty(like.shape, dtype=like.dtype, device="cuda")


def move(model: nn.Module) -> None:
    """Give a model fake weights on the GPU."""
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(there(weight), requires_grad=False))


class Rounded(TorchDispatchMode):
    """Notes each sum over 16-bit numbers: it is rounded to 16 bits as well."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        of = {leaf.dtype for leaf in tree_leaves(made) if isinstance(leaf, Tensor)}
        self.types |= of
        if function.overloadpacket.__name__ in SUMS and of & set(HALVES):
            self.found.append(str(function))
        return made


@contextmanager
def autocast() -> Iterator[Rounded]:
    """CUDA's autocast to bfloat16, which `torch.autocast` switches off where there is no GPU."""
    was = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_cache_enabled(False)  # as for a recorded step
    try:
        with Rounded() as rounded:
            yield rounded
    finally:
        torch.set_autocast_enabled("cuda", was[0])
        torch.set_autocast_dtype("cuda", was[1])
        torch.set_autocast_cache_enabled(True)


def forward(task: TrainingTask) -> tuple[Tensor, Rounded]:
    """The loss of a step's batch, and what came on the way."""
    batch = task.batch(0)
    with torch.no_grad(), FakeTensorMode():
        move(task.model.train())
        if isinstance(task, StudentTask) and task.teacher:
            move(task.teacher)
        given = tuple(map(there, batch))
        with autocast() as rounded:
            return task.loss(given), rounded


@pytest.mark.parametrize("name", TASKS)
def test_sums_are_float32(name: str, data: Path, tmp_path: Path) -> None:
    task = TASKS[name](data, tmp_path)
    between = {torch.float32}  # WaveNet's layers
    for layer in task.model.modules():
        if isinstance(layer, Layer):
            layer.register_forward_hook(lambda _, given, made: between.update((given[0].dtype, made[0].dtype)))
    loss, rounded = forward(task)
    assert between == {torch.float32}
    assert (loss.dtype, loss.device.type) == (torch.float32, "cuda")
    assert torch.bfloat16 in rounded.types
    assert rounded.found == []
    assert {part.dtype for part in getattr(task, "parts", {}).values()} <= {torch.float32}


@pytest.mark.parametrize("name", TASKS)
def test_the_first_step_in_bfloat16_is_that_of_float32(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With numbers, by the CPU's autocast and a GPU's layers."""
    monkeypatch.setattr(training_stack, "does", lambda *_: False)
    task = TASKS[name](data, tmp_path)
    batch, losses = task.batch(0), []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses.append(task.loss(batch))
    exact, fast = losses
    assert fast.dtype == torch.float32
    assert fast.item() != exact.item()
    assert fast.item() == pytest.approx(exact.item(), rel=0.01)


@pytest.mark.parametrize(("name", "count"), [("mel2mel, film", 1), ("transcriber", 2)])
def test_lstms_are_float32(name: str, count: int, data: Path, tmp_path: Path) -> None:
    task = TASKS[name](data, tmp_path)
    types = []
    for lstm in task.model.modules():
        if isinstance(lstm, nn.LSTM):
            lstm.register_forward_hook(lambda _, given, made: types.append((given[0].dtype, made[0].dtype)))
    forward(task)
    assert types == count * [(torch.float32, torch.float32)]


def test_what_a_gpu_would_refuse_is_noticed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = WaveNetTask.loss
    task = WaveNetTask(tiny_wavenet(), data)
    monkeypatch.setattr(WaveNetTask, "loss", lambda task, batch: loss(task, batch) + torch.ones(1))
    with pytest.raises(RuntimeError, match="two devices"):
        forward(task)


def test_a_sum_in_16_bits_is_noticed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = WaveNetTask(tiny_wavenet(), data)
    monkeypatch.setattr(WaveNetTask, "loss", lambda task, batch: task.model(*batch).mean())
    loss, rounded = forward(task)
    assert loss.dtype == torch.bfloat16
    assert rounded.found == ["aten.mean.default"]
