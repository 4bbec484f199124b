"""A recording of any length, read block by block: mono, and at the sample rate that is wanted."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from m2m.core.audio import MAX_BYTES, named
from m2m.core.errors import M2MError
from m2m.core.system.files import require_file

BLOCK_SECONDS = 4.0  # read at once
RATES = (1_000, 768_000)  # Hz, the lowest and the highest that are resampled


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from its beginning to its end: soundfile would seek after each block, and an MP3's decoder does not
    arrive exactly where it was.
    """

    def seekable(self) -> bool:
        return False


class Recording:
    """An audio file that is read as far as it is asked for, so that hours need no more memory than seconds.

    path: of a WAV, FLAC, OGG, MP3 or any other file that libsndfile reads. data: the file's bytes where they are in memory;
    `path` is what errors call it then. sample_rate: Hz. samples: as its header tells, which of a damaged file may be more than
    there are.
    Raises M2MError for a file that is missing, too large, no audio, without samples, or of a rate beyond `RATES`.
    """

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        self.path, self._data = path, data
        if data is None:
            require_file(path, MAX_BYTES, "an audio file")
        try:
            about = soundfile.info(self._file())
        except (OSError, ValueError, soundfile.LibsndfileError) as error:
            raise self._unreadable(error) from error
        self.sample_rate, self.samples = int(about.samplerate), int(about.frames)
        if not self.samples:
            raise M2MError(f"{path} holds no audio: it has no samples.")
        if not RATES[0] <= self.sample_rate <= RATES[1]:
            low, high = RATES
            raise M2MError(f"{path} is at {self.sample_rate:,} Hz, a rate of {low:,} to {high:,} Hz was wanted.")

    @property
    def seconds(self) -> float:
        """Length in seconds, as its header tells."""
        return self.samples / self.sample_rate

    def blocks(self, sample_rate: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Its audio, channels averaged, at another rate if one is given: each (samples,) float32, finite, not empty.

        Raises M2MError where it cannot be read on, or holds NaN or infinite samples.
        """
        return resampled(self._blocks(), self.sample_rate, sample_rate or self.sample_rate)

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        size = max(1, int(BLOCK_SECONDS * self.sample_rate))
        try:
            with _Forward(self._file()) as file:
                while len(block := file.read(size, dtype="float32", always_2d=True)):
                    mono = block.mean(axis=1)
                    if not np.isfinite(mono).all():
                        raise M2MError(f"{self.path} holds NaN or infinite samples: it is damaged, write it anew.")
                    yield mono
        except (OSError, ValueError, soundfile.LibsndfileError) as error:
            raise self._unreadable(error) from error

    def _file(self) -> Path | io.BytesIO | bytes:
        return named(self.path) if self._data is None else io.BytesIO(self._data)

    def _unreadable(self, error: Exception) -> M2MError:
        """What libsndfile says, without the object that it read from."""
        return M2MError(f"cannot read {self.path}: {getattr(error, 'error_string', error)}")


def resampled(blocks: Iterable[NDArray[np.float32]], given: int, wanted: int) -> Iterator[NDArray[np.float32]]:
    """Blocks of audio at another sample rate, as long in seconds and not delayed; their sizes become others, none is empty.

    blocks: each (samples,) float32. given, wanted: Hz. Yielded are blocks of (samples,) float32.
    """
    if given == wanted:
        yield from blocks
        return
    resampler = soxr.ResampleStream(given, wanted, 1, dtype="float32", quality="HQ")
    for block in blocks:
        if len(done := resampler.resample_chunk(block)):
            yield done
    if len(done := resampler.resample_chunk(np.empty(0, np.float32), last=True)):
        yield done
