"""The command itself, and what is installed: `m2m plugins`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import HANGS, M2M
from distributions import Install

from m2m import __version__

HEAVY = ("torch", "numpy", "pretty_midi", "rich", "pydantic", "stevedore", "soundfile", "scipy")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["plugins", "list"], ["plugins", "list", "--json"]])
def test_light_commands_are_light(m2m: M2M, arguments: list[str]) -> None:
    code = (
        "import sys, m2m.cli\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "try: m2m.cli.main()\n"
        f"finally: print('loaded:', *(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=HANGS)
    assert ran.returncode == 0
    assert ran.stderr.splitlines()[-1] == "loaded:"


def test_list_with_fifty_plugins(m2m: M2M, install: Install) -> None:
    for n in range(50):
        install(f"many-{n}", "raise RuntimeError" if n % 5 == 0 else "pass")
    assert m2m("plugins", "list").stdout.count("A made-up plugin") == 50


def test_list(m2m: M2M, install: Install) -> None:
    install("broken-one", "raise SystemExit(7)")
    install("first", entries="shared = first:Encoder")
    install("second", entries="shared = second:Encoder")
    ran = m2m("plugins", "list")
    assert ran.returncode == 0
    lines = ran.stdout.splitlines()
    assert lines[0].split() == ["KIND", "NAME", "STATUS", "PACKAGE", "SUMMARY"]
    assert any(line.split()[:5] == ["encoder", "broken-one", "ok", "broken-one", "1.0"] for line in lines)
    assert sum("shared" in line for line in lines) == 1
    assert next(line for line in lines if "shared" in line).split()[2] == "conflict"
    found = json.loads(m2m("plugins", "list", "--kind", "encoder", "--json").stdout)
    assert {c["kind"] for c in found} == {"encoder"}
    assert next(c for c in found if c["name"] == "broken-one")["version"] == "1.0"


def test_quiet_stands_anywhere(m2m: M2M) -> None:
    assert "* is the default" in m2m("plugins", "list").stderr
    for arguments in (["-q", "plugins", "list"], ["plugins", "list", "-q"]):
        assert m2m(*arguments).stderr == ""


def test_info(m2m: M2M, install: Install) -> None:
    install("with-options")
    ran = m2m("plugins", "info", "with-options")
    assert ran.returncode == 0
    assert "encoder 'with-options' of with-options 1.0: A made-up plugin" in ran.stdout
    assert "width  int         = 3     numbers a frame" in ran.stdout
    about = json.loads(m2m("plugins", "info", "with-options", "--json").stdout)
    assert about["api_version"] == 1
    assert about["options"][0] == {
        "name": "width", "type": "int", "default": 3, "required": False, "description": "numbers a frame",
    }  # fmt: skip


@pytest.mark.parametrize(
    "code",
    ["raise ValueError('no')", "raise AssertionError('no')", "raise SystemExit('no')", "import os; print('no'); 1/0"],
)
def test_a_hostile_plugin_costs_one_line(m2m: M2M, install: Install, code: str) -> None:
    install("hostile", code, version="6.6")
    ran = m2m("plugins", "info", "hostile")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[-1].startswith("m2m: error: encoder 'hostile' of hostile 6.6 cannot be imported: ")
    assert "Traceback" not in ran.stderr
    debug = m2m("plugins", "info", "hostile", M2M_DEBUG="1")
    assert "Traceback" in debug.stderr
    assert debug.returncode == 1


def test_two_kinds_of_one_name(m2m: M2M, install: Install) -> None:
    install("twice", entries="twice = twice:Encoder\n[m2m.vocoders]\ntwice = twice:Vocoder")
    ran = m2m("plugins", "info", "twice")
    assert ran.returncode == 1
    assert "several kinds: encoder, vocoder" in ran.stderr
    assert m2m("plugins", "info", "twice", "--kind", "encoder").returncode == 0


def test_user_file(m2m: M2M, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[defaults]\nconditioner = 'concat'\n[encoders.onsets-frames]\ndisabled = true\n")
    out = m2m("--plugins", str(file), "plugins", "list").stdout
    assert "concat*" in out
    assert next(line for line in out.splitlines() if " onsets-frames " in line).split()[2] == "disabled"
    file.write_text("[vocoders.x]\nclass = 'os:abort'\n")
    ran = m2m("plugins", "list", M2M_PLUGINS=str(file))
    assert ran.returncode == 1
    assert "would name code" in ran.stderr
    assert m2m("--plugins", "nowhere.toml", "plugins", "list").returncode == 2


def test_a_strangers_folder_runs_nothing(m2m: M2M, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.joinpath("evil.py").write_text("open('ran', 'w')")
    work.joinpath("plugins.toml").write_text(
        "built-in = true\n[defaults]\nencoder = 'evil'\n[encoders.evil]\nclass = 'evil:E'\n"
    )
    ran = m2m("plugins", "list")
    assert ran.returncode == 0
    assert "evil" not in ran.stdout
    assert m2m("plugins", "info", "evil").returncode == 1
    assert not work.joinpath("ran").exists()


def test_usage(m2m: M2M) -> None:
    assert m2m("--version").stdout == f"m2m {__version__}\n"
    for arguments in (["plugins", "list", "--kind", "stage"], ["no-such-command"], ["plugins", "info"]):
        ran = m2m(*arguments)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "Traceback" not in ran.stderr
    near = m2m("plugins", "info", "griffinlim")
    assert near.returncode == 1
    assert near.stderr.startswith("m2m: error: ")
    assert "did you mean griffin-lim" in near.stderr


def test_a_bug_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from m2m import cli
    from m2m.core.plugins import registry

    monkeypatch.setattr(registry, "components", lambda kind=None: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["m2m", "plugins", "list"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "m2m: error: ZeroDivisionError: division by zero (this is a bug in m2m, M2M_DEBUG=1 shows where)\n"


def test_a_pipe_closed_early(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-m", "m2m", "plugins", "list"], stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, text=True
    )
    os.close(writer)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr


def test_interrupt(install: Install, tmp_path: Path) -> None:
    install("sleepy", "import sys, time\nprint('asleep', file=sys.stderr, flush=True)\ntime.sleep(600)")
    command = [sys.executable, "-m", "m2m", "plugins", "info", "sleepy"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path, text=True) as process:
        assert process.stderr
        assert process.stderr.readline() == "asleep\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=HANGS) == 130
        assert "Traceback" not in process.stderr.read()
