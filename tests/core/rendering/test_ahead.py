"""Blocks are computed side by side, each lane's by one thread, and none is left."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from m2m.core.rendering.ahead import Ahead

Block = NDArray[np.float32]
WAIT = 120.0  # seconds, of what comes at once


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("m2m-part")]


def test_two_lanes_are_computed_at_once_each_by_its_thread() -> None:
    both = threading.Barrier(2)
    seen: dict[str, set[tuple[int, int]]] = {}

    def lane(name: str) -> Iterator[Block]:
        for number in range(3):
            both.wait(WAIT)  # neither comes without the other
            seen.setdefault(name, set()).add((threading.get_ident(), torch.get_num_threads()))
            yield np.full(2, number, np.float32)

    one, two = lane("one"), lane("two")
    with Ahead(2) as ahead:
        for number in range(3):
            for blocks in (one, two, one):
                ahead.begin(blocks)
            for blocks in (one, two):
                block = ahead.take(blocks)
                assert block is not None
                assert block.tolist() == [number, number]
        ahead.begin(one)
        assert ahead.take(one) is None
    assert all(len(threads) == 1 for threads in seen.values())
    assert {count for threads in seen.values() for _, count in threads} == {1}
    assert seen["one"] != seen["two"]


def test_a_failure_is_that_of_the_lane() -> None:
    def fails() -> Iterator[Block]:
        yield np.zeros(1, np.float32)
        raise ValueError("broken")

    lane = fails()
    with Ahead(3) as ahead:
        ahead.begin(lane)
        assert ahead.take(lane) is not None
        ahead.begin(lane)
        with pytest.raises(ValueError, match="broken"):
            ahead.take(lane)


def test_an_interrupt_does_not_wait_for_a_block() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def endless() -> Iterator[Block]:
        begun.set()
        go_on.wait(WAIT)
        yield np.zeros(1, np.float32)

    with contextlib.suppress(KeyboardInterrupt), Ahead(1) as ahead:
        ahead.begin(endless())
        assert begun.wait(WAIT)
        raise KeyboardInterrupt
    (worker,) = [thread for thread in threading.enumerate() if thread.name.startswith("m2m-part")]
    go_on.set()
    worker.join(WAIT)
