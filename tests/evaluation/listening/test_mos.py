"""What listeners said, and who counts."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from m2m.core.errors import M2MError
from m2m.evaluation.listening.mos import mos_report

pytest.importorskip("scipy.stats")
SYSTEMS = ("original", "mu-law", "good", "bad")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A test of four systems on ten recordings."""
    stimuli = {f"{s}{i}": {"system": s, "file": f"f{i}", "instrument": "x"} for s in SYSTEMS for i in range(10)}
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"test": "t", "stimuli": stimuli}))
    return path


def listen(folder: Path, name: str, **ratings: list[int]) -> Path:
    """A listener's file: a system's ten ratings each."""
    folder.mkdir(exist_ok=True)
    given = [
        {"stimulus": f"{s.replace('_', '-')}{i}", "rating": r} for s, all in ratings.items() for i, r in enumerate(all)
    ]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"test": "t", "listener": name, "ratings": given}))
    return path


def test_means_errors_and_intervals(key: Path, tmp_path: Path) -> None:
    draw, folder, means = np.random.default_rng(0), tmp_path / "in", []
    for number in range(6):
        good = np.clip(draw.integers(2, 5, 10) + number % 2, 1, 5).tolist()
        means.append(np.mean(good))
        listen(folder, f"l{number}", original=[5] * 10, mu_law=[4] * 10, good=good, bad=[1, 2] * 5)
    found = mos_report(key, [folder])
    assert (found.listeners, found.screened) == (6, {})
    rows = {row["system"]: row for row in found.systems}
    assert [row["system"] for row in found.systems] == ["original", "mu-law", "good", "bad"]
    assert rows["original"]["mos"] == 5
    assert rows["bad"]["mos"] == 1.5
    assert rows["good"]["mos"] == pytest.approx(np.mean(means))
    # With equally many ratings each, the error is that of the listeners' means.
    error = np.std(means, ddof=1) / math.sqrt(6)
    assert rows["good"]["error"] == pytest.approx(error)
    assert rows["good"]["high"] - rows["good"]["mos"] == pytest.approx(
        2.5706 * error, rel=1e-4
    )  # Student's t, 5 degrees


def test_listeners_who_fail_the_hidden_reference_do_not_count(key: Path, tmp_path: Path) -> None:
    folder, rest = tmp_path / "in", {"mu_law": [4] * 10, "good": [3] * 10}
    listen(folder, "fine", original=[5] * 9 + [2], **rest)  # one slip in ten is allowed
    listen(folder, "deaf", original=[2, 2, *[5] * 8], **rest)
    listen(folder, "upside-down", original=[3] * 10, mu_law=[4] * 10, good=[5] * 10)
    listen(folder, "hasty", good=[5] * 10)
    found = mos_report(key, [folder])
    assert found.listeners == 1
    assert set(found.screened) == {"deaf", "upside-down", "hasty"}
    assert "2 of 10 hidden references" in found.screened["deaf"]
    assert "below everything else" in found.screened["upside-down"]
    assert {row["system"]: row["mos"] for row in found.systems} == {"original": 4.7, "mu-law": 4.0, "good": 3.0}


def test_one_listener_is_taken_rating_by_rating(key: Path, tmp_path: Path) -> None:
    only = listen(tmp_path / "in", "a", original=[5] * 10, good=[2, 3, 4, 3, 2, 4, 3, 3, 4, 2])
    row = mos_report(key, [only]).systems[1]
    assert row["error"] == pytest.approx(np.std([2, 3, 4, 3, 2, 4, 3, 3, 4, 2], ddof=1) / math.sqrt(10))
    single = listen(tmp_path / "in", "b", original=[5], good=[4])
    assert mos_report(key, [single]).systems[1]["error"] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nonsense", "is not a listener's ratings"),
        ('{"test": "other", "ratings": []}', "is of another test"),
        ('{"test": "t", "ratings": []}', "holds no ratings"),
        ('{"test": "t", "ratings": [{"stimulus": "good0", "rating": 6}]}', "a rating from 1 to 5"),
        ('{"test": "t", "ratings": [{"stimulus": "good0", "rating": true}]}', "a rating from 1 to 5"),
        ('{"test": "t", "ratings": [{"stimulus": "else", "rating": 3}]}', "a stimulus of the test"),
        ('{"test": "t", "ratings": [3]}', "a stimulus of the test"),
        ('{"test": "t", "ratings": [{"stimulus": [], "rating": 3}]}', "a stimulus of the test"),
        ('{"test": "t", "ratings": 3}', "holds no ratings"),
        ("[1]", "is not a listener's ratings"),
    ],
)
def test_a_strangers_file_can_only_be_refused(key: Path, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(M2MError, match=message):
        mos_report(key, [tmp_path / "x.json"])


@pytest.mark.parametrize("stimuli", ["[]", "null", '{"a": 3}', '{"a": {}}', '{"a": {"system": []}}'])
def test_a_key_that_is_none_is_refused(tmp_path: Path, stimuli: str) -> None:
    (tmp_path / "key.json").write_text(f'{{"test": "t", "stimuli": {stimuli}}}')
    with pytest.raises(M2MError, match="is not the key of a listening test"):
        mos_report(tmp_path / "key.json", [tmp_path])


def test_the_same_listener_twice(key: Path, tmp_path: Path) -> None:
    first = listen(tmp_path / "in", "a", original=[5] * 10)
    (tmp_path / "copy.json").write_text(first.read_text())
    assert mos_report(key, [first, tmp_path / "copy.json"]).listeners == 1
    (tmp_path / "other.json").write_text(first.read_text().replace("5", "4"))
    with pytest.raises(M2MError, match="second file of listener a"):
        mos_report(key, [first, tmp_path / "other.json"])
