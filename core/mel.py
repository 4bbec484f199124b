"""The mel spectrogram: the contract between acoustic model and vocoder, and the only way from wave to log-mel in m2m.

A *frame* is one hop of audio: 128 samples, 8 ms at 16 kHz. Frame `t` is centred on sample `t * hop_length`, the wave is
padded with zeros on both sides, and a wave of `n` samples has `ceil(n / hop_length)` frames; a vocoder turns `T` frames
back into exactly `T * hop_length` samples.

Vocoders fail quietly when they are fed a mel of another recipe, so the whole recipe is a `MelSpec`, it has a hash, and
every model and vocoder carries the one it was made for.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from m2m.core.errors import M2MError

if TYPE_CHECKING:
    from m2m.core.score import NoteArray


ArrayOrTensor = TypeVar("ArrayOrTensor", NDArray[np.float32], Tensor)

MAX_FRAME_RATE = 4000  # frames a second


class MelSpec(BaseModel):
    """A mel spectrogram's full recipe. The defaults are the reference system's (arXiv 1811.00223), the window ours.

    >>> MelSpec().frame_rate
    125.0
    >>> MelSpec().differences(MelSpec(fmax=7600.0))
    {'fmax': (8000.0, 7600.0)}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The upper bounds are far beyond use; they keep a damaged or hostile config from asking for all memory.
    sample_rate: int = Field(16_000, gt=0, le=768_000, description="Hz")
    hop_length: int = Field(128, gt=0, le=65_536, description="samples a frame: 8 ms")
    n_fft: int = Field(1024, gt=0, le=65_536, description="Hann window and FFT, samples: 64 ms")
    n_mels: int = Field(80, gt=0, le=4096, description="triangular filters")
    fmin: float = Field(0.0, ge=0, description="Hz, lower edge of the first filter")
    fmax: float = Field(8_000.0, gt=0, description="Hz, upper edge of the last filter")
    mel_scale: Literal["htk", "slaney"] = "htk"
    filter_norm: Literal["peak", "area"] = Field("peak", description="filters of height 1, or of equal area (Slaney)")
    magnitude: Literal["sine", "raw"] = Field("sine", description="a full-scale sine reads 1 (0 dB), or the bare |FFT|")
    power: Literal[1, 2] = Field(1, description="exponent of the magnitude before the filters")
    log: Literal["natural", "log10"] = "natural"
    floor: float = Field(1e-5, gt=0, lt=1, description="smallest value before the logarithm: -100 dB")

    @model_validator(mode="after")
    def _fits_together(self) -> MelSpec:
        if not self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"fmin {self.fmin:g} < fmax {self.fmax:g} <= sample_rate / 2 = {self.sample_rate / 2:g} does not hold"
            )
        if not 1 <= self.frame_rate <= MAX_FRAME_RATE:
            raise ValueError(
                f"1 <= sample_rate / hop_length = {self.frame_rate:g} <= {MAX_FRAME_RATE} frames a second does not hold"
            )
        return self

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def silence(self) -> float:
        """The log-mel value of silence: the logarithm of `floor`."""
        return math.log(self.floor) if self.log == "natural" else math.log10(self.floor)

    @property
    def scale(self) -> float:
        """What `scaled` multiplies log-mel values with."""
        return 2 / abs(self.silence)

    def scaled(self, values: ArrayOrTensor) -> ArrayOrTensor:
        """A log-mel as networks read it: the floor is -1, a full-scale sine +1.

        values: (..., n_mels) float32 log-mel, array or tensor. Returned is the same shape and kind, without unit.

        >>> spec = MelSpec()
        >>> spec.scaled(np.float32([spec.silence, spec.silence / 2, 0])).tolist()
        [-1.0, 0.0, 1.0]
        """
        return 1 + values * self.scale

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name this recipe."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()[:12]

    def differences(self, other: MelSpec) -> dict[str, tuple[Any, Any]]:
        """Field by field, where two recipes disagree: name -> (mine, the other's)."""
        mine, theirs = self.model_dump(), other.model_dump()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


