"""What a bench's processes do with a cell: make its audio, measure it, write both. Nothing here raises.

A finished cell is `cells/ID.json`, written last; its audio lies in `audio/ID.flac`, what the Fréchet distance needs in
`cells/ID.npz`. A failed one is the same file with its error in it: a row that says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from m2m.core.audio import mu_law_decode, mu_law_encode, tame, write_audio
from m2m.core.errors import M2MError, explain
from m2m.core.mel import Mel, MelSpec
from m2m.core.mel2mel import Mel2Mel, load_mel2mel
from m2m.core.model_folders import find_model
from m2m.core.plugins import registry
from m2m.core.plugins.discovery import Component
from m2m.core.rendering.pipeline import synthesis
from m2m.core.score import NOTE, NoteArray
from m2m.core.system.files import atomic_path
from m2m.core.vocoder import Vocoder
from m2m.evaluation.bench.plan import BenchConfig, Cell, System
from m2m.evaluation.bench.recordings import Recording, open_recordings
from m2m.evaluation.measures.frechet import features
from m2m.evaluation.measures.table import Reference, measure_audio, measure_mel
from m2m.evaluation.measures.waves import Wave

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """Cells of one recording, for one process, one after the other."""

    config: BenchConfig
    out: Path
    cells: Sequence[Cell]


def do_cells(task: Task) -> None:
    """Compute and write every cell of a task."""
    shop = _shop(task.config.model_dump_json())
    for cell in task.cells:
        began = time.process_time()
        try:
            found = _compute(shop, cell, task.out)
        except Exception as error:  # whatever it was, the other cells have not earned it
            found = {"error": explain(error)}
        write_cell(task.out, cell, found | {"processor_seconds": round(time.process_time() - began, 3)})


@lru_cache(maxsize=1)
def _shop(config: str) -> Workshop:
    return Workshop(BenchConfig.model_validate_json(config))


def cell_path(out: Path, id: str) -> Path:
    """Where a cell's result lies."""
    return out / "cells" / f"{id}.json"


def write_cell(out: Path, cell: Cell, found: dict[str, Any]) -> None:
    """Write a cell's file, which makes it finished."""
    row = asdict(cell.system) | {"file": cell.recording.file, "instrument": cell.recording.instrument}
    write_json(cell_path(out, cell.id), {"id": cell.id, **row, "error": "", **found})


def write_json(path: Path, value: object) -> None:
    """Write JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, allow_nan=False) + "\n")


def _compute(shop: Workshop, cell: Cell, out: Path) -> dict[str, Any]:
    system = cell.system
    if system.problem:
        raise M2MError(system.problem)
    reference = shop.reference(system, cell.recording)
    if system.stage == "mel":
        return {"measures": measure_mel(reference, shop.predicted(system, cell.recording))}
    wave = shop.audio(system, cell.recording)
    figures, semitones = measure_audio(reference, wave, shop.transcribe if shop.config.transcriber else None)
    with atomic_path(out / "cells" / f"{cell.id}.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, features=features(wave, reference.rate))
    path = out / "audio" / f"{cell.id}.flac"
    write_audio(path, tame(wave, "rescale")[0], reference.rate, tags={}, overwrite=True)
    return {
        "measures": figures,
        "semitones": [round(float(r), 5) if np.isfinite(r) else None for r in semitones],
        "audio": f"audio/{path.name}",
    }


class Workshop:
    """A process's components, loaded once, and what was made of the recording at hand."""

    def __init__(self, config: BenchConfig) -> None:
        self.config = config
        self._loaded: dict[object, Any] = {}
        self._made: dict[object, Any] = {}
        self._at_hand: Recording | None = None

    def vocoder(self, name: str) -> tuple[Vocoder, Component]:
        """A vocoder, and the component that it is."""
        options, device = self.config.vocoder_options.get(name), self.config.device
        if name not in self._loaded:
            made = registry.create("vocoder", name, options=options, device=device)
            self._loaded[name] = made, registry.find("vocoder", name)
        vocoder, component = self._loaded[name]
        return vocoder, component

    def transcribe(self, wave: Wave, rate: int) -> NoteArray:
        """The notes that the bench's transcriber hears. Raises M2MError that names its package if it fails."""
        name = self.config.transcriber or ""
        component = registry.find("transcriber", name)
        if component not in self._loaded:
            self._loaded[component] = registry.create("transcriber", name, device=self.config.device)
        with registry.attribute_errors(component):
            notes: NoteArray = self._loaded[component].transcribe(wave, rate)
            if not isinstance(notes, np.ndarray) or notes.dtype != NOTE:
                raise M2MError(f"{component} broke its contract: notes as of note_array were wanted.")
        return notes

    def model(self, folder: str) -> Mel2Mel:
        """A model."""
        if folder not in self._loaded:
            self._loaded[folder] = load_mel2mel(find_model("mel2mel", folder, {}), self.config.device)[0]
        model: Mel2Mel = self._loaded[folder]
        return model

    def point(self, system: System, recording: Recording) -> NDArray[np.float32]:
        """The instrument's place in the model's timbre space: (dimensions,). Raises M2MError if it has none."""
        return self.model(system.model).point(recording.instrument)

    def reference(self, system: System, recording: Recording) -> Reference:
        """The original, cut to whole frames of the system's mel: its model's, its vocoder's, or m2m's own."""
        wave, rate, notes = self._once(
            recording,
            "original",
            lambda: open_recordings(self.config.data, self.config.split).read(recording, self.config.seconds),
        )
        spec = MelSpec() if rate == MelSpec().sample_rate else MelSpec(sample_rate=rate, fmax=rate / 2)
        if system.model:
            spec = self.model(system.model).config.mel
        elif system.vocoder:
            spec = self.vocoder(system.vocoder)[0].mel_spec or spec
        if spec.sample_rate != rate:
            raise M2MError(f"{system.label} works at {spec.sample_rate} Hz, the recordings are at {rate} Hz.")
        whole = len(wave) // spec.hop_length * spec.hop_length
        if not whole:
            raise M2MError(f"the recording of {recording} is shorter than a frame.")
        return self._once(recording, spec, lambda: Reference(wave[:whole], notes, spec))

    def predicted(self, system: System, recording: Recording) -> NDArray[np.float32]:
        """The log-mel of the system's model: (frames, n_mels), the same whatever vocoder comes after it."""
        reference, point = self.reference(system, recording), self.point(system, recording)

        def predict() -> NDArray[np.float32]:
            values = self.model(system.model).predict(reference.notes, point, len(reference.mel))
            values.flags.writeable = False  # a vocoder is lent it, and may be a stranger's
            return values

        return self._once(recording, system.model, predict)

    def audio(self, system: System, recording: Recording) -> Wave:
        """What the system makes of a recording: (samples,), as long as its `reference`."""
        reference = self.reference(system, recording)
        if system.stage == "original":
            return reference.wave
        if system.stage == "mu-law":
            return mu_law_decode(mu_law_encode(reference.wave))
        if system.stage == "true-mel":
            mel = Mel(reference.mel, reference.spec, reference.notes)
        else:
            timbre = self.point(system, recording)[None]
            mel = Mel(self.predicted(system, recording), reference.spec, reference.notes, timbre)
        return np.concatenate(list(synthesis(*self.vocoder(system.vocoder), mel, self.config.seed)))

    def _once(self, recording: Recording, key: object, make: Callable[[], T]) -> T:
        """What `make` made the first time; only the recording at hand is remembered."""
        if recording != self._at_hand:
            self._at_hand, self._made = recording, {}
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found
