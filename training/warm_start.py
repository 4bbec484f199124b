"""A warm start: a run that begins with the weights of another model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from pydantic import ValidationError
from torch import nn

from m2m.core.errors import M2MError
from m2m.core.model_folders import model_folder
from m2m.core.system import progress
from m2m.core.system.run_config import RUN, load_run
from m2m.vocoders.shared.conditioning import Conditioned

if TYPE_CHECKING:
    from m2m.training.segments import SegmentRun

Run = TypeVar("Run", bound="SegmentRun")


def warm_start(
    run: Run, load: Callable[[Path], tuple[Conditioned, str]], out: Path, resume: bool
) -> tuple[Run, Conditioned | None]:
    """The run with the sizes of the model that it starts from, where it does not itself say otherwise; and that model.

    load: loads the model in a folder, and its hash. Returned: (run, model or None). A run that is resumed continues its own
    checkpoint and needs no model. Raises M2MError if it is told another `start` now, or if `start` does not go with its model.
    """
    if resume:
        if (out / RUN).exists():
            refuse_another(run.start, load_run(type(run), out / RUN, {}).start, out)
        return run, None
    if run.start is None:
        return run, None
    initial = load(model_folder(run.start))[0]
    model, theirs = run.model, initial.config.model_dump(exclude={"temperature"})
    given = {name: value for name, value in model.model_dump().items() if name in model.model_fields_set}
    try:
        both = type(model).model_validate(theirs | given)
    except ValidationError as error:
        raise M2MError(
            f"start {run.start} does not go with what is given for model: {error.errors()[0]['msg']}."
        ) from error
    return run.model_copy(update={"model": both}), initial


@torch.no_grad()
def load_matching_weights(network: nn.Module, initial: nn.Module) -> None:
    """Copy into a network the weights of `initial` that match by name and shape, and say which of its own stay random.

    The convolutions of the conditioning are copied together or not at all: each works on the output of the one before.
    """
    ours, theirs = network.state_dict(), initial.state_dict()
    fits = {name: name in theirs and theirs[name].shape == weight.shape for name, weight in ours.items()}
    whole = all(fit for name, fit in fits.items() if name.startswith("upsample."))
    random = []
    for name, weight in ours.items():
        if fits[name] and (whole or not name.startswith("upsample.")):
            weight.copy_(theirs[name])
        else:
            random.append(name)
    if random:
        progress.say(f"of other sizes than start's, and so begun at random: {', '.join(random)}.")


def refuse_another(start: Path | None, earlier: Path | None, out: Path) -> None:
    """Raise M2MError if a run that is resumed is told another `start` than it had, which would have no effect."""
    if start != earlier:
        raise M2MError(
            f"the run in {out} began from {earlier or 'random weights'} and goes on from its own checkpoint, "
            f"not from {start or 'random weights'}; without --resume, start begins a run in another folder."
        )
