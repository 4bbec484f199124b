"""`m2m serve`, in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from command_line import HANGS, M2M

pytest.importorskip("fastapi", reason="m2m[web] is not installed")


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    # A small model: the default's map takes several times as long.
    command = [sys.executable, "-m", "m2m", "serve", "--port", "0", "--model", "mel2mel-film", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_tells_its_address_serves_and_ends(tmp_path: Path) -> None:
    with start(tmp_path) as server:
        assert server.stdout
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}api/about") as answer:
            assert b'"m2m"' in answer.read()
        server.send_signal(signal.SIGINT)
        rest, said = server.communicate(timeout=HANGS)
    assert (server.returncode, rest, said.strip()) == (130, "", "")
    assert list(tmp_path.iterdir()) == []  # nothing is written


def test_another_address_has_a_token(tmp_path: Path) -> None:
    with start(tmp_path, "--host", "0.0.0.0") as server:
        assert server.stdout
        address = server.stdout.readline().strip()
        server.terminate()
        server.communicate(timeout=HANGS)
    assert len(address.partition("/?token=")[2]) > 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--limit", "jobs=0"], "--limit: option 'jobs'"),
        (["--limit", "jbos=3"], "there is no option 'jbos'"),
        (["--model", "nowhere"], "there is no model 'nowhere'"),
        (["--device", "warp"], "there is no device 'warp'"),
        (["--host", "no.such.host.invalid"], "cannot serve at no.such.host.invalid"),
    ],
)
def test_what_is_wrong_is_one_line(here: M2M, arguments: list[str], words: str) -> None:
    done = here("serve", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_taken_port_is_one_line(here: M2M) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = here("serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "choose another --port or --host" in done.stderr


def test_without_the_extra_it_says_what_to_install(m2m: M2M, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "fastapi.py").write_text("raise ModuleNotFoundError('no fastapi', name='fastapi')")
    done = m2m("serve", PYTHONPATH=os.pathsep.join([str(tmp_path / "bare"), os.environ.get("PYTHONPATH", "")]))
    assert done.returncode == 1
    assert done.stderr == "m2m: error: 'm2m serve' needs fastapi: pip install 'm2m[web]'.\n"
