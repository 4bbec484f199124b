"""The listening test in a real Chromium, from its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from m2m.core.errors import M2MError
from m2m.evaluation.listening.blind_test import make_blind_test
from m2m.evaluation.measures.waves import loudness


def test_the_listening_test_is_taken_by_keyboard_and_scored(
    bench: Path, tmp_path: Path, chromium: Any, here: Callable[..., Any]
) -> None:
    made = here("mos", "make", str(bench), "-o", "t", "--recordings", "2", "--seconds", "0.45")
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == "t/page/index.html"
    page, key = Path("t/page/index.html").absolute(), json.loads(Path("t/key.json").read_text())
    systems = [about["system"] for about in key["stimuli"].values()]
    assert sorted(systems) == sorted(["original", "mu-law", "true mel > v", "film > v"] * 2)  # what fails is left out
    assert not any(word in page.read_text() for word in ("mu-law", "film", "trumpet"))  # blind

    chromium.goto(page.as_uri())
    chromium.keyboard.press("Enter")
    order = chromium.evaluate("state.order")
    assert sorted(order) == sorted(key["stimuli"])
    wanted = {"original": 5, "mu-law": 4, "true mel > v": 3, "film > v": 2}
    for number, stimulus in enumerate(order):
        assert chromium.inner_text("#place") == f"{number + 1} of 8"
        chromium.keyboard.press("3")  # before it was heard: not taken
        assert chromium.locator("[aria-checked=true]").count() == 0
        assert chromium.is_disabled("#next")
        chromium.keyboard.press("Space")
        chromium.wait_for_function("entry(now()).heard")
        chromium.keyboard.press("1")  # a change of mind
        chromium.keyboard.press(str(wanted[key["stimuli"][stimulus]["system"]]))
        assert chromium.locator("[aria-checked=true]").count() == 1
        if number == 3:
            chromium.reload()  # goes on where it was, the rating kept
            assert chromium.inner_text("#place") == "4 of 8"
            assert chromium.evaluate("state.order") == order
            chromium.keyboard.press("ArrowLeft")
            assert chromium.inner_text("#place") == "3 of 8"
            chromium.keyboard.press("ArrowRight")
        chromium.keyboard.press("Enter")
    with chromium.expect_download() as download:
        chromium.click("#save")
    download.value.save_as(tmp_path / "in" / download.value.suggested_filename)
    ratings = json.loads((tmp_path / "in" / download.value.suggested_filename).read_text())
    assert [entry["stimulus"] for entry in ratings["ratings"]] == order
    assert all(entry["plays"] >= 1 for entry in ratings["ratings"])

    done = here("mos", "report", "t/key.json", str(tmp_path / "in"), "--json")
    assert done.returncode == 0, done.stderr
    scores = {row["system"]: row["mos"] for row in json.loads(done.stdout)["systems"]}
    assert scores == wanted
    table = here("mos", "report", "t/key.json", str(tmp_path / "in"))
    assert table.stdout.splitlines()[1].split()[:2] == ["original", "5.000"]


def test_two_listeners_hear_two_orders(bench: Path, tmp_path: Path, chromium: Any) -> None:
    made = make_blind_test(bench, tmp_path / "t", recordings=3, seconds=0.45)
    orders = []
    for _ in range(2):
        chromium.goto(made.page.as_uri())
        chromium.evaluate("localStorage.clear()")
        chromium.reload()
        orders.append(chromium.evaluate("[state.order, state.listener]"))
    assert orders[0][0] != orders[1][0]
    assert sorted(orders[0][0]) == sorted(orders[1][0])
    assert orders[0][1] != orders[1][1]


def test_stimuli_are_equally_loud_and_unclipped(bench: Path, tmp_path: Path) -> None:
    made = make_blind_test(bench, tmp_path / "t", recordings=4, seconds=0.5)
    assert (made.recordings, made.systems, made.stimuli) == (4, 4, 16)
    levels = []
    for path in (tmp_path / "t" / "page" / "stimuli").iterdir():
        wave, rate = soundfile.read(path, dtype="float32")
        levels.append(loudness(wave, rate))
        assert np.abs(wave).max() < 0.9
        assert abs(wave[0]) < 1e-3
    assert np.ptp(levels) < 0.1


def test_what_makes_no_listening_test(bench: Path, tmp_path: Path) -> None:
    with pytest.raises(M2MError, match="no system 'x' with sound; it has true mel > v"):
        make_blind_test(bench, tmp_path / "t", systems=["x"])
    with pytest.raises(M2MError, match="is not a finished bench"):
        make_blind_test(tmp_path, tmp_path / "t")
    with pytest.raises(M2MError, match=r"less than 0\.4 s"):
        make_blind_test(bench, tmp_path / "t", seconds=0.2)
    make_blind_test(bench, tmp_path / "t")
    with pytest.raises(M2MError, match="overwrite it with -y"):
        make_blind_test(bench, tmp_path / "t")
    make_blind_test(bench, tmp_path / "t", overwrite=True)
