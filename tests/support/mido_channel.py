"""The state of the channels and ports of the second reading (see mido_machine), as the MIDI specification has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

# MIDI 1.0: "When an MSB is received, the receiver should set its concept of the LSB to zero" (here: CC 6 clears CC 38).
COARSE_CLEARS_FINE = True
DRUM_CHANNEL = 9
BEND_RANGE, FINE_TUNING, COARSE_TUNING, NULL = (0, 0), (0, 1), (0, 2), (127, 127)


class PartKey(NamedTuple):
    """What tells one part from another; the bank is coarse * 128 + fine."""

    port: int
    channel: int
    bank: int
    program: int
    is_drum: bool


@dataclass
class Note:
    """A sounding note: is its key down, and has sostenuto caught it."""

    part: PartKey
    start: int
    key: int
    velocity: int
    down: bool = True
    caught: bool = False


@dataclass
class Channel:
    """One channel as after power-on."""

    number: int
    coarse: int | None = None  # bank bytes as received
    fine: int | None = None
    bank: tuple[int, int] | None = None  # as taken by the last program change
    program: int = 0
    rhythm: bool | None = None
    volume: int = 100
    expression: int = 127
    pan: int = 64
    modulation: int = 0
    wheel: int = 0
    selected: tuple[int, int] = NULL
    parameters: dict[tuple[int, int], list[int]] = field(
        default_factory=lambda: {BEND_RANGE: [2, 0], FINE_TUNING: [64, 0], COARSE_TUNING: [64, 0]}
    )
    sustain: bool = False
    mono: bool = False
    last_pedal: int = 0
    sounding: dict[int, Note] = field(default_factory=dict)

    def gain(self) -> Fraction:
        """Volume and expression, without the master volume."""
        return (Fraction(self.volume, 100) * Fraction(self.expression, 127)) ** 2

    def bend(self) -> Fraction:
        """Wheel and channel tuning in cents, without the master tuning."""
        semitones, cents = self.parameters[BEND_RANGE]
        coarse, fine = self.parameters[FINE_TUNING]
        tuning = Fraction(100 * (coarse * 128 + fine - 8192), 8192) + 100 * (self.parameters[COARSE_TUNING][0] - 64)
        return Fraction(self.wheel, 8192) * (100 * semitones + cents) + tuning

    def is_drum(self, mode: str) -> bool:
        """Would a note struck now be a drum?"""
        if self.rhythm is not None:
            return self.rhythm
        if self.bank is None or mode == "GS":
            return self.number == DRUM_CHANNEL
        if mode == "XG":
            return self.bank[0] in (126, 127)
        return self.bank[0] in (120, 127) or (self.number == DRUM_CHANNEL and self.bank[0] != 121)

    def parameter(self, control: int, value: int) -> None:
        """Select a registered parameter or change the selected one; there is none behind a null or an NRPN."""
        parameter = self.parameters.get(self.selected, [0, 0])
        match control:
            case 98 | 99:
                self.selected = NULL
            case 100:
                self.selected = (self.selected[0], value)
            case 101:
                self.selected = (value, self.selected[1])
            case 6:
                parameter[:] = [value, 0 if COARSE_CLEARS_FINE else parameter[1]]
            case 38:
                parameter[1] = value
            case 96:
                parameter[0] = min(parameter[0] + 1, 127)
            case 97:
                parameter[0] = max(parameter[0] - 1, 0)


class Port:
    """Sixteen channels and the master settings, as after power-on."""

    def __init__(self) -> None:
        self.volume = Fraction(1)
        self.tuning = Fraction(0)
        self.channels = [Channel(number) for number in range(16)]
