"""Distributions made up on the spot, as pip leaves them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[..., Path]

ENCODER = """
import numpy as np
from pydantic import Field
from m2m.core.encoder import EncoderOptions, ScoreEncoder

class Options(EncoderOptions):
    width: int = Field(3, gt=0, description="numbers a frame")
    mode: str | None = None

class Encoder(ScoreEncoder):
    Options = Options
    n_features = 3

    def encode(self, notes, frame_rate, start, frames):
        return np.zeros((frames, self.options.width), np.float32)
"""


@pytest.fixture
def encoder_code() -> str:
    """A whole, working encoder, which a test may spoil."""
    return ENCODER


def write_distribution(
    site: Path,
    name: str,
    code: str = ENCODER,
    *,
    version: str = "1.0",
    entries: str = "",
    summary: str = "A made-up plugin",
    group: str = "m2m.encoders",
) -> Path:
    """Write a distribution of one module into a folder; its class `Encoder` has the distribution's name."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {summary}\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entries or f'{name} = {module}:Encoder'}\n")
    return info


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`write_distribution` on the sys.path of this process and those it starts."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(site))

    def make(name: str, *arguments: str, **about: str) -> Path:
        monkeypatch.delitem(sys.modules, name.replace("-", "_"), raising=False)
        return write_distribution(site, name, *arguments, **about)

    return make
