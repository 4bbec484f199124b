"""Basic Pitch by its ONNX model alone: windows of audio, activations, notes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from m2m.core.errors import UnavailableError
from m2m.core.transcriber import Transcriber, TranscriberOptions, transcribed_notes
from m2m_basic_pitch.decoding import KEYS, Decoder, Note

Array = NDArray[np.float32]
RATE, HOP, SAMPLES = (
    22_050,
    256,
    43_844,
)  # Hz; samples a frame; samples that the model takes, of which it makes 172 frames
LEFT, KEPT = 15, 141  # frames dropped on the left of a window, and kept; the 16 on its right are the next one's
MODEL = Path("saved_models", "icassp_2022", "nmp.onnx")
INPUT, ONSETS, FRAMES = "serving_default_input_2:0", "StatefulPartitionedCall:2", "StatefulPartitionedCall:1"


class BasicPitchOptions(TranscriberOptions):
    """What a user may set with --transcriber-opt NAME=VALUE; the defaults are Basic Pitch's."""

    onset_threshold: float = Field(0.5, gt=0, lt=1, description="activation from which a peak is an onset")
    frame_threshold: float = Field(0.3, gt=0, lt=1, description="activation below which a note fades")
    shortest: float = Field(0.1277, ge=0, le=10, description="seconds that a note is longer than")


class BasicPitch(Transcriber):
    """Notes of any instrument; see README.md for what of Basic Pitch is left out."""

    API_VERSION = 1
    Options = BasicPitchOptions
    options: BasicPitchOptions
    sample_rate = RATE

    def __init__(self, options: BasicPitchOptions | None = None, device: str = "cpu") -> None:
        super().__init__(options, device)
        self.session = _session(find_model())

    def stream(self, blocks: Iterable[Array], sample_rate: int) -> Iterator[NDArray[np.void]]:
        """Yield notes as they end, window by window: (notes,) of `TRANSCRIBED_NOTE` each."""
        shortest = round(self.options.shortest * RATE / HOP)
        decoder = Decoder(HOP / RATE, self.options.onset_threshold, self.options.frame_threshold, shortest)
        audio = np.zeros(LEFT * HOP, np.float32)  # the first window is dropped on its left, too
        heard = done = 0  # samples, frames
        for block in blocks:
            heard, audio = heard + len(block), np.concatenate([audio, block])
            while len(audio) >= SAMPLES:
                yield transcribed_notes(decoder.feed(*self._activations(audio[:SAMPLES])))
                audio, done = audio[KEPT * HOP :], done + KEPT
        frames = -(-heard // HOP)  # of all the audio
        while done < frames:
            window = np.pad(audio[:SAMPLES], (0, max(0, SAMPLES - len(audio))))
            onsets, held = self._activations(window)
            yield transcribed_notes(decoder.feed(onsets[: frames - done], held[: frames - done]))
            audio, done = audio[KEPT * HOP :], done + KEPT
        yield transcribed_notes(_within(decoder.finish(), heard / RATE))

    def _activations(self, window: Array) -> tuple[Array, Array]:
        """Onsets and frames of a window, (KEPT, 88) each. window: (SAMPLES,)."""
        onsets, frames = self.session.run([ONSETS, FRAMES], {INPUT: np.ascontiguousarray(window)[None, :, None]})
        kept = slice(LEFT, LEFT + KEPT)
        return onsets[0, kept, :KEYS], frames[0, kept, :KEYS]


def find_model() -> Path:
    """The model in the package basic-pitch, which is not imported. Raises UnavailableError where it is missing."""
    spec = importlib.util.find_spec("basic_pitch")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder, MODEL)).is_file():
            return path
    raise UnavailableError("Basic Pitch's model is not installed: pip install --no-deps basic-pitch==0.4.0")


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the windows are small
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _within(notes: Iterable[Note], seconds: float) -> Iterator[Note]:
    """Notes cut off where the audio ends."""
    return ((start, min(end, seconds), *rest) for start, end, *rest in notes if start < seconds)
