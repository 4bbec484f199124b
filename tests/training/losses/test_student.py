"""The table of the student's losses: the command, the config and training read it."""

import subprocess
import sys
from dataclasses import fields

import pytest
import torch
from command_line import HANGS

from m2m.core.errors import M2MError
from m2m.core.system.run_config import load_run
from m2m.training.losses.student import DISTANCES, NAMES, Losses, only
from m2m.training.parallel_wavenet import StudentRun


def test_the_named_losses_are_on_and_all_others_off() -> None:
    run = load_run(StudentRun, None, only("power, kl"))
    assert run.losses == Losses(kl=0.1, stft=0, frames=0, power=1, adversarial=0)
    with pytest.raises(M2MError, match="there is no loss 'l1'; there are kl, stft, frames, power, adversarial"):
        only("kl,l1")


def test_a_config_may_weigh_each_loss() -> None:
    run = load_run(StudentRun, None, {"losses.kl": "0.3"})
    assert run.losses == Losses(kl=0.3)
    assert run.model_dump(mode="json")["losses"]["kl"] == 0.3
    for values, words in (
        ({"losses.l1": 1}, r"config: losses\.l1: .*there are kl, stft, frames, power, adversarial"),
        ({"losses.kl": -1}, "config: losses: kl -1 is below 0"),
        ({"losses.kl": "much"}, r"config: losses\.kl: input should be a valid number"),
        ({"losses": 3}, "config: losses: .*3 came"),
    ):
        with pytest.raises(M2MError, match=words):
            load_run(StudentRun, None, values)


def test_every_loss_is_described_and_those_between_waves_can_be_computed() -> None:
    assert all(field.metadata["description"] for field in fields(Losses))
    assert set(NAMES) - set(DISTANCES) == {"kl", "adversarial"}
    waves = torch.randn(2, 2, 4096)
    assert all(distance(waves[0], waves[1]).shape == () for distance in DISTANCES.values())


def test_the_tables_of_losses_need_no_torch() -> None:
    """The command's help reads them."""
    code = "import sys, m2m.training.losses.mel, m2m.training.losses.student; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=HANGS).returncode == 0
