"""The kernel that trains WaveNet's layers, against the layers in float64, for every instruction set that this machine has."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from command_line import HANGS
from forks import Forks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from wavenets import network

from m2m.vocoders.shared.cpu import training_stack
from m2m.vocoders.shared.layer import Layer
from m2m.vocoders.shared.layer_stack import skip_sum

built = pytest.mark.skipif(
    not training_stack.available(), reason="no bfloat16 instructions, or no C++ compiler at installation"
)
instruction_sets = pytest.mark.parametrize("instructions", training_stack.available())

SkipSum: TypeAlias = Callable[[Sequence[Layer], Tensor, Tensor], Tensor]

SIZES = [  # layers, dilation cycle, residual, skip, bands, batch, samples
    (5, 3, 32, 32, 80, 2, 96),
    (1, 1, 32, 64, 32, 3, 32),  # one layer has no residual
    (6, 4, 96, 32, 17, 1, 1088),  # chunks, the last one short
    (12, 12, 32, 32, 5, 1, 2592),  # looks back, and ahead, over several chunks
]


def stacks(layers: int, cycle: int, residual: int, skip: int, width: int) -> list[Layer]:
    """Layers with random weights that keep all of them busy."""
    source = network(layers=layers, dilation_cycle=cycle, residual=residual, skip=skip).stack
    found = []
    for i, layer in enumerate(source):
        twin = Layer(residual, skip, width, layer.dilation, i == layers - 1)
        fitting = {name: w for name, w in layer.state_dict().items() if not name.startswith("cond")}
        twin.load_state_dict(fitting, strict=False)
        found.append(twin)
    return found


def inputs(residual: int, skip: int, width: int, batch: int, samples: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(batch, samples, n, generator=draw) for n in (residual, width, skip)]


def gradients(compute: SkipSum, layers: Sequence[Layer], x: Tensor, u: Tensor, given_back: Tensor) -> dict[str, Tensor]:
    """What `compute` makes of layers, x and u, and all gradients, where `given_back` comes back."""
    for layer in layers:
        layer.zero_grad()
    x, u = x.clone().requires_grad_(), u.clone().requires_grad_()
    out = compute(layers, x, u)
    (out.to(given_back.dtype) * given_back).sum().backward()
    weights = {f"{i}.{n}": w.grad for i, layer in enumerate(layers) for n, w in layer.named_parameters()}
    found = {"out": out.detach(), "x": x.grad, "u": u.grad, **weights}
    return {name: value.double() for name, value in found.items() if value is not None}


def half(compute: SkipSum) -> SkipSum:
    return lambda layers, x, u: compute(layers, x, u.to(torch.bfloat16))


def plain(layers: Sequence[Layer], x: Tensor, u: Tensor) -> Tensor:
    """The layers of network.py, under autocast."""
    gated = []
    with torch.autocast("cpu", torch.bfloat16):
        for layer in layers:
            x, z = layer(x, u)
            gated.append(layer.skip(z).float())
    return torch.stack(gated).sum(0)


@built
@instruction_sets
@pytest.mark.parametrize("sizes", SIZES)
def test_it_is_as_near_to_the_truth_as_pytorch_in_bfloat16(sizes: tuple[int, ...], instructions: str) -> None:
    count, cycle, residual, skip, width, batch, samples = sizes
    layers, given = stacks(count, cycle, residual, skip, width), inputs(residual, skip, width, batch, samples)
    truth = gradients(skip_sum, [layer.double() for layer in layers], *(x.double() for x in given))
    layers = [layer.float() for layer in layers]
    theirs = gradients(half(plain), layers, *given)
    ours = gradients(half(partial(training_stack.skip_sum, instructions=instructions)), layers, *given)
    assert ours.keys() == truth.keys()
    for name, wanted in truth.items():
        error, allowed = ((found[name] - wanted).norm() / wanted.norm() for found in (ours, theirs))
        assert error < max(2 * allowed, 0.004), name  # 0.004: the last bit of a bfloat16


@built
@instruction_sets
def test_sequences_do_not_hear_each_other_nor_the_future(instructions: str) -> None:
    layers, (x, u, _) = stacks(5, 5, 32, 32, 32), inputs(32, 32, 32, 3, 128)
    whole = training_stack.skip_sum(layers, x, u.bfloat16(), instructions)
    alone = training_stack.skip_sum(layers, x[1:2], u[1:2].bfloat16(), instructions)
    assert torch.equal(whole[1:2], alone)
    beginning = training_stack.skip_sum(layers, x[:, :64].contiguous(), u[:, :64].bfloat16(), instructions)
    assert torch.equal(whole[:, :64], beginning)


@built
@instruction_sets
def test_no_gradient_comes_from_what_is_not_heard(instructions: str) -> None:
    """One output sample, late in one sequence: it depends on that sequence as far as it looks back, and on nothing else."""
    layers, (x, u, _) = stacks(4, 4, 32, 32, 32), inputs(32, 32, 32, 2, 128)
    x.requires_grad_()
    training_stack.skip_sum(layers, x, u.bfloat16(), instructions)[1, 100].float().sum().backward()
    assert x.grad is not None
    touched = x.grad.abs().sum(-1) > 0
    assert not touched[0].any()
    assert touched[1, 100 - 15 : 101].all()  # dilations 1 + 2 + 4 + 8
    assert touched[1].sum() == 16


@built
@settings(max_examples=8, deadline=None)
@given(threads=st.integers(2, 5), batch=st.integers(1, 4))
def test_the_same_bits_every_time(threads: int, batch: int) -> None:
    layers, (x, u, back) = stacks(3, 3, 32, 32, 32), inputs(32, 32, 32, batch, 64)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        first, second = (gradients(half(training_stack.skip_sum), layers, x, u, back) for _ in range(2))
        torch.set_num_threads(1)
        single = gradients(half(training_stack.skip_sum), layers, x, u, back)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(first[name], single[name]) for name in ("out", "x", "u"))


@built
@instruction_sets
def test_a_teacher_s_weights_get_no_gradient(instructions: str) -> None:
    layers, (x, u, back) = stacks(4, 3, 32, 32, 32), inputs(32, 32, 32, 2, 64)

    compute = partial(training_stack.skip_sum, instructions=instructions)
    wanted = gradients(half(compute), layers, x, u, back)
    for layer in layers:
        layer.zero_grad()
        layer.requires_grad_(False)
    x, u = x.clone().requires_grad_(), u.clone().requires_grad_()
    (compute(layers, x, u.to(torch.bfloat16)).float() * back).sum().backward()
    assert x.grad is not None
    assert u.grad is not None
    assert torch.equal(x.grad.double(), wanted["x"])
    assert torch.equal(u.grad.double(), wanted["u"])
    assert all(weight.grad is None for layer in layers for weight in layer.parameters())


@built
def test_what_is_no_number_stays_none() -> None:
    layers, (x, u, _) = stacks(3, 3, 32, 32, 32), inputs(32, 32, 32, 1, 64)
    x[0, 20] = float("nan")
    out = training_stack.skip_sum(layers, x, u.bfloat16())
    assert out[0, :20].isfinite().all()
    assert out[0, 20].isnan().any()


@built
def test_a_network_takes_it_where_it_can() -> None:
    model = network(layers=3, dilation_cycle=3, residual=32, skip=32, classes=16)
    samples, features = torch.full((1, 2 + 256), 8), torch.zeros(1, 4, 80)
    u = model.conditioning(features)[:, 128:-128]
    x = model.embed(samples[:, :-2], samples[:, 1:-1])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(
            skip_sum(model.stack, x, u.bfloat16()), training_stack.skip_sum(model.stack, x, u.bfloat16())
        )
        assert model(samples, features[:, :2]).dtype == torch.bfloat16
    assert not training_stack.does(model.stack, x, u)  # float32 is computed in float32
    assert not training_stack.does(model.stack, x[:, :100], u[:, :100].bfloat16())
    assert not training_stack.does(network(layers=3, residual=48).stack, torch.zeros(1, 128, 48), u[:, :128].bfloat16())


@built
def test_where_memory_is_lacking_it_says_so(forks: Forks, tmp_path: Path) -> None:
    """In a process that may take little more than it has: no crash, and PyTorch's thread pool still works."""
    script = """
import resource, torch
from m2m.vocoders.shared.cpu import training_stack
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig
layers = WaveNet(WaveNetConfig(layers=4)).stack
x, u = torch.randn(16, 4096, 64), torch.randn(16, 4096, 80).bfloat16()
training_stack.skip_sum(layers, x[:, :32].contiguous(), u[:, :32])
with open("/proc/self/statm") as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 20), taken + (1 << 20)))
try:
    training_stack.skip_sum(layers, x, u)
except (MemoryError, RuntimeError) as error:
    print(type(error).__name__)
"""
    done = forks.run("-c", script, cwd=tmp_path, timeout=HANGS)
    assert done.stdout.strip() in ("MemoryError", "RuntimeError"), done.stderr
