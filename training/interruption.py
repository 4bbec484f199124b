"""Ctrl-C and SIGTERM that wait for the end of a training step, so that what was learned is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from m2m.core.system import progress


class Interruption:
    """number: of the signal that came, 0 if none has."""

    number = 0


@contextmanager
def waiting() -> Iterator[Interruption]:
    """A block in which the first signal is only noted: the block looks for it and ends, and then the signal takes effect.

    A second one takes effect at once. Signals that the process ignores stay ignored. In a thread nothing is noted.
    """
    came = Interruption()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def note(number: int, frame: FrameType | None) -> None:
        came.number = number
        restore()
        progress.say("stopping after this step; once more stops at once.")

    def restore() -> None:
        for number in ours:
            signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        for number in ours:
            signal.signal(number, note)
    else:
        ours = []
    try:
        yield came
    finally:
        restore()
        if came.number:
            signal.raise_signal(came.number)
