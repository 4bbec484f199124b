"""A recording's notes by a transcriber, held to its contract: read block by block, and made a score."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.notes import HIGHEST_KEY, LOWEST_KEY, NoteArray, hold
from m2m.core.plugins import registry
from m2m.core.plugins.discovery import Component
from m2m.core.recordings import Recording, resampled
from m2m.core.score import Score, Track, constant
from m2m.core.system.devices import choose_device
from m2m.core.system.files import atomic_path, refuse_overwrite
from m2m.core.system.progress import advance
from m2m.core.transcriber import TRANSCRIBED_NOTE, Transcriber, plain_notes, transcribed_notes

UNSURE = 0.5  # a note of less confidence counts as unsure


@dataclass(frozen=True, eq=False)
class Transcription:
    """What a transcriber found in a recording.

    notes: (notes,) as `note_array` makes them. confidence: (notes,) float32, 0..1, NaN where the transcriber does not tell.
    seconds: length of the recording.
    """

    notes: NoteArray
    confidence: NDArray[np.float32]
    seconds: float
    name: str = ""

    @property
    def sureness(self) -> float | None:
        """The mean confidence of its notes; None where there is none, or the transcriber does not tell."""
        told = self.confidence[np.isfinite(self.confidence)]
        return round(float(told.mean()), 3) if len(told) else None

    @property
    def unsure(self) -> int:
        """How many notes have a confidence below `UNSURE`."""
        return int((self.confidence < UNSURE).sum())

    def score(self, program: int = 0) -> Score:
        """The notes as a score of one track, of a General MIDI program.

        Where a key is struck again while it sounds, the earlier note ends.
        """
        track = Track("transcription", program, False, hold(self.notes, [], 0.0), constant(1.0))
        return Score((track,), name=self.name)


class Scribe:
    """A transcriber that is loaded, and whatever it is given to transcribe.

    transcriber: its name; None takes the default. options: of it. device: a torch device, or "auto".
    Raises M2MError where it is missing or cannot be set up, or where there is no such device.
    """

    def __init__(
        self, transcriber: str | None = None, options: Mapping[str, object] | None = None, device: str = "cpu"
    ) -> None:
        self.name = transcriber or registry.default("transcriber")
        self.component = registry.find("transcriber", self.name)
        self.transcriber: Transcriber = registry.create(
            "transcriber", self.name, options=options, device=choose_device(device)
        )

    def stream(self, blocks: Iterable[NDArray[np.float32]], sample_rate: int) -> Iterator[NDArray[np.void]]:
        """The notes of audio in blocks, as they are sure: each (notes,) of `TRANSCRIBED_NOTE`.

        blocks: each (samples,) float32, mono, -1..1. sample_rate: Hz.
        Raises M2MError that names the transcriber's package if it fails or breaks its contract.
        """
        rate = self.transcriber.sample_rate or sample_rate
        with registry.attribute_errors(self.component):
            for notes in self.transcriber.stream(resampled(blocks, sample_rate, rate), rate):
                _check(self.component, notes)
                yield notes

    def transcribe(self, recording: str | Path | Recording, wanted: Callable[[], bool] = lambda: True) -> Transcription:
        """The notes of a recording, read block by block.

        wanted: asked before each block; where it says no, the rest is not read.
        Raises M2MError as `Recording` and `stream` do.
        """
        if not isinstance(recording, Recording):
            recording = Recording(Path(recording))
        with advance("transcribing", total=recording.seconds) as heard:
            blocks = takewhile(lambda _: wanted(), _told(recording.blocks(), recording.sample_rate, heard))
            found = np.concatenate([transcribed_notes([]), *self.stream(blocks, recording.sample_rate)])
        found = found[np.lexsort((found["pitch"], found["start"]))]
        return Transcription(plain_notes(found), found["confidence"].copy(), recording.seconds, recording.path.name)


def write_midi(path: Path, score: Score, overwrite: bool = False) -> None:
    """Write a score as a MIDI file, whole or not at all. Raises M2MError where it exists and `overwrite` is False."""
    refuse_overwrite(path, overwrite)
    with atomic_path(path) as temporary:
        temporary.write_bytes(midi_bytes(score))


def midi_bytes(score: Score) -> bytes:
    """A score as the bytes of a MIDI file."""
    file = io.BytesIO()
    score.to_pretty_midi().write(file)
    return file.getvalue()


def _told(
    blocks: Iterable[NDArray[np.float32]], sample_rate: int, heard: Callable[[float], None]
) -> Iterator[NDArray[np.float32]]:
    """The same blocks; tells how many seconds were read."""
    for block in blocks:
        yield block
        heard(len(block) / sample_rate)


def _check(component: Component, notes: object) -> None:
    """Refuse what the contract does not allow. Raises M2MError that names the component."""
    if not isinstance(notes, np.ndarray) or notes.dtype != TRANSCRIBED_NOTE or notes.ndim != 1:
        raise M2MError(f"{component} broke its contract: notes as of transcribed_notes were wanted.")
    times, keys, velocities = (notes["start"], notes["end"]), notes["pitch"], notes["velocity"]
    if not (np.isfinite(times).all() and (times[0] >= 0).all() and (times[0] < times[1]).all()):
        raise M2MError(f"{component} broke its contract: a note has no length, or a time before the beginning.")
    if not ((keys >= LOWEST_KEY) & (keys <= HIGHEST_KEY) & (velocities >= 1) & (velocities <= 127)).all():
        raise M2MError(
            f"{component} broke its contract: a note beyond keys {LOWEST_KEY} to {HIGHEST_KEY} or velocities 1 to 127."
        )
