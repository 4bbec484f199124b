"""Contract: a transcriber turns audio into notes. This is the one file that a transcriber's author reads.

Subclass `Transcriber`, write `stream`, name the class in the entry-point group `m2m.transcribers` of your package, and
`m2m transcribe --transcriber your-name` works the day it is installed:

    [project.entry-points."m2m.transcribers"]
    my-transcriber = "my_package:MyTranscriber"

What m2m promises: mono float32 blocks, finite, nominally -1..1, at the `sample_rate` that you declared (m2m resamples; None
takes any); none of them is empty.

What you promise:
  notes        as `transcribed_notes` makes them, in seconds from the first sample, of the piano's 88 keys, none longer than the
               audio, none empty; in any order and in arrays of any size, empty ones too;
  early        a note is yielded once it is sure, not at the end of the audio;
  cut          the same audio gives the same notes, however it is cut into blocks;
  determinism  the same audio, options and device give the same notes; no global random state is used;
  purity       blocks are not written to; an instance may be used from several threads at once;
  memory       `stream` needs memory that does not grow with the length of the audio;
  failure      raise `M2MError` with one clear sentence for what the user can mend. Anything else that you raise is reported
               with your package's name and version.

`m2m plugins new` writes a package to begin with, `m2m plugins check` holds a transcriber to all of this (m2m.core.testing).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from m2m.core.notes import NOTE, NoteArray, in_order
from m2m.core.recordings import resampled

TRANSCRIBED_NOTE = np.dtype(
    [*NOTE.descr, ("confidence", "f4")]
)  # a note, and how sure it is: 0..1, NaN where that is not told


class TranscriberOptions(BaseModel):
    """Options of a transcriber; a subclass adds its own (`--transcriber-opt name=value`). Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Transcriber(ABC):
    """Audio -> notes.

    API_VERSION: the version of this contract that the class was written for; state it in your class.
    API_OLDEST:  the oldest version that this m2m still loads.
    Options:     the pydantic model of its options.
    sample_rate: Hz of the audio that `stream` is given; None means that it takes any. Options may decide, so an instance may
                 say it of itself.
    provenance:  what decides its notes beside options and device, such as a hash of its weights; text by name.
    """

    API_VERSION: ClassVar[int] = 1
    API_OLDEST: ClassVar[int] = 1
    Options: ClassVar[type[TranscriberOptions]] = TranscriberOptions
    sample_rate: int | None = None
    provenance: Mapping[str, str] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "transcribe" in vars(cls) and cls.stream is Transcriber.stream:  # as the contract was until 0.2
            cls.stream = _whole  # type: ignore[method-assign]

    def __init__(self, options: TranscriberOptions | None = None, device: str = "cpu") -> None:
        """Load what is needed (weights) here, not in `stream`. `device` is a torch device string."""
        self.options = options if options is not None else self.Options()
        self.device = device

    @abstractmethod
    def stream(self, blocks: Iterable[NDArray[np.float32]], sample_rate: int) -> Iterator[NDArray[np.void]]:
        """Yield the notes of audio that comes in blocks, as they are sure: each (notes,) of `TRANSCRIBED_NOTE`.

        blocks: each (samples,) float32, mono, of any size but 0. sample_rate: Hz, the declared one unless that is None.
        Raises M2MError for what the user can mend.
        """

    def transcribe(self, wave: NDArray[np.float32], sample_rate: int) -> NoteArray:
        """The notes of a recording that is in memory: (notes,) as core/score.py's `note_array` makes them.

        wave: (samples,) float32, mono, -1..1. sample_rate: Hz; it is resampled where the class declares another.
        Raises M2MError as `stream` does.
        """
        rate = self.sample_rate or sample_rate
        blocks = resampled([wave] if len(wave) else [], sample_rate, rate)
        return plain_notes(np.concatenate([transcribed_notes([]), *self.stream(blocks, rate)]))


def transcribed_notes(notes: Iterable[tuple[float, float, int, int, float]]) -> NDArray[np.void]:
    """(start, end, pitch, velocity, confidence) tuples as an array, seconds, 21..108, 1..127, 0..1 (or NaN: not told)."""
    return np.array(list(notes), dtype=TRANSCRIBED_NOTE)


def plain_notes(notes: NDArray[np.void]) -> NoteArray:
    """The same notes without their confidence, in order of start, then pitch: (notes,) of `NOTE`, read-only.

    notes: (notes,) of `TRANSCRIBED_NOTE`.

    >>> plain_notes(transcribed_notes([(0.5, 1.0, 64, 80, 0.9)])).tolist()
    [(0.5, 1.0, 64, 80)]
    """
    plain = np.empty(len(notes), NOTE)
    for field in NOTE.names or ():
        plain[field] = notes[field]
    return in_order(plain)


def _whole(self: Transcriber, blocks: Iterable[NDArray[np.float32]], sample_rate: int) -> Iterator[NDArray[np.void]]:
    """`stream` of a class that has only `transcribe`, which wants the whole wave and does not tell how sure it is."""
    wave = np.concatenate([np.empty(0, np.float32), *blocks])
    yield transcribed_notes((*note, np.nan) for note in self.transcribe(wave, sample_rate).tolist())
