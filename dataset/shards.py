"""A data set on disk: its config, and one shard of notes, audio and mels for each MIDI file.

`DATA/SPLIT/FILE.safetensors` holds, for each instrument, the notes that were played, the audio they gave and its log-mel. Rolls
are not stored: any encoder makes them from the notes, exactly and at once, so a data set serves every encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from safetensors import SafetensorError, safe_open

from m2m.core.choices import Split
from m2m.core.errors import M2MError
from m2m.core.instruments import REFERENCE
from m2m.core.mel import MelSpec
from m2m.core.system.files import require_file
from m2m.dataset.description import Description, not_a_data_set, read_description

SPLITS = get_args(Split)
MAX_SHARD_BYTES = 16 << 30
ADDED = ("begin", "idiomatic")  # fields that data sets of earlier versions lack


class DatasetConfig(BaseModel):
    """What is rendered, and how. Everything that changes a sample of the result is in here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    programs: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(
        tuple(REFERENCE),
        min_length=1,
        description="General MIDI programs, one instrument each; a drum kit's number is 128 and its program",
    )
    seconds: float = Field(30.0, gt=0, description="of each file and instrument, release tail included")
    excerpt: Literal["random", "first"] = Field(
        "random", description="which part of a training file each instrument plays"
    )
    begin: Literal["file", "note"] = Field(
        "file", description="where validation and test files begin: at their start, or at their first note"
    )
    idiomatic: float = Field(
        0.0,
        ge=0,
        le=1,
        description="training: share of parts that are put into the keys, voice and lengths of their instrument",
    )
    transpose: int = Field(5, ge=0, le=24, description="training: random transposition within +- this many semitones")
    stretch: float = Field(0.15, ge=0, lt=1, description="training: random tempo change within +- this fraction")
    velocity: float = Field(
        0.25, ge=0, lt=1, description="training: random scaling of velocities within +- this fraction"
    )
    gain: float = Field(1.0, gt=0, le=10, description="of FluidSynth: 1.0 keeps dense pedalled chords below full scale")
    tail: float = Field(
        1.5, ge=0, description="seconds at the end in which no note is struck, so that releases are heard"
    )
    seed: int = 0
    mel: MelSpec = MelSpec()

    @model_serializer(mode="wrap")
    def _as_earlier_versions(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `ADDED` where they are as in earlier versions, whose data sets thereby stay the same."""
        defaults = {name: type(self).model_fields[name].default for name in ADDED}
        return {key: value for key, value in serialise(self).items() if key not in ADDED or value != defaults[key]}

    @model_validator(mode="after")
    def _room_for_notes(self) -> DatasetConfig:
        if not self.tail < self.seconds:
            raise ValueError(
                f"tail {self.tail:g} < seconds {self.seconds:g} does not hold, which leaves no time for notes"
            )
        return self


def shard_path(out: Path, split: str, name: str) -> Path:
    """Where a MIDI file's shard lies: the file's relative path with its separators turned into '-'."""
    return out / split / (name.replace("/", "-").rsplit(".", 1)[0] + ".safetensors")


def read_config(data: Path, description: Description) -> DatasetConfig:
    """How a data set was made. Raises M2MError if another version of m2m has made it."""
    try:
        return DatasetConfig.model_validate(description.as_written["config"])
    except ValidationError as error:
        raise not_a_data_set(data, "its config is of another version of m2m") from error


def open_shard(path: Path) -> Any:
    """A shard, opened but not read: a `safetensors.safe_open`. Raises M2MError if it cannot be opened."""
    try:
        require_file(path, MAX_SHARD_BYTES, "a shard")
        return safe_open(path, framework="numpy")
    except (OSError, SafetensorError, M2MError) as error:
        raise M2MError(
            f"cannot read the shard {path} ({error}); delete it and run 'm2m dataset build' again."
        ) from error


class ShardReader:
    """The shards of a data set's split that are there, of one that is being built too. Every access reads just what it needs.

    Raises M2MError if `data` is not a data set, or no shard of the split is there; and so do its methods if a shard is damaged.
    """

    def __init__(self, data: Path, split: str) -> None:
        description = read_description(data)
        self.config, self.instruments = read_config(data, description), description.instruments
        if not description.files.get(split):
            raise M2MError(
                f"{data} has no files in its split {split!r}; build one of three MIDI files or more, or name some with --split."
            )
        self.files: list[str] = []
        self._missing = {name: shard_path(data, split, name) for name in description.files[split]}
        self._shards: list[Any] = []
        self.refresh()
        if not self.files:
            raise M2MError(f"{data} has no finished shard in its split {split!r}; run 'm2m dataset build' to the end.")

    def __len__(self) -> int:
        return len(self.files)

    @property
    def missing(self) -> int:
        """Files of the split whose shard is not there yet."""
        return len(self._missing)

    @property
    def longest(self) -> int:
        """Frames that a mel has at most, those of missing files included."""
        return int(self.config.seconds * self.config.mel.frame_rate)

    def refresh(self) -> None:
        """Take in the shards that a build has finished since; they come after those that were there."""
        for name in [name for name, path in self._missing.items() if path.is_file()]:
            self._shards.append(open_shard(self._missing.pop(name)))
            self.files.append(name)

    def require(self, mel: MelSpec, instruments: Mapping[str, int]) -> None:
        """Raise M2MError unless the data set has this mel and these instruments."""
        if mel != self.config.mel:
            raise M2MError(
                f"model and data set have different mels: {', '.join(mel.differences(self.config.mel))}; give both the same."
            )
        missing = dict(instruments.items() - self.instruments.items())
        if missing:
            raise M2MError(f"the data set has no {_listed(missing)}; it has {_listed(self.instruments)}.")

    def notes(self, index: int, instrument: str) -> NDArray[np.float64]:
        """The notes that an instrument plays in file `index`: (notes, 4) float64, start and end in s, pitch, velocity."""
        return np.asarray(self._slice(index, f"{instrument}/notes")[:])

    def frames(self, index: int, instrument: str) -> int:
        """Length of an instrument's mel in file `index`, frames."""
        return int(self._slice(index, f"{instrument}/mel").get_shape()[0])

    def mel(self, index: int, instrument: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Log-mel of frames start..stop: (frames, n_mels) float32."""
        return self._part(index, f"{instrument}/mel", start, stop).astype(np.float32)

    def audio(self, index: int, instrument: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Samples start..stop: (samples,) float32, -1..1."""
        return self._part(index, f"{instrument}/audio", start, stop).astype(np.float32) / 32767.0

    def _part(self, index: int, key: str, start: int, stop: int | None) -> NDArray[Any]:
        whole = self._slice(index, key)
        length = whole.get_shape()[0]  # of a slice that reaches beyond, safetensors makes an error, numpy a shorter one
        part: NDArray[Any] = whole[start : length if stop is None else min(stop, length)]
        return part

    def _slice(self, index: int, key: str) -> Any:
        try:
            return self._shards[index].get_slice(key)
        except SafetensorError as error:
            raise M2MError(
                f"the shard of {self.files[index]} lacks {key}; delete it and run 'm2m dataset build' again."
            ) from error


def _listed(instruments: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({program})" for name, program in sorted(instruments.items(), key=lambda pair: pair[1]))


def read_padded(
    read: Callable[[int, int], NDArray[np.float32]], start: int, stop: int, beyond: float
) -> NDArray[np.float32]:
    """Rows `start` to `stop` of a recording, also before its beginning and after its end.

    read: gives rows a..b, or those of them that there are: (rows, ...) float32. beyond: the value of those that there are not.
    Returned: (stop - start, ...) float32.

    >>> read_padded(lambda a, b: np.float32([1, 2, 3])[a:b], -1, 2, 0.0).tolist()
    [0.0, 1.0, 2.0]
    """
    found = read(max(0, start), max(0, stop))
    before = min(stop, 0) - min(start, 0)
    after = stop - start - before - len(found)
    pad = [(before, after)] + [(0, 0)] * (found.ndim - 1)
    return np.pad(found, pad, constant_values=np.float32(beyond))
