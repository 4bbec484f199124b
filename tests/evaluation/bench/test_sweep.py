"""Whole benches through the command, at tiny sizes; SIGKILL, crashes and failures among them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from command_line import HANGS, M2M
from distributions import write_distribution
from forks import Forks
from once import made_once

from m2m.evaluation.bench import sweep

pytest.importorskip("mir_eval")
pytest.importorskip("pyloudnorm")
TINY = ("--seconds", "1", "--set", "vocoder_options.griffin-lim.iterations=1")
LINKS = ("http://www.w3.org/", "http://purl.org/", "http://creativecommons.org/")  # names of formats


def cells(folder: Path) -> dict[str, int]:
    """Each finished cell, and when it was written."""
    return {path.stem: path.stat().st_mtime_ns for path in (folder / "cells").glob("[!.]*.json")}  # no half-written one


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "table.csv").read_text().splitlines()))


@dataclass(frozen=True)
class Finished:
    """A bench that has run. command: its arguments but for vocoders and repeats. done: how it ended."""

    folder: Path
    command: tuple[str, ...]
    done: subprocess.CompletedProcess[str]

    @cached_property
    def results(self) -> dict[str, Any]:
        results: dict[str, Any] = json.loads((self.folder / "results.json").read_text())
        return results

    @cached_property
    def systems(self) -> dict[str, dict[str, Any]]:
        return {system["system"]: system for system in self.results["systems"]}

    def measured(self, name: str) -> dict[str, float]:
        return {system: row["measures"][name] for system, row in self.systems.items() if name in row["measures"]}

    def copy(self) -> Path:
        """The bench in the folder that the command runs in, to be continued there."""
        return Path(shutil.copytree(self.folder, "b"))


ALL = ("--vocoders", "griffin-lim,echo,nobody", "--repeats", "2")


@pytest.fixture(scope="module")
def finished(recordings: Path, echo_code: str, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A bench of four recordings: two vocoders, one that is not installed, and film. Not to be written to."""
    command = ("bench", "--data", str(recordings), "--conditioners", "film", *TINY, "-o", "b")

    def run(work: Path) -> None:
        (work / "site").mkdir()
        write_distribution(work / "site", "echo", echo_code, group="m2m.vocoders")
        arguments, env = (*command, *ALL, "--json", "-j", "2"), os.environ | {"PYTHONPATH": str(work / "site")}
        done = forks.run("-m", "m2m", *arguments, cwd=work, env=env, timeout=2 * HANGS)
        (work / "done.json").write_text(json.dumps([done.returncode, done.stdout, done.stderr]))

    work = made_once(tmp_path_factory, "finished", run)
    done = subprocess.CompletedProcess(command, *json.loads((work / "done.json").read_text()))
    return Finished(work / "b", command, done)


def test_a_bench_computes_every_system_on_every_recording(finished: Finished) -> None:
    assert finished.done.returncode == 1, finished.done.stderr  # nobody has failed
    # original, µ-law, three vocoders from the true mel and from film's, film's mel: on four recordings
    assert json.loads(finished.done.stdout) == {"folder": "b", "cells": 36, "computed": 36, "failed": 8, "skipped": 0}


def test_its_figures_rank_what_is_known_to_be_better(finished: Finished) -> None:
    correlation, frechet = finished.measured("constant_q"), finished.measured("frechet")
    assert correlation["original"] == pytest.approx(1)
    assert correlation["original"] > correlation["mu-law"] > 0.6
    assert correlation["original"] > correlation["true mel > griffin-lim"] > 0.6
    assert correlation["true mel > griffin-lim"] > correlation["true mel > echo"] + 0.2
    assert correlation["true mel > griffin-lim"] > correlation["film > griffin-lim"]
    assert finished.measured("log_mel")["film mel"] > 0
    assert frechet["true mel > griffin-lim"] < frechet["true mel > echo"]


