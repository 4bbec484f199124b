"""Bends, vibrato and keys beyond the piano's, as FluidSynth plays them and as m2m does.

    python benches/bends.py SOUNDFONT                 # the stages after the mel: FluidSynth's own mel in the part's time
    python benches/bends.py SOUNDFONT --model mel2mel-film     # the whole: MIDI file in, audio out

A melody on sustaining instruments of the reference, straight, with the wheel drawing sines of two semitones, with an octave
of RPN range, and with full modulation. The pitch of FluidSynth's audio and of ours, frame by frame, by YIN (librosa), where both
are loud: the share of frames within 10 cents, and the median difference. Constant-Q is the paper's correlation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import librosa
import mido
import numpy as np
import soxr
from numpy.typing import NDArray

from m2m.core.mel import Mel, MelSpec, log_mel
from m2m.core.pitch import voices
from m2m.core.plugins import registry
from m2m.core.rendering.bends import BentTime, read_out
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.score import Score, Track, parse_score
from m2m.dataset.soundfont import OVERSAMPLING, Renderer
from m2m.evaluation.measures.constant_q import constant_q_correlation

SPEC = MelSpec()
PROGRAMS = {"electric-piano": 4, "church-organ": 19, "string-ensemble": 48, "trumpet": 56, "synth-lead": 80}
KEYS = (60, 64, 67, 72, 65, 62, 69, 57)
NOTE, STEP = 0.8, 0.01  # seconds: of a note, between two positions of the wheel
GAIN = 0.5  # FluidSynth's
LOUD = 0.1  # of the loudest frame
CENTS = 10

Event = tuple[float, mido.Message]


def wheel(cents_at: Any, most: float) -> list[Event]:
    """Positions of the wheel that draw a curve, second -> cents, of which `most` is the wheel's full way."""
    times = np.arange(0, len(KEYS) * NOTE, STEP)
    return [
        (float(t), mido.Message("pitchwheel", pitch=int(np.clip(8192 * cents_at(t) / most, -8192, 8191))))
        for t in times
    ]


MOVES: dict[str, list[Event]] = {
    "straight": [],
    "two semitones": wheel(lambda t: 200 * math.sin(2 * math.pi * 0.7 * t), 200),
    "an octave": [
        *((0.0, mido.Message("control_change", control=c, value=v)) for c, v in ((101, 0), (100, 0), (6, 12), (38, 0))),
        *wheel(lambda t: 1200 * math.sin(2 * math.pi * 0.3 * t), 1200),
    ],
    "modulation": [(0.0, mido.Message("control_change", control=1, value=127))],
}


def melody(program: int, moves: Sequence[Event]) -> list[Event]:
    """The melody on a program, with what moves its pitch: (second, message) in order."""
    notes = [
        (at, mido.Message(kind, note=key, velocity=100))
        for n, key in enumerate(KEYS)
        for kind, at in (("note_on", n * NOTE), ("note_off", n * NOTE + NOTE - 0.05))
    ]
    return sorted([(0.0, mido.Message("program_change", program=program)), *moves, *notes], key=lambda event: event[0])


def as_score(events: Sequence[Event], name: str) -> Score:
    """Events as m2m reads them from a file, at a thousand ticks a second."""
    import io

    file, track, now = mido.MidiFile(type=0, ticks_per_beat=500), mido.MidiTrack(), 0
    for second, message in events:
        tick = round(second * 1000)
        track.append(message.copy(time=tick - now))
        now = tick
    file.tracks.append(track)
    data = io.BytesIO()
    file.save(file=data)
    return parse_score(data.getvalue(), name)


def played(renderer: Renderer, events: Sequence[Event], samples: int) -> NDArray[np.float32]:
    """What FluidSynth makes of events: (samples,) float32."""
    synth, font = renderer._open()
    synth.program_select(0, font, 0, next(m.program for _, m in events if m.type == "program_change"))
    blocks, at = [], 0
    for second, message in events:
        gap = int(second * renderer.rate) - at
        blocks.append(synth.get_samples(gap))
        at += gap
        if message.type == "note_on":
            synth.noteon(0, message.note, message.velocity)
        elif message.type == "note_off":
            synth.noteoff(0, message.note)
        elif message.type == "pitchwheel":
            synth.pitch_bend(0, message.pitch)
        elif message.type == "control_change":
            synth.cc(0, message.control, message.value)
    blocks.append(synth.get_samples(samples * OVERSAMPLING - at))
    stereo = np.concatenate(blocks).reshape(-1, 2).astype(np.float32) / 32768
    synth.delete()
    return np.asarray(soxr.resample(stereo.mean(axis=1), renderer.rate, renderer.sample_rate), np.float32)[:samples]


def from_true_mel(renderer: Renderer, track: Track, program: int, samples: int) -> NDArray[np.float32]:
    """The default vocoder's audio of a track whose mel is FluidSynth's own, of the straight notes in the part's time."""
    (voice,) = voices(track)
    seconds = samples / SPEC.sample_rate
    time = BentTime(voice.cents(round(seconds * SPEC.frame_rate) + 1, SPEC.frame_rate), SPEC.frame_rate)
    notes, length = time.notes(voice.notes), round(time.at(np.array([seconds]))[0] * SPEC.frame_rate) * SPEC.hop_length
    mel = log_mel(renderer.render(notes, program, length), SPEC)
    vocoder = registry.create("vocoder", registry.default("vocoder"), device="cpu")
    return np.concatenate([*read_out(vocoder.stream(Mel(mel, SPEC, notes), 0), time, samples, SPEC.sample_rate)])


def pitch_difference(original: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cents between two waves, frame by frame, where both are loud: (frames,)."""
    found, loud = [], []
    for wave in (original, other):
        found.append(librosa.yin(wave, fmin=80, fmax=1600, sr=SPEC.sample_rate, frame_length=1024, hop_length=128))
        level = librosa.feature.rms(y=wave, frame_length=1024, hop_length=128)[0]
        loud.append(level > LOUD * level.max())
    both = loud[0] & loud[1]
    return np.abs(1200 * np.log2(found[1][both] / found[0][both]))


@click.command()
@click.argument("soundfont", type=click.Path(path_type=Path))
@click.option("--model", help="Render with this model; else from FluidSynth's own mel.")
def main(soundfont: Path, model: str | None) -> None:
    renderer = Renderer(soundfont, SPEC.sample_rate, GAIN)
    samples = round((len(KEYS) * NOTE + 1) * SPEC.frame_rate) * SPEC.hop_length
    pipeline = Pipeline(model=model) if model else None
    for what, moves in MOVES.items():
        rows = []
        for name, program in PROGRAMS.items():
            original = played(renderer, melody(program, moves), samples)
            score = as_score(melody(program, moves), name)
            if pipeline:
                made = np.pad(pipeline.render(score, timbre=name).audio, (0, samples))[:samples]
            else:
                made = from_true_mel(renderer, score.tracks[0], program, samples)
            apart = pitch_difference(original, made)
            correlation = float(np.nanmean(constant_q_correlation(original, made, SPEC.sample_rate)))
            rows.append(((apart <= CENTS).mean(), float(np.median(apart)), correlation))
            click.echo(f"{what}, {name}: {_row(*rows[-1])}")
        click.echo(f"{what}, mean: {_row(*np.mean(rows, axis=0))}")


def _row(within: float, median: float, correlation: float) -> str:
    return f"{within:.1%} within {CENTS} cents, median {median:.1f}, constant-Q {correlation:.3f}"


if __name__ == "__main__":
    main()
