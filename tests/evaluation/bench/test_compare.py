"""Better, worse, or noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from m2m.core.errors import M2MError
from m2m.evaluation.bench.compare import broken, compare, interval


def results(values: dict[str, np.ndarray], speed: Sequence[float] = (0.1,), error: str = "") -> dict[str, Any]:
    """A bench of one system: measure -> (files, instruments)."""
    cells = [
        {"stage": "true-mel", "vocoder": "v", "conditioner": "", "loss": "", "encoder": "", "model": "", "system": "v",
         "file": f"f{i}", "instrument": f"i{j}", "error": error if (i, j) == (0, 0) else "",
         "measures": {name: float(found[i, j]) for name, found in values.items()}}
        for i, j in np.ndindex(next(iter(values.values())).shape)
    ]  # fmt: skip
    timing = {"part": "v", "machine": "m", "error": "", "real_time_factors": list(speed)}
    return {"cells": cells, "speed": [timing]}


def verdicts(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    return {change.measure: change.verdict for change in compare(old, new)}


def test_a_small_change_of_every_file_counts_and_a_large_one_of_a_few_does_not() -> None:
    draw = np.random.default_rng(0)
    base = draw.uniform(0.5, 0.9, (14, 10))  # files differ by far more than the change
    old = results({"constant_q": base, "log_mel": base})
    new = results({"constant_q": base + 0.01 + 0.005 * draw.standard_normal((14, 1)), "log_mel": base + 0.01})
    assert verdicts(old, new) == {"constant_q": "better", "log_mel": "worse", "real_time_factor": "same"}
    assert verdicts(new, old) == {"constant_q": "worse", "log_mel": "better", "real_time_factor": "same"}
    noisy = results({"constant_q": base + 0.05 * draw.standard_normal((14, 1)), "log_mel": base})
    assert verdicts(old, noisy)["constant_q"] == "same"


def test_instruments_of_one_file_are_not_independent() -> None:
    """One file's ten instruments all better tell nothing of the other files."""
    change = np.zeros((14, 10))
    change[3] = 0.3
    low, high = interval(change.ravel(), [f"f{i}" for i, _ in np.ndindex(14, 10)])
    assert low == 0
    assert high > 0.03


def test_two_models_of_one_kind_are_two_systems_and_a_moved_folder_is_the_same() -> None:
    def two(first: str, second: str) -> dict[str, Any]:
        benches = [results({"constant_q": np.full((3, 2), level)}) for level in (0.5, 0.7)]
        for bench, model in zip(benches, (first, second), strict=True):
            for row in bench["cells"]:
                row |= {"model": model, "system": model}
        return {"cells": benches[0]["cells"] + benches[1]["cells"], "speed": []}

    assert [change.verdict for change in compare(two("a", "b"), two("a", "b"))] == ["same", "same"]
    moved = two("a", "b")
    moved["cells"] = [row | {"model": "elsewhere"} for row in moved["cells"] if row["model"] == "b"]
    other = two("a", "b")
    other["cells"] = [row for row in other["cells"] if row["model"] == "b"]
    assert [change.verdict for change in compare(other, moved)] == ["same"]


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        low, high = interval(draw.standard_normal(30) + 0.2, [f"f{i}" for i in range(30)])
        inside += low <= 0.2 <= high
    assert 0.89 < inside / 200 < 0.99


def test_a_difference_too_small_to_matter_is_none() -> None:
    base = np.full((14, 2), 0.8)
    assert verdicts(results({"constant_q": base}), results({"constant_q": base + 1e-5}))["constant_q"] == "same"


def test_a_signed_measure_gets_better_towards_zero() -> None:
    loud, soft = np.full((8, 2), 2.0), np.full((8, 2), -0.5)
    assert verdicts(results({"loudness": loud}), results({"loudness": soft}))["loudness"] == "better"


def test_speed_is_compared_on_one_machine_only() -> None:
    values = {"constant_q": np.ones((6, 1))}
    old = results(values, [0.10, 0.101, 0.099, 0.102, 0.1])
    new = results(values, [0.20, 0.201, 0.199, 0.202, 0.2])
    assert verdicts(old, new)["real_time_factor"] == "worse"
    assert verdicts(new, old)["real_time_factor"] == "better"
    new["speed"][0]["machine"] = "another"
    assert "real_time_factor" not in verdicts(old, new)


def test_what_fails_now_is_told_and_what_has_nothing_in_common_is_refused() -> None:
    values = {"constant_q": np.ones((6, 1))}
    old, new = results(values), results(values, error="no luck")
    assert broken(old, new) == ["v, f0 on i0: no luck"]
    assert broken(new, old) == []
    with pytest.raises(M2MError, match="share no system"):
        compare(old, {"cells": [], "speed": []})
