"""Losses on spectrograms, of tones."""

import pytest
import torch
from training_runs import tone

from m2m.training.losses.stft import magnitude, multi_resolution_stft_loss
from m2m.training.losses.student import DISTANCES


def test_a_full_scale_sine_reads_one() -> None:
    found = magnitude(tone(1000.0, level=1.0), 1024)
    assert found.max().item() == pytest.approx(1, rel=0.01)
    assert found[0, :, 3].argmax().item() == 64


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_grow_with_what_is_wrong(name: str) -> None:
    """0 of a wave to itself, whatever its phase; more to another level, most to another tone; silence is no trap."""
    distance = DISTANCES[name]
    true = tone(440.0)
    assert distance(true, true).item() == pytest.approx(0, abs=1e-6)
    assert distance(-true, true).item() == pytest.approx(0, abs=1e-6)
    louder, other = distance(1.2 * true, true).item(), distance(tone(700.0), true).item()
    assert 0.001 < louder < other
    for wave in (torch.zeros(1, 8192), true):
        moved = wave.clone().requires_grad_()
        distance(moved, torch.zeros(1, 8192)).backward()
        assert torch.isfinite(moved.grad).all()  # type: ignore[arg-type]


def test_a_quiet_wave_weighs_as_much_as_a_loud_one() -> None:
    """The losses are relative to the waves: the same error of a quiet one and a loud one counts alike."""
    loud, quiet = tone(440.0), tone(440.0, level=0.003)
    assert DISTANCES["frames"](1.1 * loud, loud).item() == pytest.approx(
        DISTANCES["frames"](1.1 * quiet, quiet).item(), rel=0.05
    )
    assert multi_resolution_stft_loss(loud, quiet).item() < 20
