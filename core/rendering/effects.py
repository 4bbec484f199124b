"""Reverb and chorus, by a track's sends (CC 91, CC 93): convolutions with synthetic impulse responses.

reverb    noise that dies away, highs before lows, after the 15 ms that the first reflection takes
chorus    a few echoes within 30 ms, others on the left than on the right: voices beside the first, in tune with it

A send of 127 gives an effect half of the part's own amplitude; between, it is linear. Convolution is by FFT and overlap-add:
what a block leaves for later is kept, so that blocks of any size sound alike.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from m2m.core.channels import KEPT
from m2m.core.tracks import Curve, Track, constant, smoothed

REVERB_SECONDS = 2.0  # of the impulse response
PRE_DELAY = 0.015  # seconds
DECAYS = (1.6, 0.7)  # seconds in which lows and highs fall by 60 dB
CROSSOVER = 1500.0  # Hz between these
ECHOES = ((0.0073, 0.0131, 0.0199, 0.0271), (0.0089, 0.0151, 0.0223, 0.0293))  # of the chorus, seconds: left, right
LEVEL = 0.5  # of an effect at a send of 127, times the part's own amplitude
SENDS = {name: constant(float(neutral)) for name, neutral in KEPT.values() if name in ("reverb", "chorus")}


def sends(track: Track) -> dict[str, Curve]:
    """How much of a track goes to each effect, 0..127; untouched, what General MIDI 2 has after power-on: 40 and 0."""
    return {name: track.controls.get(name, untouched) for name, untouched in SENDS.items()}


class Effects:
    """The effects of one part, which comes in blocks.

    channels: 1 or 2. A block's effects are those of all blocks so far; `rest` is what rings on after the last.
    """

    def __init__(self, track: Track, sample_rate: int, channels: int) -> None:
        self.sample_rate = sample_rate
        self._used = [
            (curve, impulse[:, :channels])
            for curve, impulse in zip(sends(track).values(), impulses(sample_rate), strict=True)
            if curve[:, 1].any()
        ]
        longest = max((len(impulse) for _, impulse in self._used), default=1)
        self.rest = np.zeros((longest - 1, channels))

    def __call__(self, block: NDArray[np.float32], first: int) -> NDArray[np.float32]:
        """What the effects add to a block: (samples, channels) float32.

        block: (samples,) float32, the part's next samples, with its gain; the first of them is the part's sample `first`.
        """
        samples, last = len(block), first + len(block)
        length = samples + len(self.rest)
        size = 1 << max(1, length - 1).bit_length()
        spectrum = np.zeros((size // 2 + 1, self.rest.shape[1]), np.complex128)
        for curve, impulse in self._used:
            sent = block * smoothed(curve, first, last, self.sample_rate) / 127
            spectrum += np.fft.rfft(sent, size)[:, None] * np.fft.rfft(impulse, size, axis=0)
        wet = np.fft.irfft(spectrum, size, axis=0)[:length]
        wet[: len(self.rest)] += self.rest
        self.rest = wet[samples:].copy()
        return wet[:samples].astype(np.float32)


@lru_cache(maxsize=4)
def impulses(sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The responses of reverb and chorus at a send of 127: (samples, 2) each, of an energy of LEVEL squared on either side."""
    samples = int(REVERB_SECONDS * sample_rate)
    words = np.random.Philox(key=0).random_raw(2 * samples)  # the same in every version of NumPy
    noise = words.reshape(samples, 2) / 2.0**63 - 1
    spectrum = np.fft.rfft(noise, axis=0)
    lows = 1 / (1 + (np.fft.rfftfreq(samples, 1 / sample_rate) / CROSSOVER) ** 2)[:, None]
    seconds = np.arange(samples)[:, None] / sample_rate
    reverb = sum(
        np.fft.irfft(spectrum * share, samples, axis=0) * 10 ** (-3 * seconds / decay)
        for share, decay in zip((lows, 1 - lows), DECAYS, strict=True)
    )
    reverb = np.roll(reverb, int(PRE_DELAY * sample_rate), axis=0)
    reverb[: int(PRE_DELAY * sample_rate)] = 0.0
    chorus = np.zeros((int(np.max(ECHOES) * sample_rate) + 1, 2))
    for side, echoes in enumerate(ECHOES):
        chorus[(np.array(echoes) * sample_rate).astype(int), side] = 1.0
    return _scaled(reverb), _scaled(chorus)


def _scaled(impulse: NDArray[np.float64]) -> NDArray[np.float64]:
    made: NDArray[np.float64] = LEVEL * impulse / np.sqrt((impulse**2).sum(axis=0))
    made.flags.writeable = False
    return made
