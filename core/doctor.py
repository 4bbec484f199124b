"""What m2m finds on this machine: versions, components, models, accelerators, and how to mend what is missing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from typing import Literal

from m2m import __version__
from m2m.core import registry
from m2m.core.checkpoint import CONFIG, shipped
from m2m.core.discovery import Component, one_line
from m2m.core.errors import M2MError


@dataclass(frozen=True)
class Finding:
    """One line of the report. cure: the command that would mend it, empty where nothing needs mending."""

    status: Literal["ok", "missing", "broken"]
    topic: str
    text: str
    cure: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything; nothing found here raises."""
    yield Finding(
        "ok", "m2m", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    yield from _torch()
    yield _soundfile()
    yield _fluidsynth()
    for extra, modules in (
        ("train", ("fluidsynth", "soxr", "joblib", "tensorboard", "matplotlib", "yaml")),
        ("eval", ("librosa", "mir_eval", "matplotlib")),
        ("web", ("fastapi", "uvicorn")),
    ):
        missing = [name for name in modules if util.find_spec(name) is None]
        text = f"m2m[{extra}]: {'all there' if not missing else 'lacks ' + ', '.join(missing)}"
        yield Finding("missing" if missing else "ok", "extra", text, f"pip install 'm2m[{extra}]'" if missing else "")
    for component in registry.components():
        yield _component(component)
    for folder in sorted(path.parent for path in shipped().glob(f"*/{CONFIG}")):
        yield Finding("ok", "model", f"{folder.name}, ships with m2m")


def _component(component: Component) -> Finding:
    if component.status == "disabled":
        return Finding("ok", component.kind, f"{component}: {component.note}")
    try:
        loaded = registry.load(component.kind, component.name)
        with registry.blame(component):
            said = one_line(loaded.diagnose()) if component.kind == "vocoder" else ""
    except M2MError as error:
        return Finding("broken", component.kind, str(error))
    return Finding("ok", component.kind, f"{component}: {component.summary}{f' ({said})' if said else ''}")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("broken", "torch", f"cannot be imported: {error}", "pip install --force-reinstall torch")
        return
    yield Finding(
        "ok", "torch", f"{torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} processors"
    )
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            yield Finding("ok", "cuda", f"cuda:{index}: {torch.cuda.get_device_name(index)}")
    else:
        built = torch.version.cuda
        reason = (
            f"PyTorch was built for CUDA {built} but sees no usable GPU"
            if built
            else "this PyTorch was built without CUDA"
        )
        yield Finding("ok", "cuda", f"not used: {reason}")


def _soundfile() -> Finding:
    import soundfile

    formats = soundfile.available_formats()
    missing = [name for name in ("FLAC", "OGG", "MP3") if name not in formats]
    text = f"libsndfile {soundfile.__libsndfile_version__}{', cannot write ' + ', '.join(missing) if missing else ''}"
    return Finding("missing" if missing else "ok", "audio", text, "pip install -U soundfile" if missing else "")


def _fluidsynth() -> Finding:
    try:
        version = metadata.version("pyfluidsynth")
        import fluidsynth  # noqa: F401 - importing it loads the library
    except metadata.PackageNotFoundError:
        return Finding(
            "missing",
            "fluidsynth",
            "pyfluidsynth is not installed: no data sets can be built",
            "pip install 'm2m[train]'",
        )
    except (ImportError, OSError):
        return Finding(
            "missing",
            "fluidsynth",
            "the library is not installed: no data sets can be built",
            "apt-get install libfluidsynth3",
        )
    return Finding("ok", "fluidsynth", f"pyfluidsynth {version} and its library: data sets can be built")