def test_a_vocoder_that_is_not_installed_is_a_row_that_says_so(finished: Finished) -> None:
    assert finished.systems["true mel > nobody"]["failed"] == 4
    assert "no vocoder 'nobody' is installed" in finished.systems["true mel > nobody"]["error"]


def test_every_part_is_timed_in_a_process_of_its_own(finished: Finished) -> None:
    """Its memory and its machine are named."""
    speed = {row["part"]: row for row in finished.results["speed"]}
    assert set(speed) == {"griffin-lim", "echo", "nobody", "film mel"}
    assert len(speed["griffin-lim"]["real_time_factors"]) == 2
    assert all(factor > 0 for factor in speed["film mel"]["real_time_factors"])
    assert speed["echo"]["memory_mb"] > 50
    assert "processors" in speed["echo"]["machine"]
    assert "no vocoder" in speed["nobody"]["error"]


def test_the_table_is_tidy_and_the_page_holds_every_sound(finished: Finished) -> None:
    table = rows(finished.folder)
    assert len(table) == 36
    assert {row["file"] for row in table} == {"up", "down"}
    assert all((finished.folder / row["audio"]).is_file() for row in table if row["audio"])
    assert sum(bool(row["audio"]) for row in table) == 24
    page = (finished.folder / "report.html").read_text()
    assert page.count("data:audio/") == 24
    for link in LINKS:
        page = page.replace(link, "")
    assert "http://" not in page
    assert "| film > griffin-lim |" in (finished.folder / "summary.md").read_text()


