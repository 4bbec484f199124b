"""A step on fixed buffers, as a CUDA graph replays it. On a CPU what is recorded is the step itself, run again."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from training_runs import tiny_mel2mel, tiny_student, tiny_transcriber, tiny_wavenet

from m2m.core.errors import M2MError
from m2m.training.distributed import Group
from m2m.training.ema import EMA
from m2m.training.mel2mel import Mel2MelTask
from m2m.training.parallel_wavenet import StudentTask
from m2m.training.schedule import LoopConfig
from m2m.training.state import Reached, restore_state, save_state
from m2m.training.step import WARM_UP, Record, Step, make_adam, record_graph
from m2m.training.task import TrainingTask
from m2m.training.transcriber import TranscriberTask
from m2m.training.wavenet import WaveNetTask
from m2m.vocoders.shared.cpu import training_stack

Make = Callable[[Path], TrainingTask]
TASKS: dict[str, Make] = {
    "mel2mel": lambda data: Mel2MelTask(tiny_mel2mel(), data),
    "mel2mel, adversary": lambda data: Mel2MelTask(tiny_mel2mel(adversarial=0.1), data),
    "wavenet": lambda data: WaveNetTask(tiny_wavenet(noise=1.0), data),
    "wavenet, mol": lambda data: WaveNetTask(tiny_wavenet(model__output="mol"), data),
    "student": lambda data: StudentTask(tiny_student(losses__power=1.0), data),
    "transcriber": lambda data: TranscriberTask(tiny_transcriber(), data),
}
READS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique")


class NoAnswers(TorchDispatchMode):
    """Operators that hand a device's numbers to the host are refused, as they are while a graph is recorded."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function.overloadpacket.__name__ in READS:
            raise RuntimeError(f"{function} reads a number")
        return function(*args, **(kwargs or {}))


@pytest.fixture
def plain_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """WaveNet's layers in PyTorch, as on a GPU."""
    monkeypatch.setattr(training_stack, "does", lambda *_: False)


def again(run: Callable[[], None]) -> Callable[[], None]:
    """In the place of a CUDA graph: what is recorded is run."""
    return run


def steps(task: TrainingTask, count: int, record: Record | None, fused: bool) -> tuple[list[Tensor], Step]:
    config = LoopConfig(precision="float32", clip=0.5)
    task.model.train()
    step = Step(task, make_adam(task.model, config, fused), config, Group(), record)
    losses = []
    for number in range(count):
        torch.manual_seed(number)
        step(task.batch(number), 0.001 * (1 + number))
        losses.append(step.loss.clone())
    return losses, step


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", TASKS)
def test_a_recorded_step_is_the_step(name: str, fused: bool, data: Path) -> None:
    eager, recorded = TASKS[name](data), TASKS[name](data)
    wanted, _ = steps(eager, WARM_UP + 4, None, fused)
    found, step = steps(recorded, WARM_UP + 4, again, fused)
    assert step.recorded
    assert torch.equal(torch.stack(found), torch.stack(wanted))
    assert len(set(map(float, wanted))) == len(wanted)  # each batch has its own
    for one, two in zip(eager.model.parameters(), recorded.model.parameters(), strict=True):
        assert torch.equal(one, two)
    assert eager.details() == recorded.details()


@pytest.mark.usefixtures("plain_layers")
@pytest.mark.parametrize("name", TASKS)
def test_a_step_asks_for_no_number(name: str, data: Path) -> None:
    task, config = TASKS[name](data), LoopConfig(precision="float32")
    task.model.train()
    step = Step(task, make_adam(task.model, config, True), config, Group(), again)
    batches = [task.batch(number) for number in range(WARM_UP + 2)]
    with NoAnswers():
        for batch in batches:
            step(batch, 0.001)
    assert step.recorded
    assert bool(step.finite)
    assert float(step.loss) > 0


