"""The report and the listening test in a real Chromium, from files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from m2m.core.errors import M2MError
from m2m.evaluation.bench.report import write_reports
from m2m.evaluation.listening.blind_test import make
from m2m.evaluation.measures.table import MEASURES
from m2m.evaluation.measures.waves import loudness

pytest.importorskip("pyloudnorm")
pytest.importorskip("matplotlib")
SYSTEMS = {
    "original": "original",
    "mu-law": "mu-law",
    "true mel > v": "true-mel",
    "film > v": "predicted",
    "w <b>": "true-mel",
}
WICKED = "</script><script>document.title = 'owned'</script>"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench's folder as a run leaves it, its figures made up: two pieces, two instruments, one system that fails."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "audio").mkdir()
    cells, draw = [], np.random.default_rng(0)
    for file in ("a", "b"):
        for instrument in ("grand-piano", "trumpet"):
            for rank, (system, stage) in enumerate(SYSTEMS.items()):
                id = f"{file}{instrument}{rank}"
                wave = (0.02 * (rank + 1) * draw.standard_normal(8_000)).astype(np.float32)
                soundfile.write(folder / "audio" / f"{id}.flac", wave, 16_000)
                row = {"id": id, "system": system, "stage": stage, "vocoder": "v", "conditioner": "", "loss": "",
                       "encoder": "", "model": "", "file": file, "instrument": instrument, "processor_seconds": 1.0}  # fmt: skip
                broken = system.startswith("w")
                row |= {"error": WICKED, "audio": ""} if broken else {
                    "error": "", "audio": f"audio/{id}.flac", "semitones": [1 - rank / 10] * 84,
                    "measures": {"constant_q": 1 - rank / 10, "log_mel": rank / 10},
                }  # fmt: skip
                cells.append(row)
    systems = []
    for rank, (system, stage) in enumerate(SYSTEMS.items()):
        broken = system.startswith("w")
        measures = {} if broken else {"constant_q": 1 - rank / 10, "log_mel": rank / 10}
        systems.append({"system": system, "stage": stage, "vocoder": "v", "cells": 4, "failed": 4 * broken,
                        "error": WICKED if broken else "", "measures": measures,
                        "semitones": [] if broken else [1 - rank / 10] * 84})  # fmt: skip
    timing = {"part": "v", "vocoder": "v", "machine": "m", "error": "", "load_seconds": 0.5, "memory_mb": 99.0}
    timing |= {
        "real_time_factors": [0.1, 0.2, 0.15],
        "processor_factors": [0.1],
        "gpu_memory_mb": None,
        "load_average": 0.1,
    }
    results = {
        "m2m": "1",
        "config": {"seconds": 0.5},
        "recordings": {"files": ["a", "b"], "instruments": ["grand-piano", "trumpet"]},
        "systems": systems,
        "speed": [timing],
        "cells": cells,
        "measures": {name: measure.described() for name, measure in MEASURES.items()},
    }
    write_reports(results, folder)
    return folder


def test_the_report_sorts_filters_and_plays(bench: Path, chromium: Any) -> None:
    chromium.goto((bench / "report.html").as_uri())
    assert chromium.title() == "m2m bench"  # what a plugin wrote stays text
    assert chromium.locator("#summary td.bad").first.inner_text() == WICKED
    assert chromium.locator("#plots svg").count() == 3

    def column(section: str, number: int) -> list[str]:
        return chromium.locator(f"{section} tbody tr td:nth-child({number})").all_inner_texts()

    assert column("#summary", 2) == ["1.000", "0.900", "0.800", "0.700", ""]
    chromium.click("#summary th:nth-child(3) button")  # log-mel error, largest first
    assert column("#summary", 3) == ["0.300", "0.200", "0.100", "0.000", ""]
    chromium.click("#summary th:nth-child(3) button")
    assert column("#summary", 3) == ["0.000", "0.100", "0.200", "0.300", ""]
    chromium.click("#summary th:nth-child(1) button")
    assert column("#summary", 1) == sorted(SYSTEMS)
    assert "0.1500" in column("#speed", 2)[0]

    assert len(column("#cells", 1)) == 20
    chromium.fill("#filter", "trumpet film")
    assert column("#cells", 1) == ["film > v"] * 2
    chromium.click("#cells .go >> nth=1")  # from its row to the players: piece b on the trumpet
    assert (chromium.input_value("#file"), chromium.input_value("#instrument")) == ("b", "trumpet")
    assert chromium.locator(".player").count() == 5
    assert chromium.locator(".player.now b").inner_text().startswith("film > v")
    chromium.wait_for_function("audio.currentTime > 0.05")
    assert chromium.evaluate("audio.error === null && audio.duration > 0.4")
    chromium.keyboard.press("1")  # the original, from where the other was
    chromium.wait_for_function("current.row.system === 'original'")
    assert chromium.locator(".player.now").count() == 1
    chromium.select_option("#instrument", "grand-piano")
    assert chromium.evaluate("audio.paused") is True


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
    made = make(bench, tmp_path / "t", recordings=3, seconds=0.45)
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
    made = make(bench, tmp_path / "t", recordings=4, seconds=0.5)
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
        make(bench, tmp_path / "t", systems=["x"])
    with pytest.raises(M2MError, match="is not a finished bench"):
        make(tmp_path, tmp_path / "t")
    with pytest.raises(M2MError, match=r"less than 0\.4 s"):
        make(bench, tmp_path / "t", seconds=0.2)
    make(bench, tmp_path / "t")
    with pytest.raises(M2MError, match="overwrite it with -y"):
        make(bench, tmp_path / "t")
    make(bench, tmp_path / "t", overwrite=True)
