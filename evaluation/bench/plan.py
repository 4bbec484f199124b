"""What a bench compares: a config becomes systems, systems and recordings become cells.

A *system* is one way to audio: a stage and the components in it. The stages are the paper's, and one more:

    original    the recording itself: the upper bound of the measures against the score
    mu-law      the recording through 8 bits of µ-law and back: the upper bound of a WaveNet
    true-mel    the recording's own mel through a vocoder
    predicted   a model's mel through a vocoder
    transcribed the notes that the bench's transcriber hears in the recording, by a model and a vocoder
    mel         a model's mel against the recording's, no vocoder

A *cell* is one system on one recording. Its id is a hash of all that decides its result, so a finished cell is not computed
again when a bench is continued or extended, and is not mistaken for another.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from m2m.core.checkpoint import weights_hash
from m2m.core.choices import BENCH_REPEATS, BENCH_SECONDS, BENCH_SPLIT, MAX_SEED, STAGES, Split, Stage
from m2m.core.errors import M2MError
from m2m.core.model_folders import CONFIG, WEIGHTS, find_model, model_folder, shipped
from m2m.core.plugins import registry
from m2m.core.rendering.model_choice import choose_model
from m2m.core.system.devices import choose_device
from m2m.core.system.run_config import read_run
from m2m.evaluation.bench.recordings import Recording, open_recordings

VERSION = 1  # of the measures: raised when one gives another figure for the same audio, not when one is added
ANCHORS: tuple[Stage, ...] = ("original", "mu-law")


class BenchConfig(BaseModel):
    """A bench, as a TOML file or the command's flags describe it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # what is compared
    stages: tuple[Stage, ...] = STAGES
    vocoders: tuple[str, ...] | None = Field(None, description="by registered name; None: all that are installed")
    vocoder_options: dict[str, dict[str, object]] = Field({}, description="vocoder -> its options")
    conditioners: tuple[str, ...] | None = Field(None, description="by registered name; None: all that have a model")
    losses: tuple[str, ...] | None = Field(None, description="that models were trained with; None: any")
    models: tuple[Path, ...] = Field((), description="model folders, or folders of runs; none: those that ship")

    # on what
    data: Path | None = Field(None, description="a data set or folder of recordings; None: those that ship")
    split: Split = BENCH_SPLIT
    files: tuple[str, ...] | int | None = Field(None, description="names, or the first so many; None: all")
    instruments: tuple[str, ...] | None = None
    seconds: float = Field(BENCH_SECONDS, gt=0, le=3600, description="of each recording, from its beginning")

    # how
    transcriber: str | None = Field(
        None, description="that scores notes, by registered name; None: notes are not scored"
    )
    seed: int = Field(0, ge=0, le=MAX_SEED)
    device: str = "cpu"
    repeats: int = Field(
        BENCH_REPEATS, ge=0, le=100, description="of the speed measurement, after one to warm up; 0: none"
    )
    speed_seconds: float = Field(10.0, gt=0, description="of audio in each repeat")
    limit: float = Field(1800.0, gt=0, description="seconds that a cell may take before it is given up")


@dataclass(frozen=True)
class System:
    """One way to audio. Fields that a stage has no use for are empty; `problem` says why it cannot be computed."""

    stage: Stage
    vocoder: str = ""
    conditioner: str = ""
    loss: str = ""
    encoder: str = ""
    model: str = ""  # its folder, or the name of one that ships
    problem: str = ""

    @property
    def label(self) -> str:
        """Its name, where no other system has the same (`BenchPlan.labels`).

        >>> System("predicted", "griffin-lim", "film", "tanh-log-abs").label
        'film > griffin-lim'
        """
        return self._named(self.conditioner)

    def _named(self, model: str) -> str:
        if self.stage in ("predicted", "transcribed"):
            return f"{'transcribed > ' * (self.stage == 'transcribed')}{model} > {self.vocoder}"
        return {"true-mel": f"true mel > {self.vocoder}", "mel": f"{model} mel"}.get(self.stage, self.stage)


@dataclass(frozen=True)
class Cell:
    """One system on one recording. id: a hash of all that decides the result."""

    id: str
    system: System
    recording: Recording


