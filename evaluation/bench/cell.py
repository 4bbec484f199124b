"""A cell of a bench: its audio is rendered, measured, and written with its figures. Failures become rows with an error.

A finished cell is `cells/ID.json`, written last; its audio lies in `audio/ID.flac`, what the Fréchet distance needs in
`cells/ID.npz`. A failed one is the same file with its error in it: a row that says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from m2m.core.audio import mu_law_decode, mu_law_encode, tame, write_audio
from m2m.core.errors import M2MError, UnavailableError, explain
from m2m.core.mel import Mel, MelSpec
from m2m.core.notes import NoteArray, hold
from m2m.core.rendering.components import ComponentCache
from m2m.core.system.files import atomic_path, write_text
from m2m.evaluation.bench.plan import BenchConfig, Cell, System
from m2m.evaluation.bench.recordings import Recording, open_recordings
from m2m.evaluation.measures.frechet import features
from m2m.evaluation.measures.table import OF_AUDIO, OF_MEL, Reference, measure_audio, measure_mel
from m2m.evaluation.measures.waves import Wave

T = TypeVar("T")


@dataclass(frozen=True)
class CellTask:
    """Cells of one recording, for one process, one after the other."""

    config: BenchConfig
    out: Path
    cells: Sequence[Cell]


def do_cells(task: CellTask) -> None:
    """Compute and write every cell of a task."""
    renderer = _renderer(json.dumps(task.config.model_dump(mode="json")))
    for cell in task.cells:
        began = time.process_time()
        try:
            found = _compute(renderer, cell, task.out)
        except UnavailableError as error:
            found = {"error": explain(error), "skipped": True}
        except Exception as error:  # a cell that fails does not keep the others from being computed
            found = {"error": explain(error)}
        write_cell(task.out, cell, found | {"processor_seconds": round(time.process_time() - began, 3)})


@lru_cache(maxsize=1)
def _renderer(config: str) -> CellRenderer:
    return CellRenderer(BenchConfig.model_validate(json.loads(config)))


def cell_path(out: Path, id: str) -> Path:
    """Where a cell's result lies."""
    return out / "cells" / f"{id}.json"


def write_cell(out: Path, cell: Cell, found: dict[str, Any]) -> None:
    """Write a cell's file, which makes it finished."""
    row = asdict(cell.system) | {"file": cell.recording.file, "instrument": cell.recording.instrument}
    write_json(cell_path(out, cell.id), {"id": cell.id, **row, "error": "", "skipped": False, **found})


def write_json(path: Path, value: object) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(value, allow_nan=False) + "\n")


def _compute(renderer: CellRenderer, cell: Cell, out: Path) -> dict[str, Any]:
    system = cell.system
    if system.problem:
        raise M2MError(system.problem)
    reference = renderer.reference(system, cell.recording)
    if system.stage == "mel":
        return _figures(measure_mel(reference, renderer.mel(system, cell.recording).values), OF_MEL)
    wave = renderer.audio(system, cell.recording)
    figures, semitones = measure_audio(reference, wave, renderer.transcribe)
    with atomic_path(out / "cells" / f"{cell.id}.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, features=features(wave, reference.rate))
    path = out / "audio" / f"{cell.id}.flac"
    write_audio(path, tame(wave, "rescale")[0], reference.rate, tags={}, overwrite=True)
    return _figures(figures, OF_AUDIO) | {
        "semitones": [round(float(r), 5) if np.isfinite(r) else None for r in semitones],
        "audio": f"audio/{path.name}",
    }


def _figures(found: dict[str, float], names: tuple[str, ...]) -> dict[str, Any]:
    """The measures that have a number, and those that have none: a cell that has neither was made before the measure was."""
    return {"measures": found, "undefined": [name for name in names if name not in found]}


class CellRenderer:
    """Renders the cells of a bench: its components are loaded once, and what cells of one recording share is made once."""

    def __init__(self, config: BenchConfig) -> None:
        self.config = config
        self.components = ComponentCache(config.device, config.vocoder_options)
        self.transcribe = partial(self.components.transcribe, config.transcriber) if config.transcriber else None
        self._recording: Recording | None = None
        self._shared: dict[object, Any] = {}  # of `_recording`

    def reference(self, system: System, recording: Recording) -> Reference:
        """The original, cut to whole frames of the system's mel: its model's, its vocoder's, or m2m's own.

        Raises M2MError where the recording cannot be read, is shorter than a frame or of another sample rate.
        """
        wave, rate, notes = self._once(
            recording,
            "original",
            lambda: open_recordings(self.config.data, self.config.split).read(recording, self.config.seconds),
        )
        spec = MelSpec() if rate == MelSpec().sample_rate else MelSpec(sample_rate=rate, fmax=rate / 2)
        if system.model:
            spec = self.components.model(system.model).config.mel
        elif system.vocoder:
            spec = self.components.vocoder(system.vocoder).mel_spec or spec
        if spec.sample_rate != rate:
            raise M2MError(
                f"the recording of {recording} is at {rate} Hz, {system.label} works at {spec.sample_rate} Hz."
            )
        whole = len(wave) // spec.hop_length * spec.hop_length
        if not whole:
            raise M2MError(f"the recording of {recording} is shorter than a frame.")
        return self._once(recording, spec, lambda: Reference(wave[:whole], notes, spec))

    def mel(self, system: System, recording: Recording) -> Mel:
        """The log-mel that the system's vocoder is given: of its model, where it has one, else of the recording.

        Raises M2MError where the model fails, or was not trained on the instrument.
        """
        reference = self.reference(system, recording)
        if not system.model:
            return Mel(reference.mel, reference.spec, reference.notes)
        heard = system.stage == "transcribed"
        notes = self._transcribed(reference, recording) if heard else reference.notes
        arguments = (system.model, recording.instrument, notes, len(reference.mel))
        return self._once(recording, (system.model, heard), lambda: self.components.mel(*arguments))

    def _transcribed(self, reference: Reference, recording: Recording) -> NoteArray:
        """The notes that the bench's transcriber hears in a recording, as `m2m transcribe` writes them.

        Raises M2MError where it hears none, or fails.
        """
        transcribe = self.transcribe
        assert transcribe is not None  # of make_plan
        spec = reference.spec
        notes = self._once(
            recording, ("notes", spec), lambda: hold(transcribe(reference.wave, spec.sample_rate), [], 0.0)
        )
        if not len(notes):
            raise M2MError(f"{self.config.transcriber} hears no note in the recording of {recording}.")
        return notes

    def audio(self, system: System, recording: Recording) -> Wave:
        """What the system makes of a recording: (samples,) float32, as long as its `reference`.

        Raises M2MError that names a component's package where it fails.
        """
        if system.stage == "original":
            return self.reference(system, recording).wave
        if system.stage == "mu-law":
            return mu_law_decode(mu_law_encode(self.reference(system, recording).wave))
        mel = self.mel(system, recording)
        return np.concatenate(list(self.components.stream(system.vocoder, mel, self.config.seed)))

    def _once(self, recording: Recording, key: object, make: Callable[[], T]) -> T:
        """What `make` made the first time; only what is of the latest recording is kept."""
        if recording != self._recording:
            self._recording, self._shared = recording, {}
        if key not in self._shared:
            self._shared[key] = make()
        found: T = self._shared[key]
        return found
