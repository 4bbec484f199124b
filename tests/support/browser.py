"""A real Chromium, the system's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT = 120_000  # ms: a busy machine is no failure
# What the address bar suggests is a page of its own in every window, which loads longer than the explorer's does.
NO_SUGGESTIONS = "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup"


@contextmanager
def launched(*arguments: str) -> Iterator[Any]:
    """Launch it, or skip the test that wants it."""
    found = os.environ.get("M2M_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if not found:
        pytest.skip("no Chromium is installed: apt-get install chromium, or name one in M2M_CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    root = ["--no-sandbox"] if os.getuid() == 0 else []
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=[*root, NO_SUGGESTIONS, *arguments], timeout=WAIT)
        yield chromium
        chromium.close()