@dataclass(frozen=True)
class BenchPlan:
    """A config with everything in it looked up: systems that can be computed or say why not, and recordings."""

    config: BenchConfig
    systems: tuple[System, ...]
    recordings: tuple[Recording, ...]
    fingerprints: Mapping[System, str]

    @property
    def cells(self) -> Iterator[Cell]:
        """All cells, recording by recording: what is computed of an original then serves all systems."""
        for recording in self.recordings:
            for system in self.systems:
                parts = (
                    VERSION,
                    self.fingerprints[system],
                    _identity(recording),
                    self.config.seconds,
                    self.config.seed,
                )
                yield Cell(_hash(*parts, self.config.device, *self.transcribed_by), system, recording)

    @property
    def labels(self) -> dict[System, str]:
        """A name for each system: where two would share one, their losses tell them apart, and then their folders."""
        names = {system: system.label for system in self.systems}
        for more in (lambda s: f"{s.conditioner} ({s.loss})", lambda s: f"{s.conditioner} ({s.loss}, {s.model})"):
            taken = list(names.values())
            shared = [system for system, name in names.items() if taken.count(name) > 1]
            names |= {system: system._named(more(system)) for system in shared}
        return names

    @property
    def transcribed_by(self) -> tuple[str, ...]:
        """The transcriber that the notes are scored by, with its package; empty for none."""
        return (str(registry.find("transcriber", self.config.transcriber)),) if self.config.transcriber else ()

    def speed_id(self, system: System, machine: str) -> str:
        """The name of a system's speed measurement on a machine."""
        parts = (VERSION, self.fingerprints[system], machine, self.config.repeats, self.config.speed_seconds)
        return _hash(*parts, self.config.device, self.recordings[0].fingerprint)


def _identity(recording: Recording) -> dict[str, str]:
    """What a recording is, under the keys of version 0.1, so that its cells keep their ids."""
    return {"file": recording.file, "instrument": recording.instrument, "print": recording.fingerprint}


def make_plan(config: BenchConfig) -> BenchPlan:
    """Look everything up. A component that is missing makes a system with a `problem`; all else that is wrong raises M2MError."""
    config = config.model_copy(update={"device": choose_device(config.device)})
    recordings = _recordings(config)
    if config.transcriber:
        registry.find("transcriber", config.transcriber)
    elif "transcribed" in config.stages:
        raise M2MError("the stage 'transcribed' wants a transcriber; name one: --transcriber onsets-frames.")
    systems = tuple(dict.fromkeys(_systems(config)))
    return BenchPlan(config, systems, recordings, {system: _fingerprint(system, config) for system in systems})


def _recordings(config: BenchConfig) -> tuple[Recording, ...]:
    found = open_recordings(config.data, config.split).list()
    files, instruments = (list(dict.fromkeys(getattr(r, field) for r in found)) for field in ("file", "instrument"))
    wanted = files[: config.files] if isinstance(config.files, int) else list(config.files or files)
    for chosen, known, what in ((wanted, files, "file"), (config.instruments or (), instruments, "instrument")):
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise M2MError(f"there is no recording of the {what} {unknown[0]!r}; there are {', '.join(known)}.")
    kept = [r for r in found if r.file in wanted and r.instrument in (config.instruments or instruments)]
    if not kept:
        raise M2MError("the bench has no recordings; choose files and instruments that there are.")
    return tuple(kept)


def _systems(config: BenchConfig) -> Iterator[System]:
    names = config.vocoders
    if names is None:
        names = tuple(c.name for c in registry.components("vocoder") if c.status == "ok")
    models = list(_models(config)) if {"predicted", "transcribed", "mel"} & set(config.stages) else []
    problems = {name: _problem("vocoder", name) for name in names}
    yield System("original")
    for stage in dict.fromkeys(config.stages):
        if stage == "mu-law":
            yield System(stage)
        elif stage == "true-mel":
            yield from (System(stage, name, problem=problems[name]) for name in names)
        elif stage in ("predicted", "transcribed"):
            for model in models:
                yield from (_with(model, stage, name, model.problem or problems[name]) for name in names)
        elif stage == "mel":
            yield from (_with(model, stage, "", model.problem) for model in models)


def _with(model: System, stage: Stage, vocoder: str, problem: str) -> System:
    return System(stage, vocoder, model.conditioner, model.loss, model.encoder, model.model, problem)


def _models(config: BenchConfig) -> Iterator[System]:
    """The models of every wanted conditioner and loss, as systems of the stage "mel"; one that is missing has a problem."""
    folders = [folder for root in config.models for folder in _model_folders(root)]
    if not config.models:
        folders = sorted(path.parent for path in shipped().glob(f"mel2mel-*/{CONFIG}"))
    known = [_describe(folder) for folder in folders]
    if not config.models:  # of each conditioner the model that a render takes
        known = [m for m in known if m.model == choose_model(conditioner=m.conditioner).name]
    conditioners = config.conditioners or tuple(dict.fromkeys(m.conditioner for m in known))
    for conditioner in conditioners:
        for loss in config.losses or ("",):
            found = [m for m in known if m.conditioner == conditioner and loss in ("", m.loss)]
            yield from found
            if not found:
                yield System("mel", "", conditioner, loss, problem=_no_model(config, conditioner, loss))


