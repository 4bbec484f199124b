"""What m2m finds on this machine: versions, components, models, accelerators, and how to mend what is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal

from m2m import __version__
from m2m.core.errors import M2MError, one_line
from m2m.core.model_folders import CONFIG, shipped
from m2m.core.plugins import registry
from m2m.core.plugins.discovery import Component
from m2m.core.plugins.isolation import Lost, each
from m2m.core.system import processor

LOAD_SECONDS = 60.0  # for a component to be imported, however busy the machine is
SOUNDFONTS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts", "~/.local/share/soundfonts")


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
    yield from _processor()
    yield from _torch()
    yield _soundfile()
    yield from _compilers()
    yield _fluidsynth()
    yield _soundfonts()
    for extra, modules in (
        ("train", ("fluidsynth", "tensorboard", "matplotlib", "yaml")),
        ("eval", ("mir_eval", "matplotlib", "pyloudnorm", "scipy")),
        ("web", ("fastapi", "uvicorn")),
    ):
        missing = [name for name in modules if util.find_spec(name) is None]
        text = f"m2m[{extra}]: {'all there' if not missing else 'lacks ' + ', '.join(missing)}"
        yield Finding("missing" if missing else "ok", "extra", text, f"pip install 'm2m[{extra}]'" if missing else "")
    yield from load_all(registry.components())
    for folder in sorted(path.parent for path in shipped().glob(f"*/{CONFIG}")):
        yield Finding("ok", "model", f"{folder.name}, ships with m2m")


def load_all(listed: Sequence[Component]) -> Iterator[Finding]:
    """Components, each loaded in a process that is not this one: one that hangs or ends the process is a finding."""
    loadable = [c for c in listed if c.status == "ok"]
    answers = each("m2m.core.plugins.doctor:load", [{"kind": c.kind, "name": c.name} for c in loadable], LOAD_SECONDS)
    for component in listed:
        if component.status == "disabled":
            yield Finding("ok", component.kind, f"{component}: {component.note}")
        elif component.status != "ok":
            yield Finding("broken", component.kind, f"{component.kind} {component.name!r}: {component.note}")
        else:
            yield _loaded(component, next(answers))


def _loaded(component: Component, answer: Any) -> Finding:
    without = f"pip uninstall {component.distribution}"
    if isinstance(answer, Lost):
        return Finding("broken", component.kind, f"{component} {answer.text} when it was imported", without)
    if "broken" in answer:
        return Finding("broken", component.kind, answer["broken"])
    text = f"{component}: {component.summary}"
    if "engine" not in answer:
        return Finding("ok", component.kind, text)
    slower = f", no faster one since {answer['slower']}" if answer["slower"] else ""
    return Finding("ok", component.kind, f"{text}; engine: {answer['engine']}{slower}", answer["cure"])


def load(item: dict[str, str]) -> dict[str, str]:
    """Load a component and ask for its engine where the contract has one, in the process that `load_all` has started."""
    try:
        loaded = registry.load(item["kind"], item["name"])
        if not hasattr(loaded, "best_engine"):
            return {}
        with registry.attribute_errors(registry.find(item["kind"], item["name"]), "cannot tell its engine"):
            engine = loaded.best_engine()
            return {"engine": one_line(engine.name), "slower": one_line(engine.slower), "cure": one_line(engine.cure)}
    except M2MError as error:
        return {"broken": str(error)}


def _processor() -> Iterator[Finding]:
    try:
        name = processor.limited_to()
    except M2MError as error:
        yield Finding("broken", "processor", str(error), f"unset {processor.VARIABLE}")
        return
    if name:
        text = f"kernels, PyTorch and oneDNN are limited to {name}, since {processor.VARIABLE} says so"
        yield Finding("ok", "processor", text, f"unset {processor.VARIABLE}")


def _compilers() -> Iterator[Finding]:
    for what, commands, cure in (
        ("C++", (os.environ.get("CXX", ""), "c++", "g++", "clang++"), "apt-get install g++"),
        ("CUDA", ("nvcc",), ""),
    ):
        found = next(filter(None, map(shutil.which, filter(None, commands))), None)
        if found:
            yield Finding("ok", "compiler", f"{what}: {found}, {_version(found)}")
        elif cure:
            yield Finding(
                "missing", "compiler", f"{what}: none is seen; kernels are not built where m2m is installed", cure
            )
        else:
            yield Finding("ok", "compiler", f"{what}: none is seen, and none is needed without a GPU")


def _version(command: str) -> str:
    try:
        said = subprocess.run(
            [command, "--version"], capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"which does not run ({type(error).__name__})"
    return one_line(next((line for line in said.splitlines() if re.search(r"\d\.\d", line)), "of unknown version"))


def _soundfonts() -> Finding:
    folders = [Path(folder).expanduser() for folder in SOUNDFONTS]
    found = sorted({str(path) for folder in folders for path in folder.glob("*.sf[23]")})
    if found:
        return Finding("ok", "soundfont", ", ".join(found))
    cure = "apt-get install fluidr3mono-gm-soundfont"
    return Finding("missing", "soundfont", f"none in {', '.join(SOUNDFONTS)}: data sets need one", cure)


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
        lost = built is None and shutil.which("nvidia-smi") is not None
        cure = "pip install --force-reinstall torch, from an index with CUDA builds" if lost else ""
        yield Finding("missing" if lost else "ok", "cuda", f"not used: {reason}", cure)


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
