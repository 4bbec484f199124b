"""Whole benches through the command, at tiny sizes; SIGKILL, crashes and failures among them."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

M2M = Callable[..., "subprocess.CompletedProcess[str]"]
pytest.importorskip("librosa")
pytest.importorskip("pyloudnorm")
TINY = ("--seconds", "1", "--set", "vocoder_options.griffin-lim.iterations=1")


def cells(folder: Path) -> dict[str, int]:
    """Each finished cell, and when it was written."""
    return {path.stem: path.stat().st_mtime_ns for path in (folder / "cells").glob("[!.]*.json")}  # no half-written one


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "table.csv").read_text().splitlines()))


@pytest.mark.usefixtures("echo")
def test_a_whole_bench_is_resumed_grown_and_compared(here: M2M, recordings: Path, tmp_path: Path) -> None:
    """One long walk, since each start of a worker process takes seconds."""
    work = tmp_path / "work"
    bench = ("bench", "--data", str(recordings), "--conditioners", "film", *TINY, "-o", "b")
    done = here(*bench, "--vocoders", "griffin-lim,echo,nobody", "--repeats", "2", "--json", "-j", "2")
    assert done.returncode == 1, done.stderr  # nobody has failed
    # original, µ-law, three vocoders from the true mel and from film's, film's mel: on four recordings
    assert {k: v for k, v in json.loads(done.stdout).items() if k != "folder"} == {
        "cells": 36, "computed": 36, "failed": 8,
    }  # fmt: skip
    results = json.loads((work / "b" / "results.json").read_text())
    systems = {s["system"]: s for s in results["systems"]}
    correlation = {name: s["measures"].get("constant_q") for name, s in systems.items()}
    assert correlation["original"] == pytest.approx(1)
    assert correlation["original"] > correlation["mu-law"] > 0.6
    assert correlation["original"] > correlation["true mel > griffin-lim"] > 0.6
    assert correlation["true mel > griffin-lim"] > correlation["true mel > echo"] + 0.2
    assert correlation["true mel > griffin-lim"] > correlation["film > griffin-lim"]
    assert systems["film mel"]["measures"]["log_mel"] > 0
    assert systems["true mel > griffin-lim"]["measures"]["frechet"] < systems["true mel > echo"]["measures"]["frechet"]
    assert systems["true mel > nobody"]["failed"] == 4
    assert "no vocoder 'nobody' is installed" in systems["true mel > nobody"]["error"]

    # Speed: every part in a process of its own, its memory and its machine named.
    speed = {row["part"]: row for row in results["speed"]}
    assert set(speed) == {"griffin-lim", "echo", "nobody", "film mel"}
    assert len(speed["griffin-lim"]["real_time_factors"]) == 2
    assert all(factor > 0 for factor in speed["film mel"]["real_time_factors"])
    assert speed["echo"]["memory_mb"] > 50
    assert "processors" in speed["echo"]["machine"]
    assert "no vocoder" in speed["nobody"]["error"]

    # The table is tidy, sound is there for every cell that has some, and the page holds both.
    table = rows(work / "b")
    assert len(table) == 36
    assert {row["file"] for row in table} == {"up", "down"}
    assert all((work / "b" / row["audio"]).is_file() for row in table if row["audio"])
    assert sum(bool(row["audio"]) for row in table) == 24
    page = (work / "b" / "report.html").read_text()
    assert page.count("data:audio/") == 24
    assert "http://" not in page.replace("http://www.w3.org/", "").replace("http://purl.org/", "").replace(
        "http://creativecommons.org/", ""
    )
    assert "| film > griffin-lim |" in (work / "b" / "summary.md").read_text()

    # Once more: nothing is computed, nothing is written, and torch is not even imported.
    before = cells(work / "b"), (work / "b" / "report.html").stat().st_mtime_ns
    code = "import sys, m2m.cli; sys.argv[0] = 'm2m'\ntry: m2m.cli.main()\nfinally: sys.exit('torch' in sys.modules)"
    again = [*bench, "--vocoders", "griffin-lim,echo,nobody", "--repeats", "2", "-q"]
    began = sum(os.times()[2:4])  # processor time of children, which a busy machine does not stretch
    finished = subprocess.run([sys.executable, "-c", code, *again], cwd=work, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert sum(os.times()[2:4]) - began < 3
    assert (cells(work / "b"), (work / "b" / "report.html").stat().st_mtime_ns) == before

    # Another option of one vocoder: its cells alone are new; the others' files are not touched.
    changed = ("--set", "vocoder_options.echo.mode=fail")
    grown = here(*bench, "--vocoders", "griffin-lim,echo", "--repeats", "0", "--json", *changed)
    assert json.loads(grown.stdout) == {"folder": "b", "cells": 28, "computed": 8, "failed": 8}
    assert before[0].items() <= cells(work / "b").items()
    failed = {row["error"] for row in rows(work / "b") if row["error"]}
    assert failed == {"vocoder 'echo' of echo 1.0 failed: ValueError: no such luck."}

    # Compared with itself nothing has changed; from Griffin-Lim's good options to worse ones, it has.
    (work / "b" / "results.json").rename(work / "old.json")
    assert here("bench", "compare", "old.json", "old.json").stdout == "nothing changed beyond the noise\n"
    worse = here(*bench, "--vocoders", "griffin-lim", "--repeats", "0", "--stages", "true-mel", "-o", "c", "-q",
                 "--set", "vocoder_options.griffin-lim.score_informed=false",
                 "--set", "vocoder_options.griffin-lim.blind_iterations=0")  # fmt: skip
    assert worse.returncode == 0, worse.stderr
    verdict = here("bench", "compare", "old.json", "c")
    assert verdict.returncode == 1
    assert "worse   true mel > griffin-lim  constant_q" in verdict.stdout
    better = here("bench", "compare", "c", "old.json", "--json")
    found = {c["measure"]: c["verdict"] for c in json.loads(better.stdout)["changes"] if "griffin" in c["system"]}
    assert found["constant_q"] == "better"


@pytest.mark.usefixtures("echo")
def test_a_component_that_crashes_is_a_row_and_the_others_are_not_lost(here: M2M, recordings: Path) -> None:
    done = here("bench", "--data", str(recordings), "--vocoders", "echo,griffin-lim", "--stages", "true-mel", *TINY,
                "--instruments", "trumpet", "--files", "1", "--repeats", "0", "-o", "b",
                "--set", "vocoder_options.echo.mode=crash")  # fmt: skip
    assert done.returncode == 1, done.stderr
    table = rows(Path("b"))
    assert [(row["system"], row["error"]) for row in table] == [
        ("original", ""),
        ("true mel > echo", "true mel > echo failed: its process ended with exit code 3."),
        ("true mel > griffin-lim", ""),
    ]
    assert "echo failed: its process ended" in (Path("b") / "report.html").read_text()


def test_a_killed_sweep_loses_no_finished_cell(recordings: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "m2m", "bench", "--data", str(recordings), "--vocoders", "griffin-lim",
               "--stages", "mu-law,true-mel", "--repeats", "0", "-o", "b", "--json", "--seconds", "1"]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        try:
            deadline = time.monotonic() + 60
            while len(cells(tmp_path / "b")) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            first.kill()
    kept = cells(tmp_path / "b")
    assert 3 <= len(kept) < 12
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ))
    outcome = json.loads(second.stdout)
    assert outcome["cells"] == 12
    assert outcome["computed"] <= 12 - len(kept)
    assert kept.items() <= cells(tmp_path / "b").items()


def test_what_cannot_be_benched_is_one_line(here: M2M, recordings: Path, tmp_path: Path) -> None:
    def fails(*arguments: str) -> str:
        done = here("bench", *arguments, "-o", str(tmp_path / "none"))
        assert done.returncode in (1, 2)
        assert done.stderr.count("\n") <= 4
        assert not (tmp_path / "none").exists()
        return done.stderr.splitlines()[-1]

    (tmp_path / "work" / "bad.toml").write_text("vocoder = ['griffin-lim']\n")
    assert "config: vocoder" in fails("--config", "bad.toml")
    assert "is not a folder" in fails("--data", "nowhere")
    assert "holds no recordings" in fails("--data", str(tmp_path))
    assert "no recording of the instrument 'kazoo'" in fails("--data", str(recordings), "--instruments", "kazoo")
    assert "no recording of the file 'sideways'" in fails("--data", str(recordings), "--files", "sideways")
    assert "there are" in fails("--data", str(recordings), "--files", "sideways")
    assert "holds no model" in fails("--data", str(recordings), "--models", str(recordings))
    assert "config: stages.0" in fails("--stages", "middle")


def test_the_evaluation_extra_is_asked_for_in_one_line(
    here: M2M, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    done = here("bench", "--data", str(recordings), "--repeats", "0")
    assert done.returncode == 1
    assert done.stderr == "m2m: error: m2m bench needs pyloudnorm: pip install 'm2m[eval]'.\n"


def test_a_config_file_says_what_flags_say(here: M2M, recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "work" / "bench.toml").write_text(
        f'data = "{recordings}"\nvocoders = ["griffin-lim"]\nstages = ["mu-law"]\nfiles = 1\nrepeats = 0\nseconds = 1\n'
    )
    done = here("bench", "--config", "bench.toml", "--instruments", "trumpet", "--json", "-o", "b")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"folder": "b", "cells": 2, "computed": 2, "failed": 0}
    quick = here("bench", "--config", "bench.toml", "--instruments", "trumpet", "--quick", "--json", "-o", "b")
    assert json.loads(quick.stdout)["computed"] == 0  # the file goes over --quick, which has other seconds
    assert json.loads(Path("b/bench.json").read_text())["instruments"] == ["trumpet"]


TRANSCRIBER = """
from m2m.core.score import note_array
from m2m.core.transcriber import Transcriber

class Encoder(Transcriber):
    def transcribe(self, wave, sample_rate):
        return note_array([(0.05, 0.3, 60, 90), (0.35, 0.6, 64, 90)])  # two of the three that are played
"""


def test_a_registered_transcriber_scores_notes(
    here: M2M, recordings: Path, install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("two-notes", TRANSCRIBER, group="m2m.transcribers")
    chosen = ("--files", "up", "--instruments", "trumpet", "--stages", "mu-law", "--repeats", "0", "--seconds", "1")
    here("bench", "--data", str(recordings), *chosen, "-o", "b")
    assert {row["note_f1"] for row in rows(Path("b"))} == {"0.8"}
    assert "transcriber  two-notes" in here("plugins", "list", "--kind", "transcriber").stdout
