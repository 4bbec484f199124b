"""Free memory goes back to the system."""

from pathlib import Path

import pytest

from m2m.web.memory import _malloc_trim, give_back


def resident() -> int:
    """This process's resident memory, bytes."""
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) << 10


@pytest.mark.skipif(_malloc_trim() is None or not Path("/proc/self/status").exists(), reason="there is no glibc")
def test_what_is_free_below_what_is_held_goes_back() -> None:
    blocks = [bytearray(60_000) for _ in range(3000)]  # 180 MB, each too small to be mapped by itself
    last = bytearray(60_000)
    del blocks
    before = resident()
    give_back()
    assert before - resident() > 100_000_000
    assert len(last) == 60_000