@dataclass(frozen=True)
class Mel:
    """A log-mel on its way to a vocoder, with the side information that a vocoder may use.

    values: (frames, n_mels) float32, in the unit of `spec` (natural-log magnitude by default).
    notes:  the notes that sound in it, in seconds from the first frame, or None when only a spectrogram is at hand.
    timbre: (frames or 1, timbre dimensions) float32, or None.
    percussive: the strikes of a drum kit, which have no pitch, in seconds from the first frame, or None. They are not in `notes`.
    """

    values: NDArray[np.float32]
    spec: MelSpec
    notes: NoteArray | None = None
    timbre: NDArray[np.float32] | None = None
    percussive: NoteArray | None = None

    def __post_init__(self) -> None:
        shape = self.values.shape
        if self.values.ndim != 2 or shape[1] != self.spec.n_mels:
            raise M2MError(
                f"a mel of shape {shape} came, (frames, {self.spec.n_mels}) was wanted: check the axes and the number of bands."
            )
        if not np.isfinite(self.values).all():
            raise M2MError("the mel holds NaN or infinite values: the model that made it, or its weights, are broken.")

    @property
    def frames(self) -> int:
        """Length in frames."""
        return len(self.values)

    @property
    def samples(self) -> int:
        """Length in samples of the audio that a vocoder makes of it."""
        return self.frames * self.spec.hop_length

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.spec.sample_rate

    def window(self, first: int, last: int) -> NDArray[np.float32]:
        """Frames first..last: (last - first, n_mels). Of a lazy mel only these frames are computed, unlike `values`."""
        return self.values[first:last]

    def without_notes(self) -> Mel:
        """The same mel with nothing but the spectrogram to go by."""
        return replace(self, notes=None, percussive=None)


class LazyMel(Mel):
    """A mel that is computed when it is read, so that the first block of audio can be played before the last frame is known.

    spans: what is computed at a time, (first, last) frames, ascending from 0 without a gap.
    make:  (first, last) -> values of one span. The last two spans are kept; an earlier one is computed again when it is read.
    """

    _make: Callable[[int, int], NDArray[np.float32]]
    _spans: tuple[tuple[int, int], ...]
    _made: dict[tuple[int, int], NDArray[np.float32]]
    _lock: threading.Lock  # a vocoder may read from several threads

    def __init__(
        self,
        make: Callable[[int, int], NDArray[np.float32]],
        spans: Sequence[tuple[int, int]],
        spec: MelSpec,
        notes: NoteArray | None = None,
        timbre: NDArray[np.float32] | None = None,
        percussive: NoteArray | None = None,
    ) -> None:
        fields = {"_make": make, "_spans": tuple(spans), "_made": {}, "_lock": threading.Lock(), "spec": spec}
        beside = {"notes": notes, "timbre": timbre, "percussive": percussive}
        self.__dict__ |= fields | beside  # frozen to all others

    @property
    def frames(self) -> int:
        """Length in frames."""
        return self._spans[-1][1] if self._spans else 0

    @cached_property
    def values(self) -> NDArray[np.float32]:  # type: ignore[override]
        """The whole of it, (frames, n_mels)."""
        return self.window(0, self.frames)

    def window(self, first: int, last: int) -> NDArray[np.float32]:
        """Frames first..last: (last - first, n_mels)."""
        first, last, _ = slice(first, last).indices(self.frames)
        with self._lock:
            parts = [self._span(span)[max(0, first - span[0]) : last - span[0]] for span in self._spans_of(first, last)]
        if len(parts) == 1:
            return parts[0]
        values = np.concatenate([np.empty((0, self.spec.n_mels), np.float32), *parts])
        values.flags.writeable = False
        return values

    def without_notes(self) -> Mel:
        """The same mel with nothing but the spectrogram to go by."""
        return LazyMel(self._make, self._spans, self.spec, None, self.timbre)

    def _spans_of(self, first: int, last: int) -> list[tuple[int, int]]:
        return [span for span in self._spans if span[0] < last and first < span[1]]

    def _span(self, span: tuple[int, int]) -> NDArray[np.float32]:
        if span not in self._made:
            values = Mel(self._make(*span), self.spec).values  # which checks them
            values.flags.writeable = False  # a vocoder must not write into it
            self._made[span] = values
            while len(self._made) > 2:
                del self._made[next(iter(self._made))]
        return self._made[span]


