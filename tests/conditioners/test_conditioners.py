"""What holds for every conditioner; film and concat each have an oracle by hand below."""

import pytest
import torch
from torch import Tensor

from m2m.conditioners.concat import Concat
from m2m.conditioners.film import FiLM
from m2m.core.conditioner import TimbreConditioner

BATCH, FRAMES, FEATURES, TIMBRE = 2, 5, 4, 3


@pytest.fixture(params=[FiLM, Concat])
def conditioner(request: pytest.FixtureRequest) -> TimbreConditioner:
    torch.manual_seed(0)
    return request.param(FEATURES, TIMBRE)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, FRAMES, FEATURES, generator=draw), torch.randn(BATCH, 1, TIMBRE, generator=draw)


def test_film_by_hand() -> None:
    film = FiLM(2, 1)
    with torch.no_grad():
        film.gamma.weight.copy_(torch.tensor([[2.0], [3.0]]))
        film.gamma.bias.copy_(torch.tensor([1.0, -1.0]))
        film.beta.weight.copy_(torch.tensor([[0.5], [0.0]]))
        film.beta.bias.copy_(torch.tensor([0.0, 4.0]))
    out = film(torch.tensor([[[1.0, 10.0], [2.0, 20.0]]]), torch.tensor([[[1.0]]]))
    # gamma = (2 + 1, 3 - 1) = (3, 2), beta = (0.5, 4)
    assert out.tolist() == [[[3.5, 24.0], [6.5, 44.0]]]


def test_concat_by_hand() -> None:
    concat = Concat(2, 1)
    with torch.no_grad():
        concat.weight.copy_(torch.tensor([[1.0, 2.0, 10.0], [0.0, -1.0, 20.0]]))
        concat.bias.copy_(torch.tensor([0.5, 0.0]))
    out = concat(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[2.0]]]))
    # rows: 1 + 2*3 + 10*2 + 0.5 and -3 + 20*2
    assert out.tolist() == [[[27.5, 37.0]]]


def test_shape_and_dtype(conditioner: TimbreConditioner, data: tuple[Tensor, Tensor]) -> None:
    features, timbre = data
    assert conditioner(features, timbre).shape == features.shape
    halved = conditioner.to(torch.bfloat16)(features.bfloat16(), timbre.bfloat16())
    assert (halved.shape, halved.dtype) == (features.shape, torch.bfloat16)


def test_begins_near_the_identity(conditioner: TimbreConditioner, data: tuple[Tensor, Tensor]) -> None:
    features, timbre = data
    assert torch.corrcoef(torch.stack([conditioner(features, 0 * timbre).ravel(), features.ravel()]))[0, 1] > 0.95


def test_timbre_has_effect_and_gradient(conditioner: TimbreConditioner, data: tuple[Tensor, Tensor]) -> None:
    features, timbre = (x.requires_grad_() for x in data)
    out = conditioner(features, timbre)
    assert not torch.allclose(out, conditioner(features, timbre + 1.0), atol=1e-3)
    out.square().sum().backward()
    for x in (features, timbre, *conditioner.parameters()):
        assert x.grad is not None
        assert x.grad.abs().sum() > 0


def test_gradients_are_right(conditioner: TimbreConditioner, data: tuple[Tensor, Tensor]) -> None:
    features, timbre = (x.double().requires_grad_() for x in data)
    assert torch.autograd.gradcheck(conditioner.double(), (features, timbre))


def test_each_frame_by_itself(conditioner: TimbreConditioner, data: tuple[Tensor, Tensor]) -> None:
    features, timbre = data
    changed = features.clone()
    changed[:, 2] += 1.0
    differs = (conditioner(features, timbre) != conditioner(changed, timbre)).any(-1).any(0)
    assert differs.tolist() == [False, False, True, False, False]


def test_a_moving_timbre_is_one_timbre_a_frame(conditioner: TimbreConditioner, data: tuple[Tensor, Tensor]) -> None:
    features, _ = data
    path = torch.randn(BATCH, FRAMES, TIMBRE)
    single = [conditioner(features[:, t : t + 1], path[:, t : t + 1]) for t in range(FRAMES)]
    torch.testing.assert_close(conditioner(features, path), torch.cat(single, 1))
    still = path[:, :1]
    torch.testing.assert_close(conditioner(features, still.expand_as(path)), conditioner(features, still))


def test_saved_and_loaded(conditioner: TimbreConditioner, data: tuple[Tensor, Tensor]) -> None:
    other = type(conditioner)(FEATURES, TIMBRE)
    other.load_state_dict(conditioner.state_dict())
    assert torch.equal(other(*data), conditioner(*data))
