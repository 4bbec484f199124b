"""FluidSynth, which plays notes from a SoundFont.

It resamples a SoundFont's recordings without an anti-aliasing filter. It therefore plays at twice the sample rate, which soxr
halves.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.instruments import FIRST_KIT, KITS, is_kit, program_name
from m2m.core.score import NoteArray

OVERSAMPLING = 2
DRUM_KITS = tuple(FIRST_KIT + kit for kit, name in KITS.items() if name != "sound-effects-kit")  # which is no drum kit


class Renderer:
    """FluidSynth, playing notes from a SoundFont.

    sample_rate: of what it renders, Hz. gain: FluidSynth's, linear.
    Raises M2MError if FluidSynth is not installed or the file is no SoundFont.
    """

    def __init__(self, soundfont: Path, sample_rate: int, gain: float) -> None:
        try:
            import fluidsynth
            import soxr
        except ImportError as error:
            hint = (
                "install Debian's libfluidsynth3 (macOS: brew install fluid-synth)"
                if "library" in str(error)
                else "pip install 'm2m[train]'"
            )
            raise M2MError(f"rendering a SoundFont needs FluidSynth ({str(error).rstrip('.')}): {hint}.") from error
        try:
            with soundfont.open("rb") as file:
                head = file.read(12)
        except OSError as error:
            raise M2MError(
                f"cannot read the SoundFont {soundfont}: {error.strerror}; "
                "the reference's is in Debian's fluidr3mono-gm-soundfont."
            ) from error
        if head[:4] != b"RIFF" or head[8:] != b"sfbk":  # FluidSynth would say so in five lines of its own
            raise M2MError(f"{soundfont} is not a SoundFont (.sf2 or .sf3).")
        try:  # pyfluidsynth encodes the name itself
            self._name = os.fsencode(soundfont).decode()
        except UnicodeDecodeError as error:
            raise M2MError(f"the path {soundfont} is no UTF-8, which FluidSynth wants; rename it.") from error
        self._synth, self._resample = fluidsynth.Synth, soxr.resample
        self.soundfont, self.sample_rate, self.gain = soundfont, sample_rate, gain
        self.rate = sample_rate * OVERSAMPLING

    def instruments(self) -> tuple[int, ...]:
        """The 128 programs, and the drum kits of `DRUM_KITS` that the SoundFont has."""
        synth, font = self._open()
        kits = [kit for kit in DRUM_KITS if synth.sfpreset_name(font, *_bank_and_program(kit)) is not None]
        synth.delete()
        return (*range(FIRST_KIT), *kits)

    def require(self, programs: Sequence[int]) -> None:
        """Raise M2MError unless the SoundFont has these instruments, numbered as in core/instruments.py."""
        synth, font = self._open()
        missing = [p for p in programs if synth.sfpreset_name(font, *_bank_and_program(p)) is None]
        synth.delete()
        if missing:
            raise M2MError(f"{self.soundfont} has no {_listed(missing)}; choose others.")

    def render(self, notes: NoteArray, program: int, samples: int) -> NDArray[np.float32]:
        """Play notes on one program or drum kit.

        notes: (notes,), times in seconds from the first sample. program: an instrument's number, see core/instruments.py.
        Returned: (samples,) float32 mono, the mean of FluidSynth's two channels, full scale is 1.
        Raises M2MError if the SoundFont lacks the instrument or is damaged.
        """
        synth, font = self._open()
        bank_and_program = _bank_and_program(program)
        if synth.sfpreset_name(font, *bank_and_program) is None or synth.program_select(0, font, *bank_and_program) < 0:
            raise M2MError(f"{self.soundfont} has no {_listed([program])}.")
        rows = notes.tolist()
        on = [(start, 1, key, velocity) for start, _, key, velocity in rows]
        off = [(end, 0, key, velocity) for _, end, key, velocity in rows]
        blocks, position, total = [], 0, samples * OVERSAMPLING
        for second, strike, key, velocity in sorted(on + off):  # at one instant a release comes before a strike
            gap = min(int(second * self.rate), total) - position
            if gap > 0:
                blocks.append(synth.get_samples(gap))
                position += gap
            if strike:
                synth.noteon(0, key, velocity)
            else:
                synth.noteoff(0, key)
        blocks.append(synth.get_samples(max(0, total - position)))
        synth.delete()
        stereo = np.concatenate(blocks).reshape(-1, 2).astype(np.float32) / 32768.0
        return np.asarray(self._resample(stereo.mean(axis=1), self.rate, self.sample_rate), np.float32)[:samples]

    def _open(self) -> tuple[Any, int]:
        """A new FluidSynth and the number of the SoundFont in it. Raises M2MError if the SoundFont is damaged.

        It is new for every part: dither and voices have a state, and a shard must not depend on what was rendered before it.
        That is cheap, since the samples of the chosen program alone are loaded.
        """
        settings = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.dynamic-sample-loading": 1}
        synth = self._synth(gain=self.gain, samplerate=float(self.rate), channels=16, **settings)
        font = synth.sfload(self._name)
        if font < 0:
            raise M2MError(f"FluidSynth cannot read {self.soundfont}; the file is damaged.")
        return synth, font


def _bank_and_program(number: int) -> tuple[int, int]:
    """Where a SoundFont has an instrument: kits are in bank 128."""
    return (FIRST_KIT, number - FIRST_KIT) if is_kit(number) else (0, number)


def _listed(numbers: Sequence[int]) -> str:
    """Instruments as an error names them, bank by bank."""
    banks = []
    for kits, what in ((False, "program {} in bank 0"), (True, "kit {} in bank 128")):
        of_bank = [f"{_bank_and_program(n)[1]} ({program_name(n)})" for n in numbers if is_kit(n) == kits]
        if of_bank:
            banks.append(what.format(", ".join(of_bank)))
    return " and no ".join(banks)
