"""The suite of transcribers: every promise of core/transcriber.py, by notes that are known."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar
from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray

from m2m.core.notes import HIGHEST_KEY, LOWEST_KEY, NoteArray, note_array
from m2m.core.recordings import resampled
from m2m.core.score import Score, Track, constant
from m2m.core.testing.memory import peak_memory
from m2m.core.testing.suite import BrokenPromiseError, Conformance, made, require
from m2m.core.transcriber import TRANSCRIBED_NOTE, Transcriber, plain_notes, transcribed_notes

Array = NDArray[np.float32]
SCALE = (60, 62, 64, 65, 67, 69, 71, 72)  # C major from middle C
NOTE_SECONDS = 0.5
ANY_RATES = (22_050, 44_100)  # tried where it takes any rate


class TranscriberConformance(Conformance):
    """onset: seconds by which the onset of a note of the scale may be off.
    missing: notes of the scale that may be missed, and as many more that may be found.
    minutes: length of the signal of the memory test, beside one minute.
    growth: bytes by which the peak of memory may grow from one minute to `minutes`; keeping the audio takes more.
    seconds: by which times of notes may differ between ways that should give the same.
    """

    kind = "transcriber"
    onset: ClassVar[float] = 0.05
    missing: ClassVar[int] = 0
    minutes: ClassVar[float] = 4.0
    growth: ClassVar[int] = 8 << 20
    seconds: ClassVar[float] = 1e-6

    @property
    def transcriber(self) -> Transcriber:
        """The transcriber, set up with the suite's options."""
        transcriber: Transcriber = made(self.kind, self.name, self.options, device="cpu")
        return transcriber

    @property
    def rate(self) -> int:
        """The sample rate of the test signals, Hz: its own, or the first of `ANY_RATES`."""
        return self.transcriber.sample_rate or ANY_RATES[0]

    def stream(self, wave: Array, size: int, rate: int | None = None) -> NDArray[np.void]:
        """The notes of a wave that comes in blocks of `size` samples, held to their type and range, in order of start.

        wave: (samples,) float32, at `rate` Hz or the transcriber's own. Returned are (notes,) of `TRANSCRIBED_NOTE`.
        """
        blocks = (wave[at : at + size] for at in range(0, len(wave), size))
        rate = rate or self.rate
        found = [transcribed_notes([])]
        for notes in self.transcriber.stream(blocks, rate):
            _held(notes, len(wave) / rate)
            found.append(notes)
        whole = np.concatenate(found)
        return whole[np.lexsort((whole["pitch"], whole["start"]))]

    def test_sample_rate(self) -> None:
        """It declares a sample rate in Hz, or None for any"""
        rate: Any = self.transcriber.sample_rate
        require(
            rate is None or (isinstance(rate, int) and 1_000 <= rate <= 768_000),
            f"sample_rate is {rate!r}, Hz from 1,000 to 768,000 or None were wanted.",
        )

    def test_silence(self) -> None:
        """Silence, an offset of the zero line, a moment and no audio at all have no notes"""
        for what, wave in (
            ("three seconds of silence", np.zeros(3 * self.rate, np.float32)),
            ("a zero line at 0.3", np.full(3 * self.rate, 0.3, np.float32)),
            ("5 ms of silence", np.zeros(max(1, self.rate // 200), np.float32)),
            ("no audio", np.zeros(0, np.float32)),
        ):
            found = self.stream(wave, self.rate)
            require(not len(found), f"{what} came out as {len(found)} notes.")

    def test_a_piano_scale(self) -> None:
        """A scale on the piano, rendered by m2m, comes out as that scale"""
        self._same_scale(self.stream(scale(self.rate), self.rate), "the scale")

    def test_cuts(self) -> None:
        """The same audio gives the same notes, however it is cut into blocks"""
        wave = scale(self.rate)
        whole = self.stream(wave, len(wave))
        for size in (self.rate // 50 + 1, self.rate, 3 * self.rate + 7):
            self._same(self.stream(wave, size), whole, f"in blocks of {size:,} samples")

    def test_transcribe_is_the_stream(self) -> None:
        """`transcribe` gives the notes of `stream`"""
        wave = scale(self.rate)
        found, wanted = self.transcriber.transcribe(wave, self.rate), plain_notes(self.stream(wave, self.rate))
        require(np.array_equal(found, wanted), f"{len(found)} notes came, {len(wanted)} of the stream were wanted.")

    def test_rates(self) -> None:
        """Audio of another sample rate gives the same notes at the same times"""
        for rate in ANY_RATES:
            found = self.transcriber.transcribe(scale(rate), rate)
            confident = transcribed_notes((*note, np.nan) for note in found.tolist())
            self._same_scale(confident, f"the scale at {rate:,} Hz")

    def test_early(self) -> None:
        """Notes are yielded before the audio is at its end"""
        wave, read = np.tile(scale(self.rate), 20), 0

        def blocks() -> Iterator[Array]:
            nonlocal read
            for read in range(0, len(wave), self.rate):
                yield wave[read : read + self.rate]

        first = next((notes for notes in self.transcriber.stream(blocks(), self.rate) if len(notes)), None)
        require(first is not None, "twenty scales came out as no notes.")
        require(read + self.rate < len(wave), "no note was yielded before all of the audio was read.")

    def test_it_is_a_function(self) -> None:
        """The same audio gives the same notes, from any instance, and is not written to"""
        from m2m.core.plugins import registry

        wave = scale(self.rate).copy()
        try:
            first = self.stream(wave, self.rate)
        except ValueError as error:
            raise BrokenPromiseError(f"it wrote into its input: {error}") from error
        require(np.array_equal(wave, scale(self.rate)), "the audio was changed: work on a copy.")
        self._same(self.stream(wave, self.rate), first, "a second call")
        again = registry.create("transcriber", self.name, options=self.transcriber.options.model_dump(mode="json"))
        found, wanted = again.transcribe(wave, self.rate), plain_notes(first)
        require(np.array_equal(found, wanted), "another instance with the same options gave other notes.")

    def test_threads(self) -> None:
        """Several threads may use one instance at once"""
        wave = scale(self.rate)
        waves = [wave[n * self.rate // 2 :] for n in range(4)]
        alone = [self.stream(wave, self.rate) for wave in waves]
        for number, found in enumerate(self.at_once(lambda n: self.stream(waves[n], self.rate))):
            self._same(found, alone[number], f"thread {number} of four at once")

    def test_memory(self) -> None:
        """Memory does not grow with the length of the audio"""
        unit, grown = scale(self.rate), []
        for _ in range(3):  # the least of three: an allocator may keep memory for later
            peaks = []
            for minutes in (1.0, self.minutes):
                blocks = (unit for _ in range(round(60 * minutes * self.rate / len(unit))))
                peaks.append(peak_memory(lambda: sum(map(len, self.transcriber.stream(blocks, self.rate)))))  # noqa: B023
            if peaks[0] is None or peaks[1] is None:
                raise SkipTest("this system does not tell the peak of memory")
            grown.append(peaks[1] - peaks[0])
            if grown[-1] <= self.growth:
                return
        raise BrokenPromiseError(
            f"{self.minutes:g} minutes need {min(grown) >> 20} MB more than one, {self.growth >> 20} MB are the most."
        )

    def _same(self, found: NDArray[np.void], wanted: NDArray[np.void], what: str) -> None:
        keys = ("pitch", "velocity")
        same = len(found) == len(wanted) and all(np.array_equal(found[key], wanted[key]) for key in keys)
        times = [np.abs(found[key] - wanted[key]).max(initial=0.0) for key in ("start", "end")] if same else [np.inf]
        require(
            max(times) <= self.seconds,
            f"{what}: {len(found)} notes came, the {len(wanted)} of the whole were wanted.",
        )

    def _same_scale(self, found: NDArray[np.void], what: str) -> None:
        left = found[["start", "pitch"]].tolist()
        missed = []
        for start, _, key, _ in scale_notes().tolist():
            near = [note for note in left if note[1] == key and abs(note[0] - start) <= self.onset]
            if near:
                left.remove(near[0])
            else:
                missed.append(key)
        more = [key for _, key in left]
        require(
            len(missed) <= self.missing and len(more) <= self.missing,
            f"{what}: keys {missed or 'none'} were missed, keys {more or 'none'} were found that are not played.",
        )


def scale_notes() -> NoteArray:
    """The notes of the scale, from a quarter of a second on."""
    at = [0.25 + NOTE_SECONDS * n for n in range(len(SCALE))]
    return note_array((start, start + NOTE_SECONDS, key, 90) for start, key in zip(at, SCALE, strict=True))


@lru_cache(maxsize=4)
def scale(rate: int) -> Array:
    """The scale on the piano, as m2m's own model and Griffin-Lim render it: (samples,) float32 at `rate` Hz, read-only."""
    rendered = _rendered()
    wave = np.concatenate(list(resampled([rendered], 16_000, rate)))
    wave.flags.writeable = False
    return wave


@lru_cache(maxsize=1)
def _rendered() -> Array:
    from m2m.core.rendering.pipeline import Pipeline

    score = Score((Track("scale", 0, False, scale_notes(), constant(1.0)),))
    pipeline = Pipeline(model="mel2mel-film", vocoder="griffin-lim")
    return pipeline.render(score, timbre="grand-piano").audio


def _held(notes: Any, seconds: float) -> None:
    wanted = f"(notes,) of {TRANSCRIBED_NOTE} (transcribed_notes makes them) were wanted."
    require(isinstance(notes, np.ndarray), f"a {type(notes).__name__} came, {wanted}")
    require(notes.dtype == TRANSCRIBED_NOTE and notes.ndim == 1, f"{notes.shape} {notes.dtype} came, {wanted}")
    for start, end, key, velocity, confidence in notes.tolist():
        require(0 <= start < end <= seconds + 1e-6, f"a note from {start} to {end} s came of {seconds:.2f} s of audio.")
        require(LOWEST_KEY <= key <= HIGHEST_KEY and 1 <= velocity <= 127, f"key {key}, velocity {velocity} came.")
        require(np.isnan(confidence) or 0 <= confidence <= 1, f"a confidence of {confidence} came, 0 to 1 was wanted.")
