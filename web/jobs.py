"""Renderings for clients: a bounded queue, worker threads, and the cancelling of abandoned jobs.

A worker computes a job's audio block by block. Coroutines that stream it to clients wait for the job's signal, which any
thread may send. A thread cannot be stopped from outside, so a job ends between two blocks of a part: cancelled by its
client, out of time, or abandoned because for `patience` seconds no client was connected to it or asked for it. Ended jobs are
kept as long as all that they hold together is within a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from m2m.core.errors import explain
from m2m.core.rendering.performance import Performance
from m2m.web.limits import RefusedError, ServerLimits
from m2m.web.memory import give_back

State = Literal["waiting", "running", "done", "failed", "cancelled"]
ACTIVE = ("waiting", "running")
REMEMBERED = 60.0  # seconds that a failed or cancelled job is kept, so that its client can learn why
SWEEP = 0.5  # seconds between two sweeps
TRIM = 5.0  # seconds between two times that free memory is given back


class Signal:
    """Wakes every coroutine that waits for it, from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._event = loop, asyncio.Event()

    def send(self) -> None:
        """Wake them."""
        with contextlib.suppress(RuntimeError):  # the loop has closed, and nothing waits in it
            self._loop.call_soon_threadsafe(self._send)

    def _send(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Return when it is sent, at the latest after `seconds`.

        No await may stand between looking at what the signal is about and this call: a signal sent in between is missed.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)


@dataclass(frozen=True)
class File:
    """A finished rendering as the bytes of a file. score: the name of its score."""

    score: str
    data: bytes


class Job:
    """One rendering.

    client: who asked for it. begin: makes its Performance, in the worker. about: the fields of its JobInfo that its request
    has settled. signal: sent whenever its state changes or samples are added. weight: bytes that it keeps besides audio.

    made: samples of `performance.mix` that are computed; raised after they are written, so a reader needs no lock.
    files: of a finished one that clients have asked for, by format.
    """

    def __init__(
        self,
        client: str,
        begin: Callable[[], Performance],
        about: dict[str, object],
        signal: Signal,
        weight: int = 0,
    ) -> None:
        self.id = secrets.token_urlsafe(12)  # cannot be guessed: whoever knows it may listen
        self.client, self.about, self.signal, self.weight = client, about, signal, weight
        self.state: State = "waiting"
        self.message = ""
        self.performance: Performance | None = None
        self.files: dict[str, File] = {}
        self.made = 0
        self.watchers, self.seen, self.began = 0, time.monotonic(), 0.0
        self._begin = begin
        self._state_lock = threading.Lock()  # the loop may cancel a job while a worker takes it up

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ACTIVE

    @property
    def samples(self) -> int:
        """Its length in samples; 0 before it runs."""
        return len(self.performance.mix) if self.performance else 0

    @property
    def held(self) -> int:
        """Bytes that it keeps."""
        audio = self.performance.mix.nbytes if self.performance else 0
        return self.weight + audio + sum(len(file.data) for file in self.files.values())

    @contextlib.contextmanager
    def attended(self) -> Iterator[None]:
        """A context in which a client is connected to the job."""
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1
            self.seen = time.monotonic()

    def drop(self) -> None:
        """Let go of its audio; who still reads it is cut off."""
        self.performance = None
        self.files.clear()
        self.signal.send()

    def end(self, state: State, message: str = "") -> None:
        """Give an active job its last state, and its client the reason."""
        with self._state_lock:
            if not self.active:
                return
            self.state, self.message = state, message
            if state != "done":
                self.performance = None
        self.signal.send()

    def run(self) -> None:
        """Render, in a worker thread, unless the job was ended while it waited."""
        if not self._take_up():
            return
        try:
            performance = self.performance = self._begin()
            performance.stopped = lambda: not self.active
            self.signal.send()
            for block in performance:
                if not self.active:
                    break
                self.made += len(block)
                self.signal.send()
            self.end("done")
            if self.state != "done":  # it was ended from outside, perhaps before it had a performance to drop
                self.performance = None
        except Exception as error:
            self.end("failed", explain(error))

    def _take_up(self) -> bool:
        with self._state_lock:
            if self.state != "waiting":
                return False
            self.state, self.began = "running", time.monotonic()
            return True


