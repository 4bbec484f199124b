"""How the explorer's server bears up: time to the first sound, to a mel, and twenty clients at once.

    python benches/serve.py              # starts `m2m serve` itself; close other programs first

First sound: from the request for a rendering of 30 s to the first sample of its stream. Mel: from the request for 10 s of score
at a new point to its last byte. Both are medians, in seconds: by the clock, and of the server's processor time, which other
programs on the machine disturb less. The clients each ask for 30 s of their own at once; every one must be served or refused
with a reason. Memory is the server's peak.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import click
from shared import conditions
from speed import piece

HEADER = 58  # bytes before the first sample of a stream


def ask(address: str, body: object = None, client: str = "bench", accept: str = "application/json") -> Any:
    """An open answer to a request."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = {"Cookie": f"m2m-client={client}", "Content-Type": "application/json", "Accept": accept}
    return urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=300)


def first_sound(base: str, server: int, job: dict[str, object], client: str = "bench") -> tuple[float, float, bool]:
    """Seconds and the server's processor seconds until the first sample is here; and whether all others came."""
    began = Stopwatch(server)
    made = json.load(ask(f"{base}api/jobs", job, client))
    with ask(f"{base}api/jobs/{made['id']}/stream", client=client) as stream:
        sound = stream.read(HEADER + 4)
        seconds, processor = began.read()
        return seconds, processor, len(stream.read()) + 4 == int.from_bytes(sound[54:58], "little")


class Stopwatch:
    """Time by the clock, and processor time of a process."""

    def __init__(self, process: int) -> None:
        self.process, self.wall, self.processor = process, time.perf_counter(), processor_seconds(process)

    def read(self) -> tuple[float, float]:
        """Seconds of both since then."""
        return time.perf_counter() - self.wall, processor_seconds(self.process) - self.processor


def processor_seconds(process: int) -> float:
    """Processor time that a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(process: int) -> float:
    """The most memory that a process has had, MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def timed(work: Callable[[int], tuple[float, ...]], runs: int) -> str:
    """Medians of what `work` says, by the clock and of processor time, after one run that is not counted."""
    work(99)
    wall, processor = (median(times) for times in list(zip(*map(work, range(runs)), strict=True))[:2])
    return f"{wall:.3f}, {processor:.3f}"


def measure_latency(base: str, server: int, scores: dict[int, str], runs: int) -> dict[str, object]:
    """Time to a mel and to the first sound, of one client."""

    def mel(run: int) -> tuple[float, float]:
        wanted = {"score": scores[10], "timbre": f"map@{run / 10},0.1", "stop": 10.0}
        began = Stopwatch(server)
        ask(f"{base}api/mel", wanted, accept="application/octet-stream").read()
        return began.read()

    def sound(run: int) -> tuple[float, ...]:
        return first_sound(base, server, {"score": scores[30], "timbre": f"map@{run / 10},0.1"})

    began = time.perf_counter()
    ask(f"{base}api/models/mel2mel-film/shade").read()
    return {
        "the map's shade, s": round(time.perf_counter() - began, 2),
        "mel of 10 s: clock, processor, s": timed(mel, runs),
        "first sound: clock, processor, s": timed(sound, runs),
    }


def measure_crowd(base: str, server: int, score: str, clients: int) -> dict[str, object]:
    """What becomes of so many clients at once, and how long the last of them waits."""

    def client(number: int) -> str:
        try:
            job = {"score": score, "timbre": "vibraphone", "seed": number}
            return "whole" if first_sound(base, server, job, str(number))[2] else "cut short"
        except urllib.error.HTTPError as error:
            return f"{error.code} {json.load(error)['kind']}"

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        outcomes = Counter(pool.map(client, range(clients)))
    return {
        f"{clients} clients at once": dict(outcomes),
        "until the last has its sound, s": round(time.perf_counter() - began, 1),
    }


@click.command()
@click.option("--clients", default=20, show_default=True)
@click.option("--runs", default=7, show_default=True)
def main(clients: int, runs: int) -> None:
    """Measure a server of its own."""
    figures = conditions()
    command = [sys.executable, "-m", "m2m", "serve", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout
        base = server.stdout.readline().strip()
        scores: dict[int, str] = {}
        for seconds in (10, 30):
            data = piece(float(seconds), Path(folder) / "piece.mid").read_bytes()
            scores[seconds] = json.load(ask(f"{base}api/scores?name=piece.mid", data))["id"]
        figures |= measure_latency(base, server.pid, scores, runs)
        figures |= measure_crowd(base, server.pid, scores[30], clients)
        figures["peak memory, MB"] = round(peak_memory(server.pid))
        server.terminate()
    static = Path(__file__).parents[1] / "web" / "static"
    figures["the page, kB"] = round(sum(file.stat().st_size for file in static.rglob("*") if file.is_file()) / 1000, 1)
    click.echo("\n".join(f"{name:36s} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
