"""Machines unlike the developer's: other locales, names that are no UTF-8, no standard streams, no home to write to."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from command_line import HANGS, IN_TURN, M2M, in_turn
from datasets import SOUNDFONT, needs_fluidsynth, write_midi

import m2m

Run = Callable[..., "list[subprocess.CompletedProcess[bytes]]"]
ODD = os.fsdecode(b"caf\xe9 \xff")  # Latin-1, and a byte that is in no encoding
# Python's own remedies, which take a C locale for UTF-8, are switched off: other locales have none.
LOCALES = {
    "C": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin-1": {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"},
    "UTF-8": {"LC_ALL": "C.UTF-8"},
}
QUICK = Path(m2m.__file__).parent / "evaluation" / "quick"  # the recordings that ship
BENCH = ("bench", "--vocoders", "griffin-lim", "--stages", "true-mel", "--files", "1", "--seconds", "1", "--repeats", "1",
         "--set", "speed_seconds=1")  # fmt: skip
FILM = ("--conditioner", "film")  # which is read and rendered in half the time of the default model


@pytest.fixture(params=LOCALES)
def locale(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a locale, if the system has it."""
    variables: dict[str, str] = LOCALES[request.param]
    code = "import locale; locale.setlocale(locale.LC_ALL, '')"
    if subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True).returncode:
        pytest.skip(f"the system has no locale {variables['LC_ALL']}")
    return variables


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run commands in turn in an empty folder; environment variables are added, or removed where they are None."""

    def run(*commands: Sequence[str | Path], **environment: str | None) -> list[subprocess.CompletedProcess[bytes]]:
        variables = {name: value for name, value in (os.environ | environment).items() if value is not None}
        return in_turn([sys.executable, "-c", IN_TURN], commands, tmp_path, variables)

    return run


def test_text_files_name_their_encoding() -> None:
    """Files of text are UTF-8 whatever the locale: no call that opens one leaves its encoding to the locale."""
    root, left_open = Path(m2m.__file__).parent, []
    for path in sorted(root.rglob("*.py")):
        room = path.relative_to(root).parts[0]
        if room in ("tests", "benches", "docs", "examples", "build"):
            continue
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            called = ast.unparse(call.func)
            binary = any(isinstance(a, ast.Constant) and "b" in str(a.value) for a in call.args[:2])
            opens = called.endswith((".read_text", ".write_text")) or (re.search(r"(^|\.)open$", called) and not binary)
            known = called in ("os.open", "distribution.read_text", "archive.open")
            if opens and not known and not any(keyword.arg == "encoding" for keyword in call.keywords):
                left_open.append(f"{path.relative_to(root)}:{call.lineno}: {called}")
    assert left_open == []


def test_a_bench_is_written_and_read_in_any_locale(run: Run, tmp_path: Path, locale: dict[str, str]) -> None:
    pytest.importorskip("mir_eval", reason="m2m[eval] is not installed")
    (tmp_path / ODD).mkdir()
    for name in ("study.mid", "study--trumpet.flac"):
        shutil.copy(QUICK / name, tmp_path / ODD / name.replace("study", ODD))
    bench = (*BENCH, "--data", ODD, "-o", f"out-{ODD}")
    mos = ("mos", "make", f"out-{ODD}", "--recordings", "1", "--seconds", "1", "-o", f"mos-{ODD}")
    compare = ("bench", "compare", f"out-{ODD}", f"out-{ODD}")
    done, again, made, compared = run(bench, (*bench, "--json"), mos, compare, **locale)
    assert done.returncode == 0, done.stderr
    assert b"Fr" in done.stdout
    out = tmp_path / f"out-{ODD}"
    summary = (out / "summary.md").read_text(encoding="utf-8")
    assert "Fréchet" in summary
    assert (out / "report.html").read_text(encoding="utf-8").endswith("</html>\n")
    assert json.loads(again.stdout)["computed"] == 0
    assert made.returncode == 0, made.stderr
    assert compared.returncode == 0


def test_names_that_are_no_utf_8_render(run: Run, tmp_path: Path, locale: dict[str, str]) -> None:
    for name in (f"{ODD}.mid", "é.mid"):
        write_midi(tmp_path / name, (60, 64))
    render = ("render", f"{ODD}.mid", "é.mid", "-j", "2", "--stems", "--sidecar", *FILM)
    done, again = run(render, ("rerender", f"{ODD}.wav", "-o", f"again-{ODD}.flac"), **locale)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} >= {f"{ODD}.wav", f"{ODD}.json", "é.wav"}
    assert (again.returncode, again.stdout) == (0, b"the same samples\n"), again.stderr
    assert (tmp_path / f"again-{ODD}.flac").is_file()


@needs_fluidsynth
def test_names_that_are_no_utf_8_become_a_data_set(run: Run, tmp_path: Path, locale: dict[str, str]) -> None:
    for name in (f"{ODD}.mid", "é.mid", "c.mid"):
        write_midi(tmp_path / f"midi-{ODD}" / name, (60, 64, 67, 72))
    build = ("dataset", "build", f"midi-{ODD}", "--soundfont", SOUNDFONT, "-o", f"data-{ODD}", "--programs", "0",
             "--set", "seconds=3")  # fmt: skip
    (tmp_path / f"{ODD}.sf2").symlink_to(SOUNDFONT)
    done, again, odd = run((*build, "-j", "2"), build, (*build[:4], f"{ODD}.sf2", *build[5:]), **locale)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / f"data-{ODD}").glob("*/*.safetensors"))) == 3
    assert again.returncode == 0  # it is found to be whole
    assert odd.returncode == 1
    assert b"is no UTF-8, which FluidSynth wants; rename it" in odd.stderr


def test_names_do_not_reach_the_terminal_raw(m2m: M2M, tmp_path: Path) -> None:
    name = "a\x1b[2J\nb.mid"
    write_midi(tmp_path / "work" / name, (60, 64))
    (tmp_path / "work" / "no\x1b[2J\nscore.mid").write_bytes(b"no score")
    for arguments in (("render", name, *FILM), ("render", "no\x1b[2J\nscore.mid", name, "-y", *FILM), ("rerender", name),
                      ("render", "none\x1b[2J\n.mid"), ("plugins", "list", "--kind", "\x1b[2J"),
                      ("bench", "compare", "\x1b[2J", "\x1b[2J")):  # fmt: skip
        done = m2m(*arguments)
        assert "\x1b" not in done.stderr + done.stdout
        assert "\nb.mid" not in done.stderr


CLOSED = """
import os, sys
for number in (0, 1, 2):
    os.close(number)
