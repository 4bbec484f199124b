"""The suite of timbre conditioners: every promise of core/conditioner.py."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from m2m.core.conditioner import TimbreConditioner
from m2m.core.testing.suite import BrokenPromiseError, Conformance, made, require

N, DIM = 12, 3  # features and timbre dimensions of the tests


class ConditionerConformance(Conformance):
    """tolerance: by which float32 features may differ between ways that should give the same."""

    kind = "conditioner"
    tolerance: ClassVar[float] = 1e-5

    @property
    def conditioner(self) -> TimbreConditioner:
        """The conditioner for 12 features and 3 dimensions, set up with the suite's options, in eval mode."""
        conditioner: TimbreConditioner = made(self.kind, self.name, self.options, N, DIM)
        return conditioner.eval()

    def test_shape_and_type(self) -> None:
        """Features keep their shape and type, for every batch and length, with a timbre that holds still or moves"""
        for batch, frames in ((1, 1), (1, 50), (3, 7)):
            features, timbre = _draw(batch, frames)
            for given in (timbre, timbre.expand(-1, frames, -1)):
                self._shaped(self.conditioner(features, given), features)
        doubled = copy.deepcopy(self.conditioner).double()
        features, timbre = (x.double() for x in _draw(2, 5))
        self._shaped(doubled(features, timbre), features)

    def test_a_timbre_held_is_one_that_does_not_move(self) -> None:
        """A timbre given once equals the same one given for every frame"""
        features, timbre = _draw(2, 9)
        self._same(self.conditioner(features, timbre), self.conditioner(features, timbre.expand(-1, 9, -1)), "a path")

    def test_each_frame_by_itself(self) -> None:
        """A frame's result depends neither on its neighbours nor on the rest of the batch"""
        features, timbre = _draw(3, 20)
        whole = self.conditioner(features, timbre)
        self._same(self.conditioner(features[:, 7:9], timbre), whole[:, 7:9], "two frames alone")
        self._same(self.conditioner(features[1:2], timbre[1:2]), whole[1:2], "one of the batch alone")

    def test_timbre_makes_a_difference(self) -> None:
        """Another timbre gives other features, from the first step of training on"""
        features, timbre = _draw(1, 9)
        apart = float((self.conditioner(features, timbre) - self.conditioner(features, -timbre)).detach().abs().max())
        require(apart > 1e-6, "two timbres give the same features: its first weights must let the timbre through.")

    def test_gradients(self) -> None:
        """features, timbre and every parameter get a finite gradient"""
        conditioner = copy.deepcopy(self.conditioner).train()
        features, timbre = (x.requires_grad_() for x in _draw(2, 9))
        conditioner(features, timbre).square().sum().backward()
        for name, tensor in [("features", features), ("timbre", timbre), *conditioner.named_parameters()]:
            require(tensor.grad is not None, f"{name} gets no gradient: it must be learned, or be a buffer.")
            assert tensor.grad is not None
            require(bool(torch.isfinite(tensor.grad).all()), f"the gradient of {name} is not finite.")
            require(
                name != "timbre" or bool(tensor.grad.any()), "the gradient of the timbre is zero: it cannot be learned."
            )

    def test_it_is_a_function(self) -> None:
        """In eval mode the same input gives the same features, and is not written to"""
        features, timbre = _draw(2, 9)
        before = features.clone(), timbre.clone()
        try:
            first = self.conditioner(features, timbre)
        except RuntimeError as error:
            raise BrokenPromiseError(f"it fails on tensors that it may not write to: {error}") from error
        require(torch.equal(features, before[0]) and torch.equal(timbre, before[1]), "its input was changed.")
        torch.manual_seed(1)
        self._same(self.conditioner(features, timbre), first, "a second call")

    def test_save_and_load(self) -> None:
        """Saved as safetensors and loaded into another instance, it gives the same features"""
        from m2m.core.plugins import registry

        options = self.conditioner.options.model_dump(mode="json")
        other = registry.create("conditioner", self.name, N, DIM, options=options).eval()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "conditioner.safetensors")
            save_file({name: tensor.contiguous() for name, tensor in self.conditioner.state_dict().items()}, path)
            other.load_state_dict(load_file(path))
        features, timbre = _draw(2, 9)
        self._same(other(features, timbre), self.conditioner(features, timbre), "after saving and loading")

    def test_devices(self) -> None:
        """Moved to an accelerator it gives what it gives on the CPU"""
        if not torch.cuda.is_available():
            raise SkipTest("no accelerator is seen here, the CPU is what the other tests run on")
        features, timbre = _draw(2, 9)
        moved = copy.deepcopy(self.conditioner).cuda()
        there = moved(features.cuda(), timbre.cuda())
        require(there.is_cuda, "what came of features on cuda is not on cuda.")
        apart = float((there.cpu() - self.conditioner(features, timbre)).detach().abs().max())
        require(apart <= 1e-2, f"on cuda the features are {apart:g} apart from the CPU's.")  # TF32 has 10 bits

    def test_threads(self) -> None:
        """Several threads may use one instance at once"""
        drawn = [_draw(2, 9, seed) for seed in range(4)]
        alone = [self.conditioner(*pair) for pair in drawn]
        for number, features in enumerate(self.at_once(lambda n: self.conditioner(*drawn[n]))):
            self._same(features, alone[number], f"thread {number} of four at once")

    def _shaped(self, out: object, features: Tensor) -> None:
        require(isinstance(out, Tensor), f"a {type(out).__name__} came, a tensor was wanted.")
        assert isinstance(out, Tensor)
        shape, wanted = tuple(out.shape), tuple(features.shape)
        require(shape == wanted, f"features of shape {shape} came, {wanted} was wanted.")
        require(out.dtype == features.dtype, f"features of {out.dtype} came, {features.dtype} was wanted.")
        require(bool(torch.isfinite(out).all()), "the features hold NaN or infinite numbers.")

    def _same(self, out: Tensor, wanted: Tensor, what: str) -> None:
        self._shaped(out, wanted)
        apart = float((out - wanted).detach().abs().max())
        require(apart <= self.tolerance, f"{what}: the features are {apart:g} apart, {self.tolerance:g} is the most.")


def _draw(batch: int, frames: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features (batch, frames, N) and timbres (batch, 1, DIM)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, frames, N, generator=generator), torch.randn(batch, 1, DIM, generator=generator)
