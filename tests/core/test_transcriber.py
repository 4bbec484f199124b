"""The contract of transcribers: `stream`, `transcribe` on top of it, and classes as they were written before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from m2m.core.notes import NoteArray, note_array
from m2m.core.transcriber import Transcriber, plain_notes, transcribed_notes

Array = NDArray[np.float32]


class Counter(Transcriber):
    """One note for each second of audio, at the level of its first sample."""

    API_VERSION = 1
    sample_rate = 1_000

    def stream(self, blocks: Iterable[Array], sample_rate: int) -> Iterator[NDArray[np.void]]:
        heard = 0
        for block in blocks:
            seconds = range(heard // sample_rate, (heard + len(block)) // sample_rate)
            yield transcribed_notes((float(s), s + 1.0, 60 - s, 80, 0.5) for s in seconds)
            heard += len(block)


class Whole(Transcriber):
    """As a transcriber was written before there was `stream`."""

    API_VERSION = 1

    def transcribe(self, wave: Array, sample_rate: int) -> NoteArray:
        return note_array([(0.0, len(wave) / sample_rate, 60, 90)])


def test_transcribe_resamples_streams_and_sorts() -> None:
    notes = Counter().transcribe(np.zeros(3 * 8_000, np.float32), 8_000)
    assert notes.tolist() == [(0.0, 1.0, 60, 80), (1.0, 2.0, 59, 80), (2.0, 3.0, 58, 80)]
    assert not notes.flags.writeable
    assert len(Counter().transcribe(np.zeros(0, np.float32), 8_000)) == 0


def test_a_class_with_transcribe_alone_streams() -> None:
    blocks = [np.zeros(600, np.float32), np.zeros(400, np.float32)]
    whole = Whole()  # type: ignore[abstract]  # it gets a stream where it is defined
    (notes,) = whole.stream(blocks, 1_000)
    assert plain_notes(notes).tolist() == [(0.0, 1.0, 60, 90)]
    assert np.isnan(notes["confidence"]).all()


def test_a_class_with_neither_is_incomplete() -> None:
    class Neither(Transcriber):
        pass

    with pytest.raises(TypeError, match="stream"):
        Neither()  # type: ignore[abstract]


def test_a_stream_may_have_a_transcribe_of_its_own() -> None:
    class Both(Counter):
        def transcribe(self, wave: Array, sample_rate: int) -> NoteArray:
            return super().transcribe(wave, sample_rate)[:1]

    assert len(Both().transcribe(np.zeros(3_000, np.float32), 1_000)) == 1
    assert sum(map(len, Both().stream([np.zeros(3_000, np.float32)], 1_000))) == 3


def test_notes_are_put_in_order() -> None:
    notes = plain_notes(transcribed_notes([(1.0, 2.0, 64, 9, 0.1), (0.5, 3.0, 60, 8, 0.2), (0.5, 1.0, 50, 7, 0.3)]))
    assert notes["pitch"].tolist() == [50, 60, 64]
