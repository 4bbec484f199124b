"""Components by their registered names, each loaded once: one call makes a mel of notes, audio of a mel, or notes of audio.

A `Pipeline` is one model and one vocoder that render scores. This serves what compares many of them on the same music.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError, UnavailableError
from m2m.core.mel import Mel
from m2m.core.mel2mel import Mel2Mel, load_mel2mel
from m2m.core.model_folders import find_model
from m2m.core.plugins import registry
from m2m.core.rendering.synthesis import synthesis
from m2m.core.score import NOTE, NoteArray
from m2m.core.vocoder import Vocoder

T = TypeVar("T")


class ComponentCache:
    """The vocoders, models and transcribers of one device, each loaded when it is first asked for.

    device: a torch device. vocoder_options: a vocoder's name -> its options.
    Every method raises M2MError where a component is missing, cannot be set up, fails or breaks its contract.
    """

    def __init__(self, device: str = "cpu", vocoder_options: Mapping[str, Mapping[str, object]] | None = None) -> None:
        self.device, self.vocoder_options = device, vocoder_options or {}
        self._loaded: dict[tuple[str, str], Any] = {}

    def vocoder(self, name: str) -> Vocoder:
        """A vocoder. Raises UnavailableError for one that would render as another does here: it is compared under its name."""
        component = registry.find("vocoder", name)

        def create() -> Vocoder:
            with registry.attribute_errors(component, "cannot be set up"):
                substitute = registry.load("vocoder", name).best_engine().substitute
            if substitute:
                raise UnavailableError(f"{component} would render as another vocoder does: {substitute}.")
            return registry.create("vocoder", name, options=self.vocoder_options.get(name), device=self.device)

        return self._once("vocoder", name, create)

    def model(self, name: str) -> Mel2Mel:
        """A model by its folder, or by the name of one that ships."""
        return self._once("model", name, lambda: load_mel2mel(find_model("mel2mel", name, {}), self.device)[0])

    def mel(self, model: str, instrument: str, notes: NoteArray, frames: int) -> Mel:
        """A model's mel of notes on one of the instruments that it was trained on: (frames, n_mels) float32, read-only."""
        loaded = self.model(model)
        point = loaded.point(instrument)
        values = loaded.predict(notes, point, frames)
        values.flags.writeable = False  # several vocoders read it, and may be third-party code
        return Mel(values, loaded.config.mel, notes, point[None])

    def stream(self, vocoder: str, mel: Mel, seed: int) -> Iterator[NDArray[np.float32]]:
        """A vocoder's audio of a mel: blocks of (samples,) float32, `mel.samples` together."""
        return synthesis(self.vocoder(vocoder), registry.find("vocoder", vocoder), mel, seed)

    def transcribe(self, transcriber: str, wave: NDArray[np.float32], sample_rate: int) -> NoteArray:
        """The notes that a transcriber finds in a wave. Raises M2MError that names its package if it fails.

        wave: (samples,) float32, -1..1, at `sample_rate` Hz.
        """
        component = registry.find("transcriber", transcriber)
        loaded = self._once(
            "transcriber", transcriber, lambda: registry.create("transcriber", transcriber, device=self.device)
        )
        with registry.attribute_errors(component):
            notes: NoteArray = loaded.transcribe(wave, sample_rate)
            if not isinstance(notes, np.ndarray) or notes.dtype != NOTE:
                raise M2MError(f"{component} broke its contract: notes as of note_array were wanted.")
        return notes

    def _once(self, kind: str, name: str, load: Callable[[], T]) -> T:
        if (kind, name) not in self._loaded:
            self._loaded[kind, name] = load()
        loaded: T = self._loaded[kind, name]
        return loaded
