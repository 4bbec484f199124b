"""What the server can render: models and vocoders by name, and the pipelines that are loaded.

A client gives names and never a path. An option of a vocoder may be a path, so options are set by the owner of the server, in
plugins.toml, and not by its clients.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from m2m.core.choices import GAIN_DB
from m2m.core.errors import M2MError
from m2m.core.mel import Mel
from m2m.core.mel2mel import Mel2MelConfig, load_mel2mel
from m2m.core.model_folders import CONFIG, find_model, read_config, shipped
from m2m.core.plugins import registry
from m2m.core.plugins.discovery import Component
from m2m.core.rendering.mix import Level
from m2m.core.rendering.model_choice import choose_model, read_instruments
from m2m.core.rendering.parts import Part
from m2m.core.rendering.performance import Performance
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.score import NoteArray, Score, merge
from m2m.core.system.devices import choose_device
from m2m.core.track_selection import Selector, select
from m2m.web.limits import RefusedError, ServerLimits
from m2m.web.messages import (
    ComponentInfo,
    Components,
    JobRequest,
    MapInfo,
    MelRequest,
    ModelInfo,
    ScoreInfo,
    Shade,
    SoundRequest,
)
from m2m.web.scores import Scores, shown_name
from m2m.web.timbre_map import draw_map, shade
from m2m.web.transcription import Transcriptions

T = TypeVar("T")
PIPELINES = 8  # pairs of a model and a vocoder that stay loaded
FAILED_SECONDS = 30.0  # in which what has failed to load is not tried again


class Service:
    """Everything but the jobs. Its methods may take seconds and are called from any thread.

    limits: of the server. models: folders of the owner's models, besides those that ship; the first of them is the default.
    device: that renders, a torch device or "auto".

    Raises M2MError where a folder holds no model, two have one name, or there is no such device.
    """

    def __init__(self, limits: ServerLimits, models: Sequence[str | Path] = (), device: str = "cpu") -> None:
        self.limits, self.device = limits, choose_device(device)
        self._lock = threading.Lock()  # of the pipelines; no work is done while it is held
        self._loading = threading.Lock()  # one pipeline at a time
        self._shading = threading.Lock()
        self._pipelines: OrderedDict[tuple[str, str], Pipeline] = OrderedDict()  # by model and vocoder
        # Likewise, "" for any vocoder; with the reason, and when it was found. Names are of what is installed, so these are few.
        self._failed: dict[tuple[str, str], tuple[str, float]] = {}
        self._shades: dict[str, dict[str, Shade]] = {}  # by model and kind
        self.own = _named(models)
        self.folders = {name: find_model("mel2mel", own, {}) for name, own in self.own.items()}
        for config in sorted(shipped().glob(f"*/{CONFIG}")):
            self.folders.setdefault(config.parent.name, config.parent)
        default = choose_model()
        self.folders.setdefault(default.name, default)
        read = ((name, _config(folder)) for name, folder in self.folders.items())
        self.configs = {name: config for name, config in read if config is not None}
        self.default_model = next(iter(self.own), "") or default.name
        self.scores = Scores(limits, read_instruments(self.folders[self.default_model]))
        self._transcriptions = Transcriptions(limits)

    def components(self) -> Components:
        """What is installed, from metadata; with the reason where something has failed to load."""
        trained = {
            kind: {getattr(config, kind) for config in self.configs.values()} for kind in ("conditioner", "encoder")
        }
        infos = {
            kind: [self._component_info(component, trained.get(kind)) for component in registry.components(kind)]
            for kind in ("vocoder", "conditioner", "encoder")
        }
        return Components(
            models=[self._model_info(name, config) for name, config in self.configs.items()],
            vocoders=infos["vocoder"],
            conditioners=infos["conditioner"],
            encoders=infos["encoder"],
        )

    def _model_info(self, name: str, config: Mel2MelConfig) -> ModelInfo:
        note = self._failure(name, "")
        return ModelInfo(
            name=name,
            conditioner=config.conditioner,
            encoder=config.encoder,
            timbres=list(config.instruments),
            usable=not note,
            note=note,
            default=name == self.default_model,
        )

    def _component_info(self, component: Component, trained: set[str] | None) -> ComponentInfo:
        """trained: the names of components of its kind that a model here has; None for a kind that models do not have."""
        note = component.note
        if component.kind == "vocoder" and not note:
            note = next(filter(None, (self._failure(model, component.name) for model in self.configs)), "")
        elif trained is not None and not note and component.name not in trained:
            note = f"no model here has it; train one: m2m train mel2mel --{component.kind} {component.name}"
        default = component.name == registry.default(component.kind)
        package = f"{component.distribution} {component.version}".strip()
        return ComponentInfo(
            name=component.name,
            summary=component.summary,
            package=package,
            usable=not note,
            note=note,
            default=default,
        )

    def pipeline(self, model: str | None, vocoder: str | None) -> Pipeline:
        """The pipeline of a model and a vocoder, loaded; None is the default.

        Raises RefusedError for an unknown model or vocoder, and for what cannot be loaded, with the reason.
        """
        pair = model or self.default_model, vocoder or registry.default("vocoder")
        name, voice = pair
        self._folder(name)
        try:
            registry.find(
                "vocoder", voice
            )  # before a model is loaded, and nothing is remembered of a name that is made up
        except M2MError as error:
            raise RefusedError(409, "not-usable", str(error)) from error
        if loaded := self._loaded(pair):  # which must not wait while another pair is loaded
            return loaded
        with self._loading:
            if loaded := self._loaded(pair):  # by whoever held the lock
                return loaded
            try:
                made = Pipeline(model=self.folders[name], vocoder=voice, device=self.device)
            except M2MError as error:
                self._failed[name, "" if self._model_is_broken(name) else voice] = str(error), time.monotonic()
                raise RefusedError(409, "not-usable", str(error)) from error
            with self._lock:
                self._pipelines[pair] = made
                while len(self._pipelines) > PIPELINES:
                    self._pipelines.popitem(last=False)
            return made

    def _loaded(self, pair: tuple[str, str]) -> Pipeline | None:
        """A pipeline that is loaded. Raises RefusedError where it has failed to load lately."""
        with self._lock:
            if pair in self._pipelines:
                self._pipelines.move_to_end(pair)
                return self._pipelines[pair]
        if failure := self._failure(*pair) or self._failure(pair[0], ""):
            raise RefusedError(409, "not-usable", failure)
        return None

    def _failure(self, model: str, vocoder: str) -> str:
        """Why a model with a vocoder ("": with any) has failed to load within the last FAILED_SECONDS; "" where it has not."""
        text, found = self._failed.get((model, vocoder), ("", 0.0))
        return text if time.monotonic() - found < FAILED_SECONDS else ""

    def _model_is_broken(self, name: str) -> bool:
        try:
            load_mel2mel(self.folders[name])
        except M2MError:
            return True
        return False

    def _folder(self, model: str) -> Path:
        """A model's folder. Raises RefusedError where the server has none of that name."""
        if model not in self.configs:
            raise RefusedError(404, "no-model", f"there is no model {model!r}; there are {', '.join(self.configs)}.")
        return self.folders[model]

    def any_pipeline(self, model: str | None) -> Pipeline:
        """A pipeline with that model and any vocoder, for what needs no vocoder. Raises RefusedError as `pipeline` does."""
        name = model or self.default_model
        with self._lock:
            loaded = [pipeline for (other, _), pipeline in list(self._pipelines.items()) if other == name]
        return loaded[-1] if loaded else self.pipeline(name, None)

    def map(self, model: str) -> MapInfo:
        """A model's map. Raises RefusedError as `pipeline` does."""
        self._folder(model)
        return draw_map(model, self.any_pipeline(model).timbres)

    def shade(self, model: str, by: str) -> Shade:
        """The map's shade. The first request for it takes some seconds. Raises RefusedError as `pipeline` does."""
        drawn = self.map(model)
        with self._shading:
            if model not in self._shades:
                pipeline = self.any_pipeline(model)
                self._shades[model] = shade(pipeline.model, pipeline.timbres, drawn)
        return self._shades[model][by]

    def mel(self, request: MelRequest) -> Mel:
        """The mel of a stretch of a score at a timbre, which ends where the score ends.

        Raises RefusedError for an unknown score, model or timbre, and for a stretch that is too long or outside the score.
        """
        score, pipeline = self.scores.find(request.score), self.any_pipeline(request.model)
        stop = min(request.stop, pipeline.length(score) / pipeline.spec.sample_rate)
        self._check_span(request.start, stop)
        if request.timbre and not (request.map or request.mix):
            timbre = self._checked(lambda: pipeline.timbres.parse(request.timbre or ""))
            return pipeline.preview([(_all_notes(score), timbre)], request.start, stop)
        voices = ((part.notes, part.timbre) for part in self._parts(pipeline, score, request) if part.level)
        return pipeline.preview(voices, request.start, stop)

    def transcribe(self, data: bytes, name: str, stopped: Callable[[], bool]) -> ScoreInfo:
        """The notes of a recording as a score that is remembered, with the recording's own mel beside it.

        data: an audio file. name: of the file. stopped: whether nobody waits for it any more.
        Raises RefusedError as `Transcriptions.read` and `Scores.upload` do.
        """
        name = shown_name(name) or "recording"
        midi, heard = self._transcriptions.read(data, name, stopped)
        return self.scores.upload(midi, f"{Path(name).stem}.mid", heard)

    def recorded_mel(self, score: str, start: float, stop: float) -> Mel:
        """The mel of a stretch of the recording that a score was transcribed from; silence beyond its end.

        Raises RefusedError where there is none, or the stretch is too long or has no length.
        """
        heard = self.scores.heard(score)
        self._check_span(start, stop)
        return heard.stretch(start, stop)

    def _check_span(self, start: float, stop: float) -> None:
        """Refuse a stretch, in seconds, that is too long or has no length."""
        if stop - start > self.limits.mel_seconds:
            raise RefusedError(413, "too-long", f"a mel of at most {self.limits.mel_seconds:g} s at a time can be had.")
        if stop <= start:
            raise RefusedError(422, "span", f"from {start:g} s to {stop:g} s there is nothing of this score.")

    def begin(self, request: JobRequest) -> Performance:
        """Begin the rendering that a job asks for. Raises M2MError where it cannot be begun."""
        try:
            pipeline = self.pipeline(request.model, request.vocoder)
            score, programs, mix = self.scores.find(request.score), *_by_track(request)
            return pipeline.play(
                score, timbre=request.timbre, programs=programs, mix=mix, seed=request.seed, gain=request.gain
            )
        except RefusedError as refusal:
            raise M2MError(refusal.message) from refusal

    def check(self, request: JobRequest) -> tuple[str, str]:
        """The names of a request's model and vocoder. Raises RefusedError for what is certain to fail."""
        score = self.scores.find(request.score)
        self._parts(self.pipeline(request.model, request.vocoder), score, request)
        return request.model or self.default_model, request.vocoder or registry.default("vocoder")

    @classmethod
    def _parts(cls, pipeline: Pipeline, score: Score, request: SoundRequest) -> list[Part]:
        """The parts that a request asks for. Raises RefusedError for a timbre or a level that is none, or of no track."""
        programs, mix = _by_track(request)
        cls._checked(lambda: select(score, programs, must_be=True))
        return cls._checked(lambda: pipeline.parts(score, request.timbre, programs, mix=mix))

    @staticmethod
    def _checked(read: Callable[[], T]) -> T:
        try:
            return read()
        except M2MError as error:
            raise RefusedError(422, "timbre", str(error)) from error

    def command(self, request: JobRequest, model: str, vocoder: str) -> str:
        """The command line that renders what a job renders. Raises RefusedError for an unknown score."""
        info = self.scores.info(request.score)
        words = ["m2m", "render", _as_argument(info.name)]
        if model in self.own:
            words += ["--model", str(self.own[model])]
        else:
            words += ["--conditioner", self.configs[model].conditioner]
            same = find_model("mel2mel", None, {"conditioner": self.configs[model].conditioner}).name == model
            words = words if same else [*words[:-2], "--model", model]
        words += ["--vocoder", vocoder]
        words += ["--timbre", request.timbre] if request.timbre else []
        for option, chosen in (("--map", request.map), ("--mix", request.mix)):
            words += [word for selector, value in chosen.items() for word in (option, f"{selector}={value}")]
        words += ["--seed", str(request.seed)] if request.seed else []
        words += ["--gain", f"{request.gain:g}"] if request.gain != GAIN_DB else []
        if info.recording is None:
            return shlex.join(words)
        first = ["m2m", "transcribe", _as_argument(info.recording.name), "-o", _as_argument(info.name)]
        return f"{shlex.join([*first, '--program', str(info.recording.program)])} && {shlex.join(words)}"


def _as_argument(name: str) -> str:
    """A file's name, never an option's."""
    return f"./{name}" if name.startswith("-") else name


def _named(models: Sequence[str | Path]) -> dict[str, Path]:
    """Folders of models as they were given, by the names of the folders. Raises M2MError where two have one name."""
    named: dict[str, Path] = {}
    for own in models:
        name = find_model("mel2mel", own, {}).resolve().name
        if name in named:
            raise M2MError(f"two models are called {name!r}; give their folders names of their own.")
        named[name] = Path(own)
    return named


def _by_track(request: SoundRequest) -> tuple[dict[Selector, str], dict[Selector, Level]]:
    """The timbres and the levels of some tracks that a request has."""
    return dict(request.map.items()), dict(request.mix.items())


@lru_cache(maxsize=8)
def _all_notes(score: Score) -> NoteArray:
    """The notes of all tracks together: with one timbre for all, one prediction is enough."""
    return merge(track.struck for track in score.playable)


def _config(folder: Path) -> Mel2MelConfig | None:
    try:
        return read_config(folder, "mel2mel", Mel2MelConfig)
    except M2MError:  # the folder of a vocoder's model
        return None
