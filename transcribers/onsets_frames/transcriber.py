"""The transcriber `onsets-frames`: the network over windows of a stream, and the decoder after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from m2m.core.mel import log_mel
from m2m.core.model_folders import find_model
from m2m.core.transcriber import Transcriber, TranscriberOptions
from m2m.transcribers.onsets_frames.decoding import NoteDecoder
from m2m.transcribers.onsets_frames.network import KIND, SILENCE, load_network

Array = NDArray[np.float32]
WINDOW, CONTEXT = 468, 62  # frames computed at once (15 s), and those on each side that only inform the LSTMs (2 s)


class OnsetsFramesOptions(TranscriberOptions):
    """What a user may set with --transcriber-opt NAME=VALUE."""

    model: str = Field("onsets-frames", description="folder of the model, or the name of one that ships")
    onset_threshold: float | None = Field(
        None, gt=0, lt=1, description="probability from which a peak is an onset; None: the model's own"
    )
    frame_threshold: float | None = Field(
        None, gt=0, lt=1, description="probability below which a note ends; None: the model's own"
    )


class OnsetsFrames(Transcriber):
    """Notes of any of the piano's 88 keys, on any instrument; drums are not told."""

    API_VERSION = 1
    Options = OnsetsFramesOptions
    options: OnsetsFramesOptions

    def __init__(self, options: OnsetsFramesOptions | None = None, device: str = "cpu") -> None:
        super().__init__(options, device)
        network, digest = load_network(find_model(KIND, self.options.model, {}))
        self.config, self.network = network.config, network.to(device)
        self.provenance = {"weights": digest}
        self.sample_rate = self.config.mel.sample_rate

    def stream(self, blocks: Iterable[Array], sample_rate: int) -> Iterator[NDArray[np.void]]:
        """Yield the notes that have ended, window by window: (notes,) of `TRANSCRIBED_NOTE` each.

        blocks: each (samples,) float32, mono, -1..1.
        """
        config, options = self.config, self.options
        decoder = NoteDecoder(
            1 / config.mel.frame_rate,
            options.onset_threshold or config.onset_threshold,
            options.frame_threshold or config.frame_threshold,
        )
        samples = 0

        def counted() -> Iterator[Array]:
            nonlocal samples
            for block in blocks:
                samples += len(block)
                yield block

        for mel, first, last in self._windows(counted()):
            yield decoder.feed(*self._probabilities(mel, first, last))
        yield decoder.finish(samples / sample_rate)

    def _windows(self, blocks: Iterator[Array]) -> Iterator[tuple[Array, int, int]]:
        """Windows of log-mel with their context, (frames, n_mels), and which frames of each are its own, first..last.

        Windows lie where the audio's length alone has them, not where blocks end: the same notes come out for any cut.
        """
        spec = self.config.mel
        hop, reach = spec.hop_length, spec.n_fft // 2 // spec.hop_length + 1  # frames that an FFT reaches to each side
        audio = np.zeros(0, np.float32)  # from frame `begin` on
        begin = own = 0  # of the window that is next: where its own frames begin
        for block in blocks:
            audio = np.concatenate([audio, block])
            while len(audio) >= (own + WINDOW + CONTEXT + reach - begin) * hop:
                yield self._window(audio, begin, own, own + WINDOW, own + WINDOW + CONTEXT)
                own += WINDOW
                cut = max(0, own - CONTEXT - reach)
                audio, begin = audio[(cut - begin) * hop :], cut
        end = begin - (-len(audio) // hop)
        while own < end:
            yield self._window(audio, begin, own, min(own + WINDOW, end), min(own + WINDOW + CONTEXT, end))
            own += WINDOW

    def _window(self, audio: Array, begin: int, first: int, last: int, end: int) -> tuple[Array, int, int]:
        """Frames first..last with their context. audio: (samples,) from frame `begin` on. end: the last frame of the context."""
        start = max(first - CONTEXT, 0)
        hop, reach = self.config.mel.hop_length, self.config.mel.n_fft // 2 // self.config.mel.hop_length + 1
        from_frame = max(start - reach, begin)
        part = audio[(from_frame - begin) * hop : (end + reach - begin) * hop]
        mel = log_mel(part, self.config.mel)[start - from_frame : end - from_frame]
        return mel, first - start, last - start

    @torch.inference_mode()
    def _probabilities(self, mel: Array, first: int, last: int) -> tuple[Array, Array, Array]:
        """Of frames first..last of a window: onsets, frames, velocities, each (last - first, 88) float32."""
        if first == 0:
            silence = np.full((SILENCE, mel.shape[1]), self.config.mel.silence, np.float32)
            mel, first, last = np.concatenate([silence, mel]), SILENCE, last + SILENCE
        onset, frame, velocity = self.network(torch.from_numpy(mel)[None].to(self.device))
        onset, frame, velocity = (x[0, first:last].float().cpu() for x in (onset, frame, velocity))
        return onset.sigmoid().numpy(), frame.sigmoid().numpy(), velocity.numpy()
