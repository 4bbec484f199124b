"""Which acoustic model a render takes. Nothing here imports torch, so commands may ask before they need it."""

from __future__ import annotations

from pathlib import Path

from m2m.core.model_folders import find_model
from m2m.core.plugins import registry


def choose_model(model: str | Path | None = None, encoder: str | None = None, conditioner: str | None = None) -> Path:
    """The folder of the acoustic model that these options name; without any, of the default conditioner's."""
    wanted = conditioner if conditioner or model else registry.default("conditioner")
    return find_model("mel2mel", model, {"conditioner": wanted, "encoder": encoder})
