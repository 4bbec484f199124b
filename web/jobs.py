"""Renderings for clients: a bounded queue, worker threads, and an end for what nobody waits for.

A worker fills a job's audio block by block; coroutines that stream it to clients wait on the job's bell, which any thread may
ring. A thread cannot be stopped from outside, so a job ends between two blocks: cancelled, out of time, or given up because
for `patience` seconds no client was connected to it or asked for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal

from m2m.core.errors import explain
from m2m.core.rendering.performance import Performance
from m2m.web.limits import Limits, RefusedError

State = Literal["waiting", "running", "done", "failed", "cancelled"]
ACTIVE = ("waiting", "running")


class Bell:
    """Wakes every coroutine that waits for it, from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._event = loop, asyncio.Event()

    def ring(self) -> None:
        """Wake them."""
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to hear it
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Return when it rings, at the latest after `seconds`. Look at what it tells of before and without awaiting."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)


class Job:
    """One rendering. begin: makes its Performance, in the worker. about: what its client is told besides its state.

    made: samples of `performance.mix` that are music; set after the music is there, so a reader needs no lock.
    """

    def __init__(self, client: str, begin: Callable[[], Performance], about: dict[str, object], bell: Bell) -> None:
        self.id = secrets.token_urlsafe(12)  # who knows it may hear the job: it cannot be guessed
        self.client, self.about, self.bell = client, about, bell
        self.state: State = "waiting"
        self.message = ""
        self.performance: Performance | None = None
        self.made = 0
        self.watchers, self.seen, self.began = 0, time.monotonic(), 0.0
        self._begin = begin
        self._turn = threading.Lock()  # of a change of state: the loop may cancel what a worker just takes up

    @property
    def active(self) -> bool:
        """It waits or runs."""
        return self.state in ACTIVE

    @property
    def samples(self) -> int:
        """Its length; 0 before it runs."""
        return len(self.performance.mix) if self.performance else 0

    @contextlib.contextmanager
    def attended(self) -> Iterator[None]:
        """While this block runs, a client is connected to the job."""
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1
            self.seen = time.monotonic()

    def end(self, state: State, message: str = "") -> None:
        """Give an active job its last state."""
        with self._turn:
            if not self.active:
                return
            self.state, self.message = state, message
            if state != "done":
                self.performance = None
        self.bell.ring()

    def run(self) -> None:
        """Render, in a worker thread, unless the job was ended while it waited."""
        if not self._take_up():
            return
        try:
            performance = self.performance = self._begin()
            self.bell.ring()
            for block in performance:
                if not self.active:
                    break
                self.made += len(block)
                self.bell.ring()
            self.end("done")
            if self.state != "done":  # it was ended from outside, perhaps before there was a performance to drop
                self.performance = None
        except Exception as error:
            self.end("failed", explain(error))

    def _take_up(self) -> bool:
        with self._turn:
            if self.state != "waiting":
                return False
            self.state, self.began = "running", time.monotonic()
            return True


class Jobs:
    """All jobs of a server. Its methods are called in the event loop; only `Job.run` is not."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._all: dict[str, Job] = {}  # in order of their coming
        self._queue: deque[Job] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(limits.workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, client: str, begin: Callable[[], Performance], about: dict[str, object]) -> Job:
        """Take a job. Raises RefusedError when there are too many, of this client or of all."""
        active = [job for job in self._all.values() if job.active]
        if sum(job.client == client for job in active) >= self.limits.jobs_per_client:
            most = self.limits.jobs_per_client
            raise RefusedError(
                429, "too-many", f"{most} of your renderings wait or run; that is the most at a time.", 2
            )
        if len(active) >= self.limits.jobs:
            raise RefusedError(503, "queue-full", f"the queue is full: {len(active)} renderings wait or run.", 3)
        job = Job(client, begin, about, Bell(asyncio.get_running_loop()))
        self._all[job.id] = job
        with self._ready:
            self._queue.append(job)
            self._ready.notify()
        return job

    def find(self, job_id: str) -> Job:
        """A job by its id. Raises RefusedError when there is none, or no longer."""
        job = self._all.get(job_id)
        if job is None:
            raise RefusedError(404, "no-job", "there is no such rendering (any more); render it again.")
        job.seen = time.monotonic()
        return job

    def position(self, job: Job) -> int:
        """How many jobs go before a waiting one."""
        with self._ready:
            return self._queue.index(job) if job in self._queue else 0

    def cancel(self, job: Job) -> None:
        """End an active job; forget it and its audio."""
        job.end("cancelled", "cancelled by its client.")
        self._all.pop(job.id, None)

    def sweep(self) -> None:
        """End what nobody waits for or takes too long; forget the audio of old jobs. Called about twice a second."""
        now, limits = time.monotonic(), self.limits
        for job in list(self._all.values()):
            alone = not job.watchers and now - job.seen > limits.patience
            if job.active and alone:
                job.end("cancelled", "nobody listened any more.")
            elif job.state == "running" and now - job.began > limits.job_seconds:
                job.end(
                    "failed", f"it ran longer than {limits.job_seconds:g} s, the most this server gives a rendering."
                )
            elif (
                not job.active and job.state != "done" and now - job.seen > 60
            ):  # its client has had the time to learn why
                del self._all[job.id]
        done = [job for job in self._all.values() if job.state == "done" and not job.watchers]
        done.sort(key=lambda job: job.seen)
        kept = sum(4 * job.samples for job in self._all.values())
        while done and kept > limits.kept_mb << 20:
            kept -= 4 * done[0].samples
            del self._all[done.pop(0).id]
        with self._ready:
            self._queue = deque(job for job in self._queue if job.active)

    async def keep_sweeping(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(0.5)
            self.sweep()

    def close(self) -> None:
        """End all jobs, and wait for the workers a little: what a thread does in PyTorch cannot be torn off without a crash."""
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