class Jobs:
    """All jobs of a server. Its methods are called in the event loop; the workers call `Job.run` alone."""

    def __init__(self, limits: ServerLimits) -> None:
        self.limits = limits
        self._all: dict[str, Job] = {}  # in the order in which they were submitted
        self._queue: deque[Job] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(limits.workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, client: str, begin: Callable[[], Performance], about: dict[str, object], weight: int = 0) -> Job:
        """Put a job into the queue. Raises RefusedError where there are too many, of this client or of all."""
        active = [job for job in self._all.values() if job.active]
        if sum(job.client == client for job in active) >= self.limits.jobs_per_client:
            most = self.limits.jobs_per_client
            raise RefusedError(
                429, "too-many", f"{most} of your renderings wait or run; that is the most at a time.", 2
            )
        if len(active) >= self.limits.jobs:
            raise RefusedError(503, "queue-full", f"the queue is full: {len(active)} renderings wait or run.", 3)
        job = Job(client, begin, about, Signal(asyncio.get_running_loop()), weight)
        self._all[job.id] = job
        with self._ready:
            self._queue.append(job)
            self._ready.notify()
        return job

    def find(self, job_id: str) -> Job:
        """A job by its id, which counts as asking for it. Raises RefusedError where there is none, or no longer."""
        job = self._all.get(job_id)
        if job is None:
            raise RefusedError(404, "no-job", "there is no such rendering (any more); render it again.")
        job.seen = time.monotonic()
        return job

    def position(self, job: Job) -> int:
        """How many jobs are before this one in the queue; 0 where it does not wait."""
        with self._ready:
            return self._queue.index(job) if job in self._queue else 0

    def cancel(self, job: Job) -> None:
        """End an active job; forget it and its audio."""
        job.end("cancelled", "cancelled by its client.")
        job.drop()
        self._all.pop(job.id, None)

    def sweep(self) -> None:
        """End jobs that are abandoned or take too long; forget the oldest ended ones beyond the limit, read ones last."""
        now, limits = time.monotonic(), self.limits
        for job in list(self._all.values()):
            abandoned = not job.watchers and now - job.seen > limits.patience
            if job.active and abandoned:
                job.end("cancelled", "nobody listened any more.")
            elif job.state == "running" and now - job.began > limits.job_seconds:
                most = f"{limits.job_seconds:g} s, the most this server gives a rendering."
                job.end("failed", f"it ran longer than {most}")
            elif not job.active and job.state != "done" and now - job.seen > REMEMBERED:
                del self._all[job.id]
        kept = sum(job.held for job in self._all.values())
        ended = [job for job in self._all.values() if not job.active]
        for job in sorted(ended, key=lambda job: (job.watchers > 0, job.seen)):
            if kept > limits.kept_mb << 20:
                kept -= job.held
                job.drop()
                del self._all[job.id]
        with self._ready:
            self._queue = deque(job for job in self._queue if job.active)

    async def keep_sweeping(self) -> None:
        """Sweep about twice a second, and give back what jobs have freed, until this task is cancelled."""
        trimmed, known = time.monotonic(), set(self._all)
        while True:
            await asyncio.sleep(SWEEP)
            self.sweep()
            holding = {job.id for job in self._all.values() if job.active or job.performance}
            if known - holding and time.monotonic() - trimmed > TRIM:
                await asyncio.to_thread(give_back)
                trimmed, known = time.monotonic(), holding
            known |= holding

    def close(self) -> None:
        """End all jobs, and give the workers five seconds: to end a process while a thread is in PyTorch can crash it."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        for job in self._all.values():
            job.end("cancelled", "the server is going down.")
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._queue and not self._closed:
                    self._ready.wait()
                if self._closed:
                    return
                job = self._queue.popleft()
            job.run()
            del job  # which would keep its audio while the next one is waited for
