"""What is compared with: originals and the scores that they play, from a data set or from a plain folder.

A plain folder holds audio named NAME--INSTRUMENT.flac (or .wav, .ogg) beside NAME.mid, the score it plays from its first
sample on; `evaluation/quick/`, the set that ships, is one.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.dataset.description import DESCRIPTION, read_description

if TYPE_CHECKING:  # a finished bench is found so from its files' names, without what reads scores and audio
    from m2m.core.score import NoteArray

QUICK = Path(__file__).parents[1] / "quick"
SUFFIXES = (".flac", ".wav", ".ogg")
SCORE_SUFFIXES = (".mid", ".musicxml", ".mxl")


@dataclass(frozen=True)
class Recording:
    """One original: a piece on an instrument. fingerprint: a hash that changes with its content."""

    file: str
    instrument: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.file} on {self.instrument}"


class Recordings(ABC):
    """A set of originals."""

    @abstractmethod
    def list(self) -> list[Recording]:
        """All of them, file by file. Raises M2MError where there are none."""

    @abstractmethod
    def read(self, recording: Recording, seconds: float) -> tuple[NDArray[np.float32], int, NoteArray]:
        """The first `seconds` of a recording. Raises M2MError where it cannot be read.

        Returned are the wave, (samples,) float32 in -1..1, its sample rate in Hz, and the notes struck in it.
        """


class Folder(Recordings):
    """Audio files beside the MIDI files that they play."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def list(self) -> list[Recording]:
        """All of them, file by file. Raises M2MError where there are none, or one has no score."""
        files = sorted(path for path in self.folder.glob("*--*") if path.suffix in SUFFIXES)
        found = []
        for path in files:
            file, _, instrument = path.stem.rpartition("--")
            content = b"".join(part.read_bytes() for part in (path, self._score(file)))
            found.append(Recording(file, instrument, hashlib.sha256(content).hexdigest()[:16]))
        if not found:
            raise M2MError(
                f"{self.folder} holds no recordings: neither a data set ({DESCRIPTION}) nor audio named "
                f"NAME--INSTRUMENT{SUFFIXES[0]} beside NAME.mid; make one with 'm2m dataset build'."
            )
        return found

    def read(self, recording: Recording, seconds: float) -> tuple[NDArray[np.float32], int, NoteArray]:
        from m2m.core.audio import read_audio
        from m2m.core.score import excerpt, merge, read_score
        from m2m.evaluation.measures.constant_q import HIGHEST

        name = f"{recording.file}--{recording.instrument}"
        path = next(p for p in (self.folder / f"{name}{suffix}" for suffix in SUFFIXES) if p.is_file())
        wave, rate = read_audio(path)
        if not np.isfinite(wave).all():
            raise M2MError(f"{path} holds NaN or infinite samples; make it anew.")
        if rate < 2 * HIGHEST:
            raise M2MError(f"{path} is at {rate:,} Hz, at least {2 * HIGHEST:,.0f} Hz is wanted; make it anew.")
        if not len(wave):
            raise M2MError(f"{path} holds no samples; make it anew.")
        notes = merge(track.notes for track in read_score(self._score(recording.file)).playable)
        return wave[: round(seconds * rate)], rate, excerpt(notes, 0.0, seconds)

    def _score(self, file: str) -> Path:
        for suffix in SCORE_SUFFIXES:
            if (path := self.folder / f"{file}{suffix}").is_file():
                return path
        raise M2MError(f"{self.folder} holds audio of {file!r}, but not its score {file}.mid; put it there.")


class DataSet(Recordings):
    """A split of a data set of `m2m dataset build`."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split

    def list(self) -> list[Recording]:
        """Those of the split. Raises M2MError where there are none, or the folder is no data set."""
        description = read_description(self.folder)
        files, made = description.files.get(self.split, []), description.fingerprint
        if not files:
            raise M2MError(f"the split {self.split!r} of {self.folder} has no files; choose another with --split.")
        return [
            Recording(
                file, name, hashlib.sha256(f"{made} {file} {name}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
            )
            for file in files
            for name in description.instruments
        ]

    def read(self, recording: Recording, seconds: float) -> tuple[NDArray[np.float32], int, NoteArray]:
        """The first `seconds` of a recording. Raises M2MError where its shard is missing or damaged.

        Returned are the wave, (samples,) float32 in -1..1, its sample rate in Hz, and the notes struck in it.
        """
        from m2m.core.score import excerpt, from_rows
        from m2m.dataset.shards import ShardReader

        shards = ShardReader(self.folder, self.split)
        if recording.file not in shards.files:
            raise M2MError(f"{self.folder} has no shard of {recording.file}; run 'm2m dataset build' to the end.")
        index, rate = shards.files.index(recording.file), shards.config.mel.sample_rate
        notes = from_rows(shards.notes(index, recording.instrument))
        return shards.audio(index, recording.instrument, 0, round(seconds * rate)), rate, excerpt(notes, 0.0, seconds)


def open_recordings(data: Path | None, split: str = "test") -> Recordings:
    """The originals in a folder; those that ship with m2m where it is None. Raises M2MError where there is no folder."""
    if data is None:
        return Folder(QUICK)
    if not data.is_dir():
        raise M2MError(f"{data} is not a folder; give a data set of 'm2m dataset build', or a folder of recordings.")
    return DataSet(data, split) if (data / DESCRIPTION).is_file() else Folder(data)
