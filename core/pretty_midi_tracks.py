"""Between pretty_midi's objects and tracks, there and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pretty_midi

from m2m.core.assembly import assemble
from m2m.core.channels import (
    BALANCE,
    CHORUS,
    EXPRESSION,
    MODULATION,
    PAN,
    REVERB,
    SOFT,
    VOLUME,
    Machine,
    playing_order,
)
from m2m.core.errors import M2MError
from m2m.core.notes import hold, note_array
from m2m.core.score_limits import Limits
from m2m.core.tracks import Curve, Omission, Track, constant

RESOLUTION = 9600  # ticks a quarter note of what is made: tempo changes fall within 0.1 ms of where they are
BEND_SEMITONES = 2  # pretty_midi's bends are of a channel at power-on
_UNMOVED = constant(0.0)


def read(midi: pretty_midi.PrettyMIDI, limits: Limits) -> tuple[tuple[Track, ...], tuple[Omission, ...]]:
    """Each instrument as a track, on a channel of its own. Raises M2MError where it is beyond `limits` or no music."""
    limits.refuse("notes", sum(len(instrument.notes) for instrument in midi.instruments), "notes")
    machine = Machine(drums=[16 * i for i, instrument in enumerate(midi.instruments) if instrument.is_drum])
    for index, instrument in enumerate(midi.instruments):
        events = _events(instrument, index)
        columns = np.array(events, np.float64).reshape(-1, 6)
        if not (np.isfinite(columns[:, 0]) & (columns[:, 0] >= 0)).all():
            raise M2MError("it has a time that is negative or no number.")
        # Nothing of an instrument has an order of its own within an instant: controllers act, then releases, then strikes.
        apart, status, velocity = np.arange(len(columns)), columns[:, 2].astype(int), columns[:, 4].astype(int)
        machine.run(events[i] for i in playing_order(columns[:, 0], apart, status, velocity).tolist())
    machine.finish(max((note.end for i in midi.instruments for note in i.notes), default=0.0))
    names = {index: instrument.name.strip() for index, instrument in enumerate(midi.instruments)}
    return assemble(machine, lambda times: times, names, limits)


def _events(instrument: pretty_midi.Instrument, index: int) -> list[tuple[float, int, int, int, int, int]]:
    """What an instrument does, as `Machine.run` takes it."""
    channel = 16 * index
    found = [(0.0, channel, 0xC0, int(instrument.program), 0, index)]
    notes = note_array((n.start, n.end, n.pitch, max(1, n.velocity)) for n in instrument.notes)
    for start, end, key, velocity in hold(notes, [], 0.0).tolist():
        found += [(start, channel, 0x90, key, velocity, index), (end, channel, 0x80, key, 0, index)]
    found += [(c.time, channel, 0xB0, c.number, c.value, index) for c in instrument.control_changes]
    for bend in instrument.pitch_bends:
        wheel = min(max(int(bend.pitch) + 8192, 0), 16383)
        found.append((bend.time, channel, 0xE0, wheel & 127, wheel >> 7, index))
    return found


def write(
    tracks: Sequence[Track], tempi: Sequence[tuple[float, float]], meters: Sequence[tuple[float, int, int]]
) -> pretty_midi.PrettyMIDI:
    """Tracks as a pretty_midi object. Pedals are in the notes' ends; bends beyond two semitones are clipped.

    tempi: (seconds, quarter notes a minute); meters: (seconds, numerator, denominator).
    """
    tempi = tempi or [(0.0, 120.0)]
    midi = pretty_midi.PrettyMIDI(resolution=RESOLUTION, initial_tempo=tempi[0][1])
    scales = [(0, 60 / (tempi[0][1] * RESOLUTION))]
    for (before, slower), (now, tempo) in pairwise(tempi):
        scales.append((scales[-1][0] + round((now - before) * slower / 60 * RESOLUTION), 60 / (tempo * RESOLUTION)))
    midi._tick_scales = scales  # the only way to more than one tempo
    midi._update_tick_to_time(scales[-1][0] + 1)
    midi.time_signature_changes = [pretty_midi.TimeSignature(top, bottom, time) for time, top, bottom in meters]
    midi.instruments = [_instrument(track) for track in tracks]
    return midi


def _instrument(track: Track) -> pretty_midi.Instrument:
    instrument = pretty_midi.Instrument(track.program, track.is_drum, track.name)
    instrument.notes = [pretty_midi.Note(v, key, start, end) for start, end, key, v in track.sounding.tolist()]
    if len(track.gain) > 1 or track.gain[0, 1] != 1:
        for time, gain in track.gain.tolist():
            volume, expression = _volume(gain)
            instrument.control_changes += [
                pretty_midi.ControlChange(VOLUME, volume, time),
                pretty_midi.ControlChange(EXPRESSION, expression, time),
            ]
    instrument.control_changes += _moves(track.pan, PAN, 64, 64) + _moves(track.modulation, MODULATION, 0, 127)
    for name, number in (("balance", BALANCE), ("soft pedal", SOFT), ("reverb", REVERB), ("chorus", CHORUS)):
        instrument.control_changes += _moves(track.controls.get(name, _UNMOVED), number, 0, 1)
    instrument.pitch_bends = [
        pretty_midi.PitchBend(min(max(round(8192 * cents / (100 * BEND_SEMITONES)), -8192), 8191), time)
        for time, cents in track.bend.tolist()[1:]
    ]
    return instrument


def _moves(curve: Curve, number: int, neutral: int, scale: int) -> list[pretty_midi.ControlChange]:
    return [pretty_midi.ControlChange(number, round(neutral + scale * x), time) for time, x in curve.tolist()[1:]]


_PRODUCTS = np.outer(np.arange(128) / 100, np.arange(128) / 127) ** 2  # gain by volume and expression


def _volume(gain: float) -> tuple[int, int]:
    """The volume and expression whose gain is nearest, expression as near to full as can be."""
    distance = np.abs(_PRODUCTS[:, ::-1] - gain)
    best = np.unravel_index(int(np.argmin(distance.T)), distance.T.shape)
    return int(best[1]), 127 - int(best[0])