@pytest.mark.usefixtures("echo", "here")
def test_a_finished_bench_is_found_so_without_torch(finished: Finished) -> None:
    """Nothing is computed and nothing is written."""
    folder = finished.copy()
    before = cells(folder), (folder / "report.html").stat().st_mtime_ns
    code = "import sys, m2m.cli; sys.argv[0] = 'm2m'\ntry: m2m.cli.main()\nfinally: sys.exit('torch' in sys.modules)"
    began = sum(os.times()[2:4])  # processor time of children, which a busy machine does not stretch
    again = [sys.executable, "-c", code, *finished.command, *ALL, "-q"]
    done = subprocess.run(again, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(os.times()[2:4]) - began < 3
    assert (cells(folder), (folder / "report.html").stat().st_mtime_ns) == before


@pytest.mark.usefixtures("echo")
def test_another_option_of_one_vocoder_computes_its_cells_alone(finished: Finished, here: M2M) -> None:
    folder = finished.copy()
    before = cells(folder)
    changed = ("--set", "vocoder_options.echo.mode=fail")
    grown = here(*finished.command, "--vocoders", "griffin-lim,echo", "--repeats", "0", "--json", *changed)
    assert json.loads(grown.stdout) == {"folder": "b", "cells": 28, "computed": 8, "failed": 8, "skipped": 0}
    assert before.items() <= cells(folder).items()  # the others' files are not touched
    failed = {row["error"] for row in rows(folder) if row["error"]}
    where = "(echo.py, line 15; M2M_DEBUG=1 shows more)"
    assert failed == {f"vocoder 'echo' of echo 1.0 failed: ValueError: no such luck {where}."}


@pytest.mark.usefixtures("echo")
def test_a_measure_that_is_new_is_computed_of_the_cells_that_lack_it(finished: Finished, here: M2M) -> None:
    """They were made before it was there. A measure without a number is not lacking, nor is any of 0.1 in a cell of 0.1."""
    folder = finished.copy()
    audio = [row["id"] for row in finished.results["cells"] if row["stage"] == "mu-law"]
    lacking, of_0_1 = (folder / "cells" / f"{id}.json" for id in audio[:2])
    for path in (lacking, of_0_1):
        row = json.loads(path.read_text())
        assert row["undefined"] == ["note_f1", "note_offset_f1", "note_velocity_f1"]  # there is no transcriber
        del row["measures"]["clicks"]
        if path == of_0_1:
            del row["undefined"]
        path.write_text(json.dumps(row))
    before = cells(folder)
    done = here(*finished.command, *ALL, "--json")
    assert json.loads(done.stdout) == {"folder": "b", "cells": 36, "computed": 1, "failed": 8, "skipped": 0}
    assert "clicks" in json.loads(lacking.read_text())["measures"]
    del before[lacking.stem]
    assert before.items() <= cells(folder).items()


@pytest.mark.usefixtures("echo")
def test_reports_have_the_measures_of_the_table(finished: Finished, here: M2M) -> None:
    folder = finished.copy()
    old = json.loads((folder / "results.json").read_text())
    del old["measures"]["frechet"]  # of a set of recordings: no cell has it
    (folder / "results.json").write_text(json.dumps(old))
    assert json.loads(here(*finished.command, *ALL, "--json").stdout)["computed"] == 0
    assert json.loads((folder / "results.json").read_text()) == finished.results


def test_benches_are_compared(finished: Finished, here: M2M) -> None:
    """With itself nothing has changed; from Griffin-Lim's good options to worse ones, it has."""
    shutil.copy(finished.folder / "results.json", "old.json")
    assert here("bench", "compare", "old.json", "old.json").stdout == "nothing changed beyond the noise\n"
    worse = here(*finished.command, "--vocoders", "griffin-lim", "--repeats", "0", "--stages", "true-mel", "-o", "c",
                 "-q", "--set", "vocoder_options.griffin-lim.score_informed=false",
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


@pytest.mark.usefixtures("echo")
def test_a_killed_sweep_loses_no_finished_cell(here: M2M, recordings: Path, tmp_path: Path) -> None:
    """It is killed while a vocoder waits, as long as a file is there, so that no cell more can be finished."""
    waits = tmp_path / "waits"
    waits.touch()
    command = ("bench", "--data", str(recordings), "--vocoders", "griffin-lim,echo", "--stages", "mu-law,true-mel",
               "--repeats", "0", "-o", "b", "--json", "--seconds", "1",
               "--set", f"vocoder_options.echo.mode={waits}")  # fmt: skip
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-m", "m2m", *command], **quiet) as first:
        try:
            deadline = time.monotonic() + HANGS
            while len(cells(Path("b"))) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            first.kill()
            os.killpg(first.pid, signal.SIGKILL)
    kept = cells(Path("b"))
    assert len(kept) == 3  # original, µ-law and Griffin-Lim on the first recording
    waits.unlink()
    outcome = json.loads(here(*command).stdout)
    assert outcome == {"folder": "b", "cells": 16, "computed": 13, "failed": 0, "skipped": 0}
    assert kept.items() <= cells(Path("b")).items()


def test_two_processes_compute_every_cell_twice_without_numba(finished: Finished, forks: Forks, tmp_path: Path) -> None:
    """numba's cache on disk is damaged by two writers (evaluation/measures/constant_q.py): it is not even imported."""
    for name in ("numba", "librosa"):
        (tmp_path / "absent" / f"{name}.py").parent.mkdir(exist_ok=True)
        (tmp_path / "absent" / f"{name}.py").write_text("raise ImportError(__name__)")
    command = (*finished.command, "--vocoders", "griffin-lim", "-j", "2", "--repeats", "0", "--json")
    env = os.environ | {"PYTHONPATH": str(tmp_path / "absent")}
    done = forks.run("-m", "m2m", *command, cwd=tmp_path, env=env, timeout=2 * HANGS)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"folder": "b", "cells": 20, "computed": 20, "failed": 0, "skipped": 0}
    again, timed = rows(tmp_path / "b"), "processor_seconds"
    first = [row for row in rows(finished.folder) if row["vocoder"] in ("", "griffin-lim")]
    assert all(row["onset_f1"] and row["constant_q"] for row in first if row["audio"])
    assert [row | {timed: ""} for row in first] == [row | {timed: ""} for row in again]


def test_what_cannot_run_here_is_skipped_with_its_reason(
    here: M2M, recordings: Path, install: Callable[..., Path]
) -> None:
    """Also without a terminal the stages are told."""
    install("elsewhere", "import no_such_library", group="m2m.vocoders")
    done = here("bench", "--data", str(recordings), "--vocoders", "elsewhere", "--stages", "true-mel", "--files", "1",
                "--seconds", "1", "--repeats", "1", "-o", "b")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[:2] == ["timing 1 components and models, one after another", "computing 4 cells, 1 at once"]
    assert lines[-1] == "4 cells, 4 computed now, 0 failed, 2 skipped: b/report.html"
    assert "Skipped, since they cannot run here:\n\n- true mel > elsewhere: vocoder 'elsewhere'" in done.stdout
    assert "ModuleNotFoundError: No module named 'no_such_library'" in done.stdout
    assert "Failures" not in done.stdout


ODD: dict[str, tuple[np.ndarray, int, str]] = {  # by instrument, as the files are named
    "trumpet": (np.full(16_000, np.nan, np.float32), 16_000, "holds NaN or infinite samples"),
    "clarinet": (np.zeros(8_000, np.float32), 8_000, "is at 8,000 Hz, at least 8,244 Hz is wanted"),
    "oboe": (np.zeros(0, np.float32), 16_000, "holds no samples"),
    "tuba": (np.full(100, 0.1, np.float32), 16_000, "the recording of up on tuba is shorter than a frame"),
}


@pytest.fixture(scope="module")
def odd(recordings: Path, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench of recordings of which none can be measured."""
    work = tmp_path_factory.mktemp("odd")
    (work / "odd").mkdir()
    shutil.copy(recordings / "up.mid", work / "odd")
    for instrument, (wave, rate, _) in ODD.items():
        soundfile.write(work / "odd" / f"up--{instrument}.wav", wave, rate, subtype="FLOAT")
    command = (
        "bench",
        "--data",
        "odd",
        "--vocoders",
        "griffin-lim",
        "--stages",
        "true-mel",
        "--repeats",
        "0",
        "-o",
        "b",
    )
    done = forks.run("-m", "m2m", *command, cwd=work, timeout=HANGS)
    assert done.returncode == 1, done.stderr
    return work / "b"


@pytest.mark.parametrize("instrument", ODD)
def test_a_recording_that_cannot_be_measured_is_named(odd: Path, instrument: str) -> None:
    errors = {row["error"] for row in rows(odd) if row["instrument"] == instrument}
    assert len(errors) == 1
    assert ODD[instrument][2] in errors.pop()


def test_an_interrupt_says_how_to_go_on(here: M2M, recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "work_off", interrupt)
    done = here("bench", "--data", str(recordings), "--vocoders", "griffin-lim", "--repeats", "0", "-o", "b")
    assert done.returncode == 130
    assert "stopped; what is finished is kept in b, and the same command goes on from there." in done.stderr


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
    assert json.loads(done.stdout) == {"folder": "b", "cells": 2, "computed": 2, "failed": 0, "skipped": 0}
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


def test_a_registered_transcriber_scores_notes(here: M2M, recordings: Path, install: Callable[..., Path]) -> None:
    install("two-notes", TRANSCRIBER, group="m2m.transcribers")
    chosen = ("--files", "up", "--instruments", "trumpet", "--stages", "mu-law", "--repeats", "0", "--seconds", "1")
    here("bench", "--data", str(recordings), *chosen, "-o", "a")
    assert {row["note_f1"] for row in rows(Path("a"))} == {""}  # it was not asked for
    here("bench", "--data", str(recordings), *chosen, "--transcriber", "two-notes", "-o", "b")
    assert {row["note_f1"] for row in rows(Path("b"))} == {"0.8"}
    assert all(0 <= float(row["note_velocity_f1"]) <= float(row["note_offset_f1"]) <= 0.8 for row in rows(Path("b")))
    assert "transcriber  two-notes" in here("plugins", "list", "--kind", "transcriber").stdout
