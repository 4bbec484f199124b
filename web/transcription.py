"""An uploaded audio recording becomes a score: its notes by the default transcriber, and its own mel beside them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.instrument_classifier import InstrumentClassifier
from m2m.core.instruments import program_name
from m2m.core.mel import Mel, MelSpec, log_mel
from m2m.core.recordings import Recording
from m2m.core.transcription import Scribe, midi_bytes
from m2m.web.limits import RefusedError, ServerLimits
from m2m.web.messages import RecordingInfo

SPEC = MelSpec()  # of the picture: the recipe of the models that ship


@dataclass(frozen=True, eq=False)
class Heard:
    """What is kept of a recording beside its score. mel: (frames, n_mels) float16 log-mel of `SPEC`."""

    info: RecordingInfo
    mel: NDArray[np.float16]

    def stretch(self, start: float, stop: float) -> Mel:
        """Its mel from `start` to `stop`, in seconds; silence where it has ended."""
        first, last = round(start * SPEC.frame_rate), round(stop * SPEC.frame_rate)
        values = np.full((last - first, SPEC.n_mels), SPEC.silence, np.float32)
        part = self.mel[first:last]
        values[: len(part)] = part
        return Mel(values, SPEC)


class Transcriptions:
    """The transcriber and the classifier of a server, loaded when the first recording comes; for one thread."""

    def __init__(self, limits: ServerLimits) -> None:
        self.limits = limits

    @cached_property
    def _scribe(self) -> Scribe:
        return Scribe()

    @cached_property
    def _classifier(self) -> InstrumentClassifier:
        return InstrumentClassifier()

    def read(self, data: bytes, name: str, stopped: Callable[[], bool]) -> tuple[bytes, Heard]:
        """The notes of a recording as a MIDI file, on the instrument that is heard, and what is kept of the recording.

        data: a file that `m2m transcribe` reads. name: of it. stopped: whether nobody waits for it any more.
        Raises RefusedError for what is no audio, too long or without a note, or takes too long, and where the transcriber fails.
        """
        deadline = time.monotonic() + self.limits.transcription_seconds
        try:
            recording = Recording(Path(name), data)
            audio = self._audio(recording)  # all of it is read here, so what fails below is not the file's fault
        except M2MError as error:
            raise RefusedError(422, "not-audio", str(error)) from error
        try:
            found = self._scribe.transcribe(recording, lambda: not stopped() and time.monotonic() < deadline)
        except M2MError as error:
            raise RefusedError(409, "not-usable", str(error)) from error
        if stopped():
            raise RefusedError(408, "cancelled", f"nobody waited for the notes of {name} any more.")
        if time.monotonic() >= deadline:
            most = f"{self.limits.transcription_seconds:g} s, the most this server gives it"
            raise RefusedError(413, "too-long", f"to transcribe {name} takes more than {most}.")
        if not len(found.notes):
            raise RefusedError(422, "nothing-to-play", f"{name}: no note was heard in it.")
        program, instrument, probability = self._instrument(audio)
        info = RecordingInfo(
            name=name,
            seconds=found.seconds,
            program=program,
            instrument=instrument,
            probability=probability,
            confidence=found.sureness,
            unsure=found.unsure,
        )
        return midi_bytes(found.score(program)), Heard(info, log_mel(audio, SPEC).astype(np.float16))

    def _audio(self, recording: Recording) -> NDArray[np.float32]:
        """(samples,) at the rate of `SPEC`. Raises RefusedError where it is too long, whatever its header tells."""
        most, seconds, blocks = self.limits.score_seconds, recording.seconds, list[NDArray[np.float32]]()
        if seconds <= most:
            seconds = 0.0
            for block in recording.blocks(SPEC.sample_rate):
                blocks.append(block)
                seconds += len(block) / SPEC.sample_rate
                if seconds > most + 1:  # an MP3's header tells its length but about
                    break
            else:
                return np.concatenate([np.empty(0, np.float32), *blocks])
        about = f"{seconds / 60:.1f} minutes, {most / 60:g} are the most this server takes"
        raise RefusedError(413, "too-long", f"{recording.path} lasts {about}.")

    def _instrument(self, audio: NDArray[np.float32]) -> tuple[int, str, float]:
        """The General MIDI program that plays, its name and probability; the piano where the recording is too quiet."""
        try:
            heard = self._classifier.classify([audio])
        except M2MError:
            return 0, "", 0.0
        return heard.program, program_name(heard.program), heard.probability