def _no_model(config: BenchConfig, conditioner: str, loss: str) -> str:
    problem = _problem("conditioner", conditioner)
    if not problem and not config.models and not loss:
        try:
            find_model("mel2mel", None, {"conditioner": conditioner})
        except M2MError as error:
            problem = str(error)
    trained = f" --loss {loss}" if loss else ""
    where = "among the given models" if config.models else "ships"
    return problem or (
        f"no model with conditioner {conditioner!r}{f' and loss {loss!r}' if loss else ''} {where}; "
        f"train one with 'm2m train mel2mel --conditioner {conditioner}{trained}' and give its run with --models."
    )


def _model_folders(root: Path) -> list[Path]:
    """A model folder, a run with its best model in it, or all of those in a folder. Raises M2MError if there are none."""
    root = model_folder(root)
    found = [root] if (root / CONFIG).is_file() else [root / "best"] if (root / "best" / CONFIG).is_file() else []
    if not found and root.is_dir():
        found = [folder for child in sorted(root.iterdir()) if child.is_dir() for folder in _quietly(child)]
    if not found:
        raise M2MError(
            f"{root} holds no model: neither config.json, nor a run's best/config.json, nor folders of such."
        )
    return [folder for folder in found if _about(folder).get("kind") == "mel2mel"]


def _quietly(folder: Path) -> list[Path]:
    try:
        return _model_folders(folder)
    except M2MError:
        return []


def _describe(folder: Path) -> System:
    made_of = _about(folder).get("config", {})
    conditioner, encoder = (str(made_of.get(kind, "")) for kind in ("conditioner", "encoder"))
    problem = _problem("conditioner", conditioner) or _problem("encoder", encoder)
    name = folder.name if folder.parent == shipped() else str(folder)
    return System("mel", "", conditioner, trained_loss(folder), encoder, name, problem)


def trained_loss(folder: Path) -> str:
    """The loss that a model was trained with: from its config.json, else from the run it lies in; empty where neither says."""
    trained = _about(folder).get("trained", {})
    for place in (folder, folder.parent):
        trained = trained if trained.get("loss") else read_run(place) or trained
    return str(trained.get("loss") or "")


def _about(folder: Path) -> dict[str, Any]:
    return _read(folder / CONFIG)


def _read(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise M2MError(f"cannot read {path}: {error}.") from error
    return read if isinstance(read, dict) else {}


def _problem(kind: str, name: str) -> str:
    try:
        registry.find(kind, name)
    except M2MError as error:
        return str(error)
    return ""


def _fingerprint(system: System, config: BenchConfig) -> str:
    """A hash of what a system is: its components' packages, versions, source and options, its model's weights."""
    parts: list[object] = [system.stage, system.problem]
    if system.problem:
        return _hash(*parts, asdict(system))
    if system.vocoder:
        component = registry.find("vocoder", system.vocoder)
        options = registry.default_options("vocoder", system.vocoder)
        options |= config.vocoder_options.get(system.vocoder, {})
        folders = [model_folder(value) for value in options.values() if isinstance(value, str | Path)]
        weights = [weights_hash(folder) for folder in folders if (folder / WEIGHTS).is_file()]
        parts += [
            component.distribution,
            component.version,
            component.target,
            options,
            weights,
            _source(component.target),
        ]
    if system.model:
        folder = find_model("mel2mel", system.model, {})
        parts += [weights_hash(folder), _about(folder).get("config")]
    return _hash(*parts)


def _source(target: str) -> str:
    """A hash of a component's module, so that an edit of it makes new cells without a new version; it is not imported."""
    top, *rest = target.partition(":")[0].split(".")
    try:
        # importlib.util.find_spec of a dotted name imports the packages above it, which may be third-party code.
        spec = importlib.util.find_spec(top)
        for name in rest:
            within = spec.submodule_search_locations if spec else None
            spec = PathFinder.find_spec(f"{spec.name}.{name}", within) if spec and within else None
        return hashlib.sha256(Path(spec.origin or "").read_bytes()).hexdigest() if spec else ""
    except (ImportError, OSError, ValueError, AttributeError):
        return ""


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