os.execv(sys.executable, [sys.executable, "-m", "m2m", *sys.argv[1:]])
"""


def test_it_works_without_standard_streams(tmp_path: Path) -> None:
    """As under pythonw and in frozen programs: what is written gets no library's messages, and nothing fails."""
    for name in ("a.mid", "b.mid"):
        write_midi(tmp_path / name, (60, 64))
    for arguments in (
        ("render", "a.mid", "b.mid", "-j", "2", *FILM),
        ("render", "a.mid", "-o", "c.wav", *FILM),
        ("timbres", *FILM),
    ):
        command = [sys.executable, "-c", CLOSED, *arguments]
        assert subprocess.run(command, cwd=tmp_path, timeout=HANGS).returncode == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "c.wav").read_bytes()
    none = [sys.executable, "-c", CLOSED, "render", "none.mid"]
    assert subprocess.run(none, cwd=tmp_path, timeout=HANGS).returncode == 1


def test_python_users_may_have_no_standard_error(tmp_path: Path) -> None:
    write_midi(tmp_path / "a.mid", (60, 64))
    render = "m2m.render('a.mid', conditioner='film', programs={1: 'trumpet'}).save('a.wav')"
    code = f"import sys; sys.stderr = sys.stdout = None; import m2m; {render}"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=HANGS).returncode == 0


def test_no_home_can_be_written_to(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mir_eval", reason="m2m[eval] is not installed")
    home = {"HOME": "/dev/null/home", "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None, "MPLCONFIGDIR": None}
    write_midi(tmp_path / "a.mid", (60, 64))
    bench = (*BENCH, "--instruments", "trumpet", "-o", "b")
    benched, rendered, doctor = run(bench, ("render", "a.mid"), ["doctor"], **home)
    assert benched.returncode == 0, benched.stderr
    assert rendered.returncode == 0, rendered.stderr
    assert b"Traceback" not in doctor.stderr