class OneDevice(TorchDispatchMode):
    """Arrays of the host are refused: a copy from them is none that can be recorded."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for argument in torch.utils._pytree.tree_leaves((args, kwargs)):
            if isinstance(argument, Tensor) and argument.device.type == "cpu" and argument.ndim:
                raise RuntimeError(f"{function} reads the host's memory")
        return function(*args, **(kwargs or {}))


@pytest.mark.usefixtures("plain_layers")
@pytest.mark.parametrize("name", TASKS)
def test_a_step_reads_nothing_of_the_host(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device, which has no autocast, nothing has values: to ask for one, or to mix in the host's memory, fails."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    task = TASKS[name](data)
    batch = tuple(part.to("meta") for part in task.batch(0))
    task.model.to("meta").train()
    monkeypatch.setattr(torch, "tensor", lambda *_, **__: pytest.fail("a number is copied from the host"))
    with OneDevice():
        task.loss(batch).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
    with OneDevice(), pytest.raises(RuntimeError, match="reads the host's memory"):
        batch[0] + torch.ones(3)


def test_asking_is_noticed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["mel2mel"](data)
    loss = Mel2MelTask.loss
    monkeypatch.setattr(Mel2MelTask, "loss", lambda task, batch: loss(task, batch) * (1 + 0 * loss(task, batch).item()))
    step = Step(task, make_adam(task.model, LoopConfig(), True), LoopConfig(), Group(), again)
    with NoAnswers(), pytest.raises(RuntimeError, match="reads a number"):
        step(task.batch(0), 0.001)


@pytest.mark.parametrize("kind", [RuntimeError, M2MError])
def test_what_cannot_be_recorded_runs_as_it_is(
    kind: type[Exception], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(run: Callable[[], None]) -> Callable[[], None]:
        raise kind("operation not permitted\nwhen stream is capturing")

    eager, refused = TASKS["mel2mel"](data), TASKS["mel2mel"](data)
    wanted, _ = steps(eager, WARM_UP + 3, None, True)
    found, step = steps(refused, WARM_UP + 3, refuses, True)
    assert not step.recorded
    assert torch.equal(torch.stack(found), torch.stack(wanted))
    said = capsys.readouterr().err
    assert said == "no CUDA graph, steps are launched kernel by kernel: operation not permitted\n"


def test_a_gradient_that_was_not_finite_is_remembered(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["mel2mel"](data)
    _, step = steps(task, WARM_UP + 2, again, True)
    assert bool(step.finite)
    loss = Mel2MelTask.loss
    with monkeypatch.context() as patch:
        patch.setattr(Mel2MelTask, "loss", lambda task, batch: loss(task, batch) * torch.inf)
        step(task.batch(0), 0.001)
    step(task.batch(1), 0.001)
    assert not step.finite


def test_the_recorded_optimisers_state_is_saved_and_restored(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, model = LoopConfig(), nn.Linear(3, 2)
    ema = EMA(model, 0.0)

    def learn(optimiser: torch.optim.Adam) -> None:
        optimiser.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimiser.step()

    first = make_adam(model, config, True)
    learn(first)
    save_state(tmp_path / "state", model, first, ema, Reached(1, 0.5, 2.25))
    learn(first)
    wanted = model.weight.detach().clone()
    second = make_adam(model, config, True)
    assert restore_state(tmp_path / "state", model, second, ema) == Reached(1, 0.5, 2.25)
    learn(second)
    assert torch.equal(model.weight, wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is seen here")
@pytest.mark.parametrize("name", TASKS)
def test_on_a_gpu_a_cuda_graph_is_the_step(name: str, data: Path) -> None:
    def losses(record: Record | None) -> Tensor:
        task, config = TASKS[name](data), LoopConfig(precision="float32", device="cuda")
        task.model.to("cuda").train()
        with torch.cuda.stream(torch.cuda.Stream()):
            step = Step(task, make_adam(task.model, config, True), config, Group(device="cuda"), record)
            found = []
            for number in range(WARM_UP + 8):
                torch.manual_seed(number)
                step(tuple(part.to("cuda") for part in task.batch(number)), 0.001 * (1 + number))
                found.append(step.loss.clone())
            assert step.recorded == (record is not None)
            return torch.stack(found).cpu()

    assert torch.allclose(losses(record_graph), losses(None), rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is seen here")
def test_on_a_gpu_numbers_are_drawn_after_a_recording_that_failed() -> None:
    def reads() -> None:
        torch.rand(3, device="cuda").sum().item()

    with torch.cuda.stream(torch.cuda.Stream()):
        reads()
        with pytest.raises(RuntimeError):
            record_graph(reads)
        torch.manual_seed(0)
        first = torch.rand(3, device="cuda")
        torch.manual_seed(0)
        assert torch.equal(torch.rand(3, device="cuda"), first)
