"""Standard output is for results."""

from __future__ import annotations

import sys

import pytest

from m2m.core.system import progress


def test_two_threads_within_give_standard_output_back(capsys: pytest.CaptureFixture[str]) -> None:
    """The first to come is the first to leave, as threads may."""
    before, first, second = sys.stdout, progress.results_only(), progress.results_only()
    first.__enter__()
    second.__enter__()
    print("a library's words")
    first.__exit__(None, None, None)
    assert sys.stdout is sys.stderr
    assert progress.results() is before
    second.__exit__(None, None, None)
    assert sys.stdout is progress.results() is before
    assert capsys.readouterr() == ("", "a library's words\n")
