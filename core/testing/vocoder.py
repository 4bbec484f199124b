"""The suite of vocoders: every promise of core/vocoder.py, by small oracles and by physics."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from typing import Any, ClassVar
from unittest import SkipTest

import numpy as np
import torch
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.mel import LazyMel, Mel, MelSpec, filter_bank, log_mel
from m2m.core.score import note_array
from m2m.core.testing.memory import peak_memory
from m2m.core.testing.suite import BrokenPromiseError, Conformance, made, require
from m2m.core.vocoder import Vocoder

Array = NDArray[np.float32]
OTHER = MelSpec(sample_rate=22_050, hop_length=256, fmax=8000.0, mel_scale="slaney", filter_norm="area")
KEYS = (57, 69, 81)  # A3, A4, A5


class VocoderConformance(Conformance):
    """seconds: length of most test signals.
    long_seconds: length of the signal of the memory test, which is then doubled.
    tolerance: by which samples may differ between ways that should give the same (full scale is 1).
    silence: the highest peak that silence may come out with; 0.001 is -60 dB.
    cents: how near a tone must come out when its note is given; without a note, a band of the mel is the limit.
    waits: seconds of lazy mels, of which one must sound before it is computed to its end; a GPU may take an hour at once.
    growth: bytes by which the peak of memory may grow when `long_seconds` become twice as many.
    """

    kind = "vocoder"
    seconds: ClassVar[float] = 1.0
    long_seconds: ClassVar[float] = 10.0
    waits: ClassVar[tuple[float, ...]] = (60.0, 600.0, 14_400.0)
    tolerance: ClassVar[float] = 1e-4
    silence: ClassVar[float] = 1e-3
    cents: ClassVar[float] = 35.0
    growth: ClassVar[int] = 12 << 20

    @property
    def vocoder(self) -> Vocoder:
        """The vocoder, set up with the suite's options."""
        vocoder: Vocoder = made(self.kind, self.name, self.options, device="cpu")
        return vocoder

    @property
    def spec(self) -> MelSpec:
        """The recipe of the test signals: the vocoder's own, or the default where it takes any."""
        return self.vocoder.mel_spec or MelSpec()

    def test_length_and_type(self) -> None:
        """Frames x hop samples come out, finite, mono, float32, for every length"""
        whole = self.tones()
        for frames in (1, 2, 7, whole.frames):
            mel = Mel(whole.values[:frames], whole.spec, whole.notes)
            count = 0
            for block in self.vocoder.stream(mel, 0):
                _sound(block)
                count += len(block)
            require(count == mel.samples, f"{frames} frames gave {count:,} samples, {mel.samples:,} were wanted.")

    def test_no_frames_no_samples(self) -> None:
        """An empty mel gives an empty wave"""
        wave = self.vocoder.synthesize(Mel(np.zeros((0, self.spec.n_mels), np.float32), self.spec))
        require(wave.shape == (0,), f"a mel of no frames gave {wave.shape}, (0,) was wanted.")

    def test_range(self) -> None:
        """What was within full scale comes out within full scale"""
        peak = float(np.abs(self.vocoder.synthesize(self.tones())).max())
        require(peak <= 1.0, f"tones of peak 0.5 came out with peak {peak:.2f}.")
        require(peak > 0.05, f"tones of peak 0.5 came out with peak {peak:.4f}: nearly nothing.")

    def test_silence(self) -> None:
        """Silence stays near silence, with a note in the score or without"""
        values = np.full((self._frames(), self.spec.n_mels), self.spec.silence, np.float32)
        for notes in (None, note_array([(0.1, self.seconds / 2, 60, 100)])):
            peak = float(np.abs(self.vocoder.synthesize(Mel(values.copy(), self.spec, notes))).max())
            require(peak <= self.silence, f"silence came out with peak {peak:.5f}, {self.silence:g} is the most.")

    def test_pitch(self) -> None:
        """A sine comes out at its pitch: to a band of the mel, or to a few cents where the note is given"""
        for key in KEYS:
            hz = 440 * 2 ** ((key - 69) / 12)
            mel = self.tones((key,), decay=0.0)
            for given in (mel, mel.without_notes()):
                wave = self.vocoder.synthesize(given)
                found = _strongest(wave[len(wave) // 4 : -len(wave) // 4], mel.spec.sample_rate)
                off = _band_spacing(hz, mel.spec)
                if given.notes is not None and self.vocoder.uses_notes:
                    off = min(off, hz * (2 ** (self.cents / 1200) - 1))
                require(
                    abs(found - hz) <= off,
                    f"a sine of {hz:.1f} Hz came out at {found:.1f} Hz, {off:.1f} Hz is the most.",
                )

    def test_same_seed_same_samples(self) -> None:
        """The same seed gives the same samples, whatever state Python's, NumPy's and PyTorch's global generators are in"""
        mel = self.tones()
        first = self.vocoder.synthesize(mel, 5)
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            random.seed(1)
            np.random.seed(1)
            torch.manual_seed(1)
            again = self.vocoder.synthesize(mel, 5)
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_rng_state(before[2])
        require(np.array_equal(first, again), f"the same seed gave other samples, by up to {_apart(first, again):g}.")

    def test_another_seed(self) -> None:
        """Another seed gives other samples, unless it says that it does not use one (uses_seed)"""
        mel = self.tones()
        same = np.array_equal(self.vocoder.synthesize(mel, 1), self.vocoder.synthesize(mel, 2))
        if self.vocoder.uses_seed:
            require(not same, "two seeds gave the same samples: use the seed, or write `uses_seed = False`.")
        else:
            require(same, "two seeds gave different samples, though it says `uses_seed = False`.")

    def test_batch_equals_single(self) -> None:
        """Each mel of a batch gives what it gives alone"""
        mels = [self.tones(), self.tones((64,)), Mel(self.tones().values[:9], self.spec)]
        for number, (mel, wave) in enumerate(zip(mels, self.vocoder.batch(mels, 3), strict=True)):
            self._same(wave, self.vocoder.synthesize(mel, 3), f"mel {number} of a batch")

    def test_stream_equals_whole(self) -> None:
        """The blocks of a stream laid end to end are the whole"""
        mel = self.tones()
        self._same(np.concatenate(list(self.vocoder.stream(mel, 3))), self.vocoder.synthesize(mel, 3), "the stream")

    def test_memory_while_streaming(self) -> None:
        """Neither the blocks nor the memory of a stream grow with its length"""
        unit = self.tones()
        largest: dict[float, int] = {}
        grown: list[int | None] = []
        for _ in range(3):  # the least of three: an allocator may keep memory for later
            peaks = []
            for seconds in (self.long_seconds, 2 * self.long_seconds):
                mel = Mel(np.tile(unit.values, (round(seconds / unit.seconds), 1)), unit.spec)
                blocks: list[int] = []
                peaks.append(peak_memory(lambda: blocks.extend(map(len, self.vocoder.stream(mel, 0)))))  # noqa: B023
                largest[seconds] = max(blocks)
            grown.append(None if peaks[0] is None or peaks[1] is None else peaks[1] - peaks[0])
            if grown[-1] is None or grown[-1] <= self.growth:
                break
        rate = self.spec.sample_rate
        require(
            largest[2 * self.long_seconds] <= largest[self.long_seconds],
            f"blocks grow with the mel: up to {min(largest.values()) / rate:.1f} s, then {max(largest.values()) / rate:.1f} s.",
        )
        more = grown[-1]
        if more is None:
            raise SkipTest("blocks do not grow; this system does not tell the peak of memory")
        require(
            more <= self.growth,
            f"{2 * self.long_seconds:g} s need {more >> 20} MB more than {self.long_seconds:g} s, "
            f"{self.growth >> 20} MB are the most.",
        )

    def test_promptness(self) -> None:
        """A stream yields before the whole mel is computed: it reads `mel.window`, not `mel.values`"""
        for seconds in self.waits:
            try:
                self._begin(seconds)
            except BrokenPromiseError:
                if seconds == self.waits[-1]:
                    raise
            else:
                return

    def _begin(self, seconds: float) -> None:
        """Ask for the first block of a lazy mel, the last span of which must not be computed for it."""
        unit = self.tones()
        count = round(seconds / unit.seconds)
        spans = [(n * unit.frames, (n + 1) * unit.frames) for n in range(count)]

        def make(first: int, last: int) -> Array:
            require(
                last < spans[-1][1],
                f"{seconds / 3600:g} hours of mel were made for the first block: read `mel.window(first, last)`, not "
                "`mel.values`.",
            )
            return unit.values

        stream = iter(self.vocoder.stream(LazyMel(make, spans, unit.spec, unit.notes), 0))
        _sound(next(stream, None))
        getattr(stream, "close", lambda: None)()

    def test_reading_may_stop_early(self) -> None:
        """A stream that is read in part and closed harms nothing"""
        mel = self.tones()
        whole = self.vocoder.synthesize(mel, 3)
        stream = iter(self.vocoder.stream(mel, 3))
        next(stream)
        getattr(stream, "close", lambda: None)()
        self._same(self.vocoder.synthesize(mel, 3), whole, "a rendering after a broken-off one")

    def test_devices(self) -> None:
        """It renders on every accelerator there is, and the tone is the same"""
        if not torch.cuda.is_available():
            raise SkipTest("no accelerator is seen here, the CPU is what the other tests run on")
        from m2m.core.plugins import registry

        moved = registry.create("vocoder", self.name, options=self.options, device="cuda")
        mel = self.tones(decay=0.0)
        there, here = moved.synthesize(mel, 3), self.vocoder.synthesize(mel, 3)
        _sound(there)
        require(len(there) == mel.samples, f"on cuda, {len(there):,} samples came, {mel.samples:,} were wanted.")
        rate = mel.spec.sample_rate
        off = abs(_strongest(there, rate) - _strongest(here, rate))
        require(off <= 2.0, f"the tone is {off:.1f} Hz apart between cuda and the CPU.")

    def test_made_again_it_gives_the_same(self) -> None:
        """Another instance with the options that a file's tags remember gives the same samples"""
        from m2m.core.plugins import registry

        remembered = self.vocoder.options.model_dump(mode="json")
        again = registry.create("vocoder", self.name, options=remembered, device="cpu")
        mel = self.tones()
        self._same(again.synthesize(mel, 3), self.vocoder.synthesize(mel, 3), "another instance")
        require(again.mel_spec == self.vocoder.mel_spec, "another instance was made for another mel.")
        require(again.provenance == self.vocoder.provenance, "another instance tells another provenance of itself.")

    def test_provenance(self) -> None:
        """What it tells of itself for a file's tags (provenance) is text by name"""
        told = dict(self.vocoder.provenance)
        wrong = {name: text for name, text in told.items() if not (isinstance(name, str) and isinstance(text, str))}
        require(not wrong, f"its provenance holds {wrong}: names and texts were wanted.")

    def test_notes_are_used_as_declared(self) -> None:
        """It works without notes, and they change nothing unless the class says that it uses them (uses_notes)"""
        mel = self.tones()
        with_notes, without = (self.vocoder.synthesize(given, 3) for given in (mel, mel.without_notes()))
        if not self.vocoder.uses_notes:
            self._same(with_notes, without, "the mel with notes, though the class says `uses_notes = False`,")
        strange = Mel(
            mel.values, mel.spec, note_array([(-1.0, 0.1, 21, 1), (0.2, 99.0, 108, 127), (50.0, 60.0, 60, 9)])
        )
        _sound(self.vocoder.synthesize(strange, 3))  # notes that begin before, end after, or lie beyond the mel

    def test_inputs_stay_as_they_are(self) -> None:
        """It writes neither into the mel nor into the notes"""
        mel = self.tones()
        assert mel.notes is not None
        given = Mel(mel.values.copy(), mel.spec, mel.notes.copy(), np.zeros((1, 10), np.float32))
        try:
            self.vocoder.synthesize(given, 3)
        except ValueError as error:
            raise BrokenPromiseError(f"it wrote into its input: {error}") from error
        assert given.notes is not None
        assert given.timbre is not None
        same = (
            np.array_equal(given.values, mel.values)
            and np.array_equal(given.notes, mel.notes)
            and not given.timbre.any()
        )
        require(same, "its input was changed: work on a copy.")

    def test_threads(self) -> None:
        """Several threads may use one instance at once"""
        mels = [self.tones((key,)) for key in (55, 60, 67, 72)]
        alone = [self.vocoder.synthesize(mel, number) for number, mel in enumerate(mels)]
        for number, wave in enumerate(self.at_once(lambda n: self.vocoder.synthesize(mels[n], n))):
            self._same(wave, alone[number], f"thread {number} of four at once")

    def test_no_thread_is_left(self) -> None:
        """Rendering again and again leaves no more threads behind"""
        mel = Mel(self.tones().values[:20], self.spec)
        self.vocoder.synthesize(mel)
        before = threading.active_count()
        for _ in range(3):
            self.vocoder.synthesize(mel)
        more = threading.active_count() - before
        require(more <= 0, f"three renderings left {more} threads running.")

    def test_mel_recipe(self) -> None:
        """A mel of another recipe is refused with the differing fields named, or rendered if it takes any"""
        if self.vocoder.mel_spec is None:
            mel = self.tones(decay=0.0, spec=OTHER)
            wave = self.vocoder.synthesize(mel)
            require(len(wave) == mel.samples, f"with another recipe, {len(wave):,} samples came, not {mel.samples:,}.")
            hz, found = 440.0, _strongest(wave[len(wave) // 4 : -len(wave) // 4], OTHER.sample_rate)
            off = _band_spacing(hz, OTHER)
            require(abs(found - hz) <= off, f"with another recipe, a sine of {hz} Hz came out at {found:.1f} Hz.")
            return
        own = self.vocoder.mel_spec
        strange = own.model_copy(update={"fmin": own.fmin + 20.0})
        mel = Mel(np.full((5, own.n_mels), own.silence, np.float32), strange)
        try:
            self.vocoder.synthesize(mel)
        except M2MError as error:
            require("fmin" in str(error), f"a mel with another fmin is refused without its being named: {error}")
        else:
            raise BrokenPromiseError(
                "a mel with another fmin was rendered, though the class declares its recipe (mel_spec)."
            )

    def tones(self, keys: Iterable[int] = (69,), decay: float = 2.0, spec: MelSpec | None = None) -> Mel:
        """`seconds` of sines, one a key, that die away at `decay` nepers a second, with their notes."""
        spec, keys = spec or self.spec, tuple(keys)
        time = np.arange(round(self.seconds * spec.sample_rate)) / spec.sample_rate
        hz = 440 * 2 ** ((np.array(keys)[:, None] - 69) / 12)
        wave = 0.5 * np.mean(np.sin(2 * np.pi * hz * time) * np.exp(-decay * time), axis=0)
        return Mel(log_mel(wave, spec), spec, note_array((0.0, self.seconds, key, 90) for key in keys))

    def _frames(self) -> int:
        return round(self.seconds * self.spec.frame_rate)

    def _same(self, wave: Array, wanted: Array, what: str) -> None:
        _sound(wave)
        require(wave.shape == wanted.shape, f"{what} has {len(wave):,} samples instead of {len(wanted):,}.")
        apart = _apart(wave, wanted)
        require(
            apart <= self.tolerance, f"{what} is {apart:g} apart from the whole alone, {self.tolerance:g} is the most."
        )


def _sound(block: Any) -> None:
    require(isinstance(block, np.ndarray), f"a {type(block).__name__} came, a numpy array was wanted.")
    require(
        block.ndim == 1 and block.dtype == np.float32,
        f"{block.shape} {block.dtype} came, (samples,) float32 was wanted.",
    )
    require(bool(np.isfinite(block).all()), "the audio holds NaN or infinite samples.")


def _apart(one: Array, other: Array) -> float:
    return float(np.abs(one - other).max(initial=0.0)) if one.shape == other.shape else np.inf


def _strongest(wave: Array, rate: int) -> float:
    """The frequency of the highest peak, Hz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), n=8 * len(wave)))
    return float(np.argmax(spectrum)) * rate / (8 * len(wave))


def _band_spacing(hz: float, spec: MelSpec) -> float:
    """The distance between the mel bands around a frequency, Hz: nearer than that a mel does not tell."""
    bins = np.linspace(0, spec.sample_rate / 2, spec.n_fft // 2 + 1)
    filters = filter_bank(spec).numpy()
    filters = filters[filters.sum(axis=1) > 0]
    centres = (filters @ bins) / filters.sum(axis=1)
    above = int(np.clip(np.searchsorted(centres, hz), 1, len(centres) - 1))
    return max(float(centres[above] - centres[above - 1]), spec.sample_rate / spec.n_fft)
