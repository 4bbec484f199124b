"""m2m: a neural music synthesiser. A score goes in, music comes out, and every stage between is a plugin.

>>> import m2m
>>> m2m.__version__.count(".")
2
"""

import os
import sys
from importlib import import_module
from typing import Any

from m2m.core import moved
from m2m.core.system import processor

__version__ = "0.2.0"

# GNU OpenMP's threads wait for each other in a loop of 300,000 spins, in which a busy machine loses nearly all its time (seen:
# 37 times real time became 1.1 times). 1,000 take some 50 us, about as long as to put a thread to sleep and wake it, so that no
# wait costs much more than it must. It is read when torch is loaded.
if "torch" not in sys.modules:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
processor.stand_in()
moved.install()

# The Python API, name -> module that holds it. Looked up on first use, so that `import m2m` and the command stay light.
_API: dict[str, str] = {
    "Limits": "m2m.core.midi",
    "M2MError": "m2m.core.errors",
    "Pipeline": "m2m.core.rendering.pipeline",
    "Rendering": "m2m.core.rendering.result",
    "Score": "m2m.core.score",
    "Timbre": "m2m.core.timbre",
    "TimbreSpace": "m2m.core.timbre",
    "read_score": "m2m.core.score",
    "render": "m2m.core.rendering.pipeline",
}

__all__ = ["__version__", *_API]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module 'm2m' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_API[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
