"""Griffin-Lim: a mel becomes audio without training, and the score tells what the mel has lost.

Two things are missing from a mel. Its 80 bands do not say where inside a band the energy lies, and no band has a
phase.

*Magnitude.* We look for a non-negative spectrogram whose mel is the given one (vocoders/shared/stft.py), from one that lends its
fine structure.

*Phase.* Griffin and Lim (1984) go back and forth between "has these magnitudes" and "is the spectrogram of some
wave"; fast Griffin-Lim (Perraudin, Balazs and Søndergaard, WASPAA 2013) overshoots each step by a momentum of 0.99.

The two help each other: each iteration also moves the magnitudes half-way to those of the wave that it found, and
then back to the given mel by one update (after Masuyama, Ueno and Ono, WASPAA 2023, who do both jointly). A fixed
magnitude, right in every band but one that no wave has, is what limits plain Griffin-Lim on a mel.

*The score.* Where notes are at hand, both start from them: the notes are played by band-limited oscillators in a timbre
that is fitted to the mel (fitted_excitation.py), and the spectrogram of that starts W and the phase. The excitation only
starts the search, the mel has the last word, so a morphed or re-balanced mel is followed and a note that the mel lacks
stays silent. Drums start from bursts of noise instead, one at each strike.

*Blocks.* The mel is worked off in blocks of a few seconds, so memory does not grow with length. Around a seam the
wave of the block before is held fixed and faded out over one window while the next block's phase settles against it
(as in real-time iterative spectrogram inversion, Beauregard, Zhu and Wyse 2005): no independent phases meet, so
nothing clicks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from m2m.core.mel import Mel, linear_mel
from m2m.core.vocoder import EngineReport, Vocoder, VocoderOptions
from m2m.vocoders.griffin_lim.fitted_excitation import fitted_excitation
from m2m.vocoders.shared.excitation import BURST, notes_within, percussive_excitation
from m2m.vocoders.shared.stft import STFT, bands_to_bins, griffin_lim, mel_to_magnitude

Array = NDArray[np.float32]

SILENT = 1e-3  # of the floor, above it: more than rounding


class GriffinLimOptions(VocoderOptions):
    """Options of `GriffinLim`; the defaults are measured on predicted mels.

    More than a few iterations harm those: they follow a mel that no sound has. True mels take 20 and more (docs/results.md).
    """

    # the score
    score_informed: bool = Field(True, description="let the notes, if any, start the inversion and the phase")
    timbre_updates: int = Field(
        5, ge=0, le=200, description="updates that fit the excitation's timbre; more overfit a block"
    )
    release: float = Field(0.1, gt=0, le=5, description="time constant of the excitation after a note's end, seconds")
    noise: float = Field(0.01, ge=0, le=1, description="flat, random-phase part of the start, of the mel's own level")

    # magnitude and phase
    updates: int = Field(4, ge=1, le=1000, description="updates of the mel inversion")
    iterations: int = Field(8, ge=0, le=10_000, description="Griffin-Lim iterations when the notes start the phase")
    blind_iterations: int = Field(32, ge=0, le=10_000, description="Griffin-Lim iterations from a random phase")
    refit: float = Field(0.5, ge=0, le=1, description="how far an iteration moves the magnitudes to its wave's")
    momentum: float = Field(0.99, ge=0, lt=2, description="of fast Griffin-Lim; 0 is the method of 1984")

    # blocks
    block_seconds: float = Field(8.0, ge=0.5, le=120, description="seconds worked on at once: memory, and latency")


class GriffinLim(Vocoder):
    """Any mel to audio, by score-informed inversion and fast Griffin-Lim; needs no weights.

    >>> from m2m.core.mel import Mel, MelSpec
    >>> spec = MelSpec()
    >>> silence = Mel(np.full((10, spec.n_mels), spec.silence, np.float32), spec)
    >>> wave = GriffinLim().synthesize(silence)
    >>> wave.shape, bool(abs(wave).max() < 1e-9)
    ((1280,), True)
    """

    API_VERSION = 1
    Options = GriffinLimOptions
    uses_notes = True
    options: GriffinLimOptions

    @classmethod
    def best_engine(cls) -> EngineReport:
        if torch.cuda.is_available():
            return EngineReport("PyTorch on the GPU with --device cuda, else on the CPU")
        return EngineReport(f"PyTorch on the CPU, {torch.get_num_threads()} threads", "PyTorch sees no GPU")

    def stream(self, mel: Mel, seed: int) -> Iterator[Array]:
        """Yield the audio block by block: (samples,) float32 each, `mel.samples` together."""
        options, spec = self.options, mel.spec
        stft = STFT(spec, self.device)
        hop, half = spec.hop_length, spec.n_fft // 2
        lead = -(-half // hop)  # frames before a seam whose windows reach across it
        ahead = -(-(half + spec.n_fft) // hop)  # frames after it that make one more window of audio sound
        step = max(4 * ahead, round(options.block_seconds * spec.frame_rate))
        notes, strikes = (mel.notes, mel.percussive) if options.score_informed else (None, None)
        held = torch.zeros(half, device=self.device)  # known first samples of a block: before the wave, zeros
        for number, begin in enumerate(range(0, mel.frames, step)):
            first, last = max(0, begin - lead), min(mel.frames, begin + step + ahead)
            values = linear_mel(mel.window(first, last), spec) - np.float32(spec.floor)  # the floor stands for nothing
            target = torch.from_numpy(np.maximum(values, 0.0)).to(self.device)  # (frames, n_mels)
            if target.max() <= SILENT * spec.floor:
                yield np.zeros(min(step, mel.frames - begin) * hop, np.float32)
                held = torch.zeros(half + lead * hop, device=self.device)
                continue
            start = stft.random_phase(len(target), seed, number) * bands_to_bins(target, spec)
            excitation = None
            if notes is not None and len(sounding := notes_within(notes, first, last, options.release, spec)):
                excitation = fitted_excitation(
                    sounding, values, first, spec, release=options.release, timbre_updates=options.timbre_updates
                )
            elif strikes is not None and len(sounding := notes_within(strikes, first, last, BURST, spec)):
                excitation = percussive_excitation(sounding, first * hop - half, stft.samples(len(target)), spec)
            if excitation is not None:
                start = stft.forward(torch.from_numpy(excitation).to(self.device)) + start * options.noise
            iterations = options.blind_iterations if excitation is None else options.iterations
            magnitude = mel_to_magnitude(target, start.abs(), options.updates, spec)
            pin = Pin(held, sure=half + (begin - first) * hop, stop=half + (mel.frames - first) * hop)
            wave = griffin_lim(target, magnitude, start, iterations, stft, options.refit, options.momentum, pin.apply)
            here = half + (begin - first) * hop  # index of the block's own first sample
            there = here + min(step, mel.frames - begin) * hop
            yield wave[here:there].cpu().numpy()
            ahead_of = there - lead * hop - half  # the next block's first sample, in this block's count
            held = wave[ahead_of : there + spec.n_fft].clone()


@dataclass(frozen=True)
class Pin:
    """What is known of a block's wave before it is computed.

    held: its first samples; those from `sure` on are provisional, and are faded over into the computed wave.
    stop: from this sample on it is zero, as the analysis assumed.
    """

    held: Tensor
    sure: int
    stop: int

    def apply(self, wave: Tensor) -> Tensor:
        """Put the known samples into a wave, in place.

        wave: (samples,) float32, of the block.

        Returns the same array, (samples,).
        """
        wave[: self.sure] = self.held[: self.sure]
        if fade := len(self.held) - self.sure:
            ramp = torch.linspace(1, 0, fade, device=wave.device)
            wave[self.sure : len(self.held)].lerp_(self.held[self.sure :], ramp)
        wave[self.stop :] = 0
        return wave
