"""The silence gate: samples are zero where the mel is silent. A network leaves a faint noise there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from m2m.core.mel import Mel

Array = NDArray[np.float32]

THRESHOLD = 1e-3  # nepers above the floor, from which a band sounds: more than rounding
UNREAD, SILENT, SOUNDING = -1, 0, 1


class GatedMel(Mel):
    """A mel that remembers which of its frames sound.

    The gate needs this long after the vocoder has read a frame, and a `LazyMel` computes a frame again where it is read again.
    """

    _mel: Mel
    _noted: NDArray[np.int8]  # (frames,)

    def __init__(self, mel: Mel) -> None:
        fields = {"_mel": mel, "_noted": np.full(mel.frames, UNREAD, np.int8), "spec": mel.spec}
        beside = {"notes": mel.notes, "timbre": mel.timbre, "percussive": mel.percussive}
        self.__dict__ |= fields | beside  # frozen to all others

    @property
    def frames(self) -> int:
        """Length in frames."""
        return self._mel.frames

    @property
    def values(self) -> Array:  # type: ignore[override]
        """The whole of it, (frames, n_mels)."""
        return self.window(0, self.frames)

    def window(self, first: int, last: int) -> Array:
        """Frames first..last: (last - first, n_mels)."""
        values = self._mel.window(first, last)
        self._noted[first:last] = np.where(values.max(axis=1) > self.spec.silence + THRESHOLD, SOUNDING, SILENT)
        return values

    def without_notes(self) -> Mel:
        """The same mel with nothing but the spectrogram to go by."""
        return self._mel.without_notes()

    def sounding(self, first: int, last: int) -> NDArray[np.bool_]:
        """Which of frames first..last sound: (last - first,). Only frames that were never read are read for it."""
        unread = first + np.flatnonzero(self._noted[first:last] == UNREAD)
        if len(unread):
            self.window(int(unread[0]), int(unread[-1]) + 1)
        return self._noted[first:last] == SOUNDING


def gate_silence(mel: GatedMel, blocks: Iterable[Array]) -> Iterator[Array]:
    """Set a wave to zero between two silent frames: those whose bands are all at the mel's floor.

    Nothing audible is lost, since a frame's window is much longer than the hop to the next frame. A hop with one silent frame is
    faded linearly, 8 ms in the reference's mel.

    blocks: (samples,) float32 each, of any lengths, from the beginning of the wave on.

    Yields each block in the same shape.
    """
    hop, at = mel.spec.hop_length, 0
    for block in blocks:
        first, last = at // hop, -(-(at + len(block)) // hop) + 1
        sounding = mel.sounding(first, last)
        if sounding.all():
            yield block
        else:
            places = np.arange(at, at + len(block)) / hop
            yield block * np.interp(places, np.arange(first, first + len(sounding)), sounding).astype(np.float32)
        at += len(block)
