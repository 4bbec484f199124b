"""Calls a plugin's code in a process of its own, which may hang or crash without harm to this one.

The process is given one item after another as a line of JSON and answers each with a line of JSON. Where no answer comes in time
it is killed, with all that it has started, and the next item gets a new process.

core/system/workers.py is for m2m's own work. A plugin's code is not trusted to end: each process is a session of its own, so
that all that it starts can be killed; its output is discarded; its answers are JSON, not pickles; and an item's time does not
count the start of its process.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from m2m.core.errors import explain

START_SECONDS = 120.0  # for Python to start and m2m to be imported, beyond an item's limit


@dataclass(frozen=True)
class Lost:
    """In the place of an answer: what happened, as a phrase that follows the name of the component at fault."""

    text: str
    seconds: float


def each(function: str, items: Iterable[Any], limit: float) -> Iterator[Any]:
    """The answers of a function of m2m's ("module:name", JSON in and out) to items, one by one, in their order.

    limit: seconds for an item; an item that hangs, ends the process or raises is answered with `Lost`.
    """
    worker: _IsolatedProcess | None = None
    try:
        for item in items:
            worker = worker or _IsolatedProcess(function)
            answer = worker.ask(item, limit)
            if isinstance(answer, Lost):
                worker.end()
                worker = None
            yield answer
    finally:
        if worker:
            worker.end()


class _IsolatedProcess:
    def __init__(self, function: str) -> None:
        code = f"from m2m.core.plugins.isolation import serve; serve({function!r})"
        debug = os.environ.get("M2M_DEBUG", "0") not in ("", "0")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],  # -P: the working directory is not searched for modules
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if debug else subprocess.DEVNULL,
            start_new_session=True,  # so that what a plugin starts can be ended with it
        )
        self.lines: queue.Queue[bytes] = queue.Queue()
        self.started = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def ask(self, item: Any, limit: float) -> Any:
        assert self.process.stdin
        if not self.started:
            if self._answer(START_SECONDS) is None:
                return Lost("could not be tried: no process could be started for it", 0.0)
            self.started = True
        began = time.monotonic()
        with suppress(OSError):  # it has ended already: no answer will come
            self.process.stdin.write(json.dumps(item).encode() + b"\n")
            self.process.stdin.flush()
        answer = self._answer(limit)
        seconds = round(time.monotonic() - began, 3)
        if answer is None:
            if self.process.poll() is None and seconds >= limit:
                return Lost(f"did not finish within {limit:g} s", seconds)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
            code = self.process.returncode
            how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
            return Lost(f"ended the whole process ({how})", seconds)
        if "error" in answer:
            return Lost(f"failed: {answer['error']}", seconds)
        return answer["answer"]

    def _answer(self, limit: float) -> dict[str, Any] | None:
        try:
            line = self.lines.get(timeout=limit)
            return json.loads(line) if line else None
        except (queue.Empty, ValueError):
            return None

    def end(self) -> None:
        with suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        assert self.process.stdin
        assert self.process.stdout
        self.reader.join(1)  # it ends with the process, unless one that has left the session keeps the pipe open
        if not self.reader.is_alive():
            self.process.stdout.close()
        with suppress(OSError):
            self.process.stdin.close()


def serve(function: str) -> None:
    """Answer items until standard input ends: what the process of `each` runs."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a plugin prints, in any way, is no answer
    items = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    module, _, name = function.partition(":")
    call = getattr(import_module(module), name)
    answers.write(b"{}\n")
    for line in items:
        try:
            said: dict[str, Any] = {"answer": call(json.loads(line))}
        except Exception as error:
            said = {"error": explain(error)}
        answers.write(json.dumps(said, default=str).encode() + b"\n")
    os._exit(0)  # not waiting for threads that a plugin has left
