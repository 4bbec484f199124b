"""What every test needs: no setting of the developer's own, and the fixtures of tests/support."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A busy machine is no failure, and every run is the same.
settings.register_profile("m2m", deadline=None, derandomize=True)
settings.load_profile("m2m")
# Before torch is imported: threads of many small processes only disturb each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("CI", None)  # under which pyfluidsynth prints where it found its library, and others more

pytest_plugins = [
    "command_line",
    "datasets",
    "distributions",
    "environments",
    "longest_first",
    "reference",
    "renderings",
]  # tests/support
collect_ignore = ["fixtures"]  # packages with tests of their own


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment decides what is loaded or said."""
    from m2m.core.system import progress

    for name in ("M2M_PLUGINS", "M2M_LOAD_PLUGINS", "M2M_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(progress, "quiet", False)
