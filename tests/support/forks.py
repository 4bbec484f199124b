"""Python processes that have PyTorch and m2m already: forked from one that has imported them, which takes three seconds.

A fork has its own arguments, working directory, environment and streams, and ends as any Python does, but for freeing its
modules. What it was forked from has done no work, so that there are no threads to lose. Not for tests of start-up and of what is
imported, nor of variables that Python or a library reads as it starts.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

PRELOADED = (
    "torch",
    "scipy.signal",
    "pretty_midi",
    "soundfile",
    "safetensors.torch",
    "stevedore",
    "rich.progress",
    # what a rendering by the components of the models that ship takes
    "m2m.cli",
    "m2m.core.rendering.batch",
    "m2m.encoders.onsets_frames",
    "m2m.conditioners.film",
    "m2m.vocoders.griffin_lim.vocoder",
    "m2m.training.losses.mel",
)


class Forks:
    """Runs Python by forks. python: the interpreter. preloaded: modules, imported before; `environment` is theirs."""

    def __init__(self, python: str | Path, environment: dict[str, str], preloaded: tuple[str, ...] = PRELOADED) -> None:
        self.command = [python, Path(__file__), *preloaded]
        self.environment = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
        self.parent: subprocess.Popen[bytes] | None = None

    def run(
        self, *arguments: str | Path, cwd: Path, timeout: float, env: Mapping[str, str] = os.environ
    ) -> subprocess.CompletedProcess[str]:
        """Run `python [-W ACTION] -m MODULE ...` or `-c CODE ...` as subprocess.run does, its output captured as text."""
        if self.parent is None:
            self.parent = subprocess.Popen(
                self.command, env=self.environment, stdin=-1, stdout=-1, start_new_session=True
            )
        assert self.parent.stdin
        assert self.parent.stdout
        with tempfile.TemporaryDirectory() as folder:
            streams = [Path(folder, "out"), Path(folder, "err")]
            request = [list(map(str, arguments)), str(cwd), dict(env), list(map(str, streams))]
            self.parent.stdin.write(json.dumps(request).encode() + b"\n")
            self.parent.stdin.flush()
            if not select.select([self.parent.stdout], [], [], timeout)[0]:
                self.close()
                raise subprocess.TimeoutExpired(list(map(str, arguments)), timeout)
            code = int(self.parent.stdout.readline())
            out, err = (path.read_text() for path in streams)
        return subprocess.CompletedProcess(arguments, code, out, err)

    def close(self) -> None:
        """End it, with all that it has forked; the next run starts it anew."""
        if self.parent is not None:
            os.killpg(self.parent.pid, signal.SIGKILL)
            self.parent.communicate()
            self.parent = None


def _serve() -> tuple[list[str], str, dict[str, str], list[str]]:
    """Fork for each request and tell the exit code; returns, in the fork, what it is to run."""
    for line in sys.stdin.buffer:
        pid = os.fork()
        if not pid:
            request: tuple[list[str], str, dict[str, str], list[str]] = json.loads(line)
            return request
        _, status = os.waitpid(pid, 0)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(status))
    sys.exit()


def _become(arguments: list[str], cwd: str, environment: dict[str, str], streams: list[str]) -> None:
    """Be the Python that was asked for."""
    for number, path in enumerate((os.devnull, *streams)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    while arguments[0] == "-W":
        sys.warnoptions.append(arguments[1])
        warnings.simplefilter(arguments[1])  # type: ignore[arg-type]  # Python knows which there are
        arguments = arguments[2:]
    mode, what, *rest = arguments
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[0:1] = [cwd if mode == "-m" else "", *paths]
    sys.argv = [mode, *rest]
    if mode == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(what, main.__dict__)


def _leave(codes: list[int]) -> None:
    """End with the code, if there is one: what this has of its parent's memory would be copied to be freed, which takes 0.4 s."""
    if codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(codes[0])


if __name__ == "__main__":
    ended: list[int] = []
    atexit.register(_leave, ended)  # registered first, it is called last
    for name in sys.argv[1:]:
        import_module(name)
    gc.freeze()  # a fork's end does not search what it was born with for cycles
    try:
        _become(*_serve())
        ended.append(0)
    except SystemExit as stop:
        ended.append(stop.code if isinstance(stop.code, int) else int(stop.code is not None))
        raise
    except Exception:
        ended.append(1)
        raise