def hz_to_mel(hz: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    """Frequency in Hz to mel: O'Shaughnessy's formula ("htk") or Slaney's, linear below 1 kHz and logarithmic above.

    hz: any shape, float64, from 0 up. Returned is the same shape.
    """
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    return np.where(hz < 1000.0, hz * 3.0 / 200.0, 15.0 + 27.0 * np.log(np.maximum(hz, 1000.0) / 1000.0) / np.log(6.4))


def mel_to_hz(mel: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    """The inverse of `hz_to_mel`.

    mel: any shape, float64, from 0 up. Returned is the same shape, in Hz.
    """
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * 6.4 ** ((np.maximum(mel, 15.0) - 15.0) / 27.0))


@lru_cache(maxsize=8)
def filter_bank(spec: MelSpec) -> Tensor:
    """Triangular filters spaced evenly in mel: (n_mels, n_fft // 2 + 1) float32."""
    low, high = hz_to_mel(np.array([spec.fmin, spec.fmax]), spec.mel_scale)
    edges = mel_to_hz(np.linspace(low, high, spec.n_mels + 2), spec.mel_scale)  # (n_mels + 2,) Hz
    bins = np.linspace(0.0, spec.sample_rate / 2, spec.n_fft // 2 + 1)  # (n_bins,) Hz
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))  # (n_mels, n_bins)
    if spec.filter_norm == "area":
        filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(filters.astype(np.float32))


def window(spec: MelSpec) -> Tensor:
    """The periodic Hann window of the analysis: (n_fft,)."""
    return torch.hann_window(spec.n_fft)


def magnitude_scale(spec: MelSpec) -> float:
    """What the bare |FFT| is multiplied with: 2 / sum(window) makes a full-scale sine read 1."""
    return 2.0 / float(window(spec).sum()) if spec.magnitude == "sine" else 1.0


def log_mel(wave: NDArray[np.floating[Any]] | Tensor, spec: MelSpec) -> NDArray[np.float32]:
    """The log-mel of a mono wave: (ceil(samples / hop_length), n_mels) float32.

    wave: (samples,) of any float dtype, -1..1.

    Works through the wave a minute at a time, so that an hour needs no more memory than its mel.
    """
    x = torch.as_tensor(wave, dtype=torch.float32)
    frames = -(-len(x) // spec.hop_length)
    half = spec.n_fft // 2
    x = torch.nn.functional.pad(x, (half, half + spec.hop_length))
    block = max(1, int(60 * spec.frame_rate))
    win, scale, filters = window(spec), magnitude_scale(spec), filter_bank(spec)
    out = np.empty((frames, spec.n_mels), np.float32)
    for start in range(0, frames, block):
        count = min(block, frames - start)
        part = x[start * spec.hop_length : (start + count - 1) * spec.hop_length + spec.n_fft]
        spectrum = torch.stft(part, spec.n_fft, spec.hop_length, window=win, center=False, return_complex=True)
        mel = filters @ (spectrum.abs() * scale).pow(spec.power)  # (n_mels, count)
        mel = mel.clamp_min(spec.floor)
        out[start : start + count] = (mel.log() if spec.log == "natural" else mel.log10()).T.numpy()
    return out


def linear_mel(values: NDArray[np.float32], spec: MelSpec) -> NDArray[np.float32]:
    """Undo the logarithm.

    values: (..., n_mels) float32 log-mel. Returned is the mel, of the same shape.
    """
    return np.exp(values) if spec.log == "natural" else np.power(np.float32(10), values)
