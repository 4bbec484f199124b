"""Render files to files: many at once if asked, each by itself, so that a bad one does not stop the others."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from m2m.core import audio
from m2m.core.choices import SampleFormat
from m2m.core.errors import M2MError, explain
from m2m.core.plugins import registry, settings
from m2m.core.rendering.mix import gains
from m2m.core.rendering.model_choice import check_choices, choose_model, playable, read_instruments
from m2m.core.score import Score, read_score, stem_name
from m2m.core.score_limits import Limits
from m2m.core.system import progress
from m2m.core.system.files import make_folder, refuse_overwrite, require_writable
from m2m.core.system.workers import in_order

STDOUT = Path("-")
FIELDS = ("stem", "timbre", "vocoder", "conditioner", "seed")


@dataclass(frozen=True)
class RenderJob:
    """One score to render, and how; plain values, so that a worker process can be handed it.

    components: `Pipeline`'s arguments, pairs in a tuple. mixing: those of `Pipeline.render`, likewise.
    """

    score: Path
    out: Path
    components: tuple[tuple[str, Any], ...]
    mixing: tuple[tuple[str, Any], ...]
    sample_format: SampleFormat | None = None
    sidecar: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class RenderOutcome:
    """What became of a job: `error` is empty if it went well."""

    score: str
    outputs: tuple[str, ...] = ()
    seconds: float = 0.0
    omissions: tuple[dict[str, Any], ...] = ()
    notices: tuple[str, ...] = ()
    error: str = ""


def output_path(template: str, score: Path, names: dict[str, str]) -> Path:
    """Fill in an output template: {stem} is the score's name without its extension, the others come from `names`.

    >>> output_path("out/{stem}-{vocoder}.wav", Path("a/b.mid"), {"vocoder": "griffin-lim"}).as_posix()
    'out/b-griffin-lim.wav'
    """
    values = {"stem": score.stem} | {key: re.sub(r"[^\w.+=-]+", "_", value) for key, value in names.items()}

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise M2MError(f"output {template!r}: there is no field {match[0]}; there are {{{'}, {'.join(FIELDS)}}}.")
        return values[match[1]]

    return Path(re.sub(r"\{(\w*)\}", value, template))


def check_outputs(jobs: Sequence[RenderJob]) -> None:
    """Raise M2MError for what can be known to fail before anything is rendered."""
    for job in jobs:
        if job.score.is_dir():
            raise M2MError(f"{job.score} is a folder, a MIDI file was wanted, such as {job.score / '*.mid'}.")
    outs = [job.out for job in jobs]
    if STDOUT in outs and (len(jobs) > 1 or jobs[0].sidecar or dict(jobs[0].mixing).get("stems")):
        raise M2MError(
            "standard output (-o -) takes one score's mix; for more, give a template such as -o '{stem}.wav'."
        )
    written: set[str] = set()
    for path in (path for job in jobs for path in dict.fromkeys(_planned_paths(job)) if path != STDOUT):
        real = os.path.realpath(path)  # Path.resolve raises for a loop of links, of which check_output says more
        if real in written:
            raise M2MError(f"several scores would be written to {path}; use {{stem}} in -o to keep them apart.")
        written.add(real)
    for out in outs:
        if out != STDOUT and out.is_dir():
            raise M2MError(f"{out} is a folder; name a file, such as -o '{out / '{stem}.wav'}'.")
        if out != STDOUT:
            audio.check_format(out.suffix, jobs[0].sample_format)


def run(jobs: Sequence[RenderJob], workers: int) -> Generator[RenderOutcome]:
    """Render jobs, in their order, in this process or in several; what fails is an outcome with its `error`."""
    with closing(in_order(jobs, _attempt, workers, progress.quiet)) as worked:
        for job, outcome, death in worked:
            yield RenderOutcome(str(job.score), error=f"{death}; {_at_work(job)}.") if death else outcome


def _at_work(job: RenderJob) -> str:
    """The plugins whose code a job runs, else its vocoder: for a process that died and cannot name them itself."""
    from m2m.core.mel2mel import Mel2MelConfig
    from m2m.core.model_folders import read_config

    parts = {"vocoder": dict(job.components).get("vocoder") or registry.default("vocoder")}
    found = []
    with suppress(M2MError):
        made_of = read_config(_folder(job), "mel2mel", Mel2MelConfig)
        parts |= {"conditioner": made_of.conditioner, "encoder": made_of.encoder}
    for kind, name in parts.items():
        with suppress(M2MError):
            found.append(registry.find(kind, name))
    plugins = [component for component in found if component.distribution != "m2m"]
    return f"at work was {' and '.join(map(str, plugins or found[:1]))}"


def _folder(job: RenderJob) -> Path:
    """Of the model that a job renders with."""
    return choose_model(*(dict(job.components).get(name) for name in ("model", "encoder", "conditioner")))


@lru_cache(maxsize=1)
def _pipeline(components: tuple[tuple[str, Any], ...]) -> Any:
    from m2m.core.rendering.pipeline import Pipeline

    arguments = dict(components)
    return Pipeline(**arguments | {"vocoder_options": dict(arguments.get("vocoder_options", ()))})


def _attempt(job: RenderJob) -> RenderOutcome:
    try:
        return _render(job)
    except BrokenPipeError:  # standard output's reader has ended, which is no failure
        raise
    except Exception as error:  # the other scores are rendered all the same
        return RenderOutcome(str(job.score), error=explain(error))


def _render(job: RenderJob) -> RenderOutcome:
    arguments = dict(job.mixing)
    score = _read(job)  # before torch: what is no music is refused at once
    paths = _paths(job, score)
    for path in paths if job.out != STDOUT else ():  # before the work, not after it
        refuse_overwrite(path, job.overwrite, [job.score])  # the formats of all are known to be writable: check_outputs
    if job.out != STDOUT:
        require_writable(job.out)
    _check_choices(job)
    rendering = _pipeline(job.components).render(score, **arguments | _tables(arguments))
    if job.out == STDOUT:
        wav = audio.audio_bytes(
            ".wav", rendering.audio, rendering.sample_rate, tags=rendering.provenance, sample_format=job.sample_format
        )
        out = progress.results().buffer
        try:
            out.write(wav)
            out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise M2MError(f"cannot write to standard output: {error.strerror}.") from error
    else:
        _save(job, rendering, paths)
    return RenderOutcome(
        score=str(job.score),
        outputs=tuple(map(str, paths)),
        seconds=rendering.seconds,
        omissions=tuple({"kind": o.kind, "count": o.count, "text": o.text} for o in rendering.omissions),
        notices=(rendering.notice,) if rendering.notice else (),
    )


def _check_choices(job: RenderJob) -> None:
    """Raise M2MError for names that mean nothing, before torch is imported, which takes seconds."""
    mixing, components = dict(job.mixing), dict(job.components)
    named = [mixing.get("timbre") or settings.settings().defaults.get("timbre"), *_tables(mixing)["programs"].values()]
    chosen = {name: components.get(name) for name in ("model", "encoder", "conditioner", "vocoder")}
    check_choices(filter(None, named), **chosen)


def _tables(arguments: dict[str, Any]) -> dict[str, dict[Any, Any]]:
    """What is said of some tracks: pairs in a job, tables for a pipeline."""
    return {name: dict(arguments.get(name, ())) for name in ("programs", "mix")}


def _read(job: RenderJob) -> Score:
    """A job's score, read once as long as its file stays the same: stems are planned by it, and then rendered."""
    try:
        about = job.score.stat()
        stamp = (about.st_mtime_ns, about.st_size)
    except (OSError, ValueError):  # read_score says so
        stamp = (0, 0)
    return _read_once(job.score, dict(job.mixing).get("limits"), stamp)


@lru_cache(maxsize=16)
def _read_once(path: Path, limits: Limits | None, stamp: tuple[int, int]) -> Score:
    return read_score(path, limits)


def _paths(job: RenderJob, score: Score | None) -> list[Path]:
    """All files that a job will write: the mix, its stems, the sidecar."""
    paths = [job.out]
    if score and dict(job.mixing).get("stems"):
        heard = gains(score, _tables(dict(job.mixing))["mix"])
        played = playable(score, read_instruments(_folder(job)))
        tracks = (track for track in played if heard[score.number(track)])
        stems = (stem_name(score.number(track), track) for track in tracks)
        paths += [job.out.with_name(f"{job.out.stem}-{stem}{job.out.suffix}") for stem in stems]
    if job.sidecar:
        paths.append(job.out.with_suffix(".json"))
    return paths


def _planned_paths(job: RenderJob) -> list[Path]:
    """All files that a job will write, without the stems of a score that cannot be read, which is told when it is its turn."""
    with suppress(M2MError):
        return _paths(job, _read(job) if dict(job.mixing).get("stems") else None)
    return _paths(job, None)


def _save(job: RenderJob, rendering: Any, paths: Sequence[Path]) -> None:
    make_folder(job.out.parent)
    waves = [rendering.audio, *rendering.stems.values()]
    for path, wave in zip(paths, waves, strict=False):
        replace(rendering, audio=wave).save(path, sample_format=job.sample_format, overwrite=job.overwrite)
    if job.sidecar:
        rendering.save_provenance(paths[-1], overwrite=job.overwrite)
