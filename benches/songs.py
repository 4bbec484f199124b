"""Ten multi-track songs of General MIDI: chords, basses, melodies, drums, with all that a sequencer writes beside notes.

    python benches/songs.py FOLDER

They are made by chance from the tables below, the same bytes for everybody. `large` is the largest: five minutes, twelve parts
and drums, each of which sounds at least 40 % of the time. They have bends, vibrato, pedals, pans, swells and program changes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import click
import mido
import numpy as np

from m2m.dataset.drums import GROOVES, play
from m2m.dataset.ranges import idiom

TICKS = 480  # of a quarter note
SECTION = 8  # bars; a song is sections of one progression of chords
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
PAN, VOLUME, EXPRESSION, MODULATION, PEDAL, SOFT = 10, 7, 11, 1, 64, 67
RHYTHMS: dict[
    int, tuple[tuple[float, ...], ...]
] = {  # one-bar rhythms of melodies, in quarter notes; of 3 quarters and of 4
    3: ((1, 1, 1), (2, 1), (1.5, 0.5, 1), (3,)),
    4: ((1, 1, 1, 1), (1.5, 0.5, 2), (2, 1, 1), (0.5, 0.5, 1, 0.5, 0.5, 1), (3, 1), (1, 0.5, 0.5, 2), (4,)),
}

Note = tuple[float, float, int, int]  # start and length in quarter notes, key, velocity
Control = tuple[float, mido.Message]  # its time in quarter notes


@dataclass(frozen=True)
class Part:
    """What a channel plays.

    role: what it does with the chords, see `ROLES`. pan, volume: 0..127. then: the program of the second half, if another.
    ways: "bend" (long notes are bent up to), "dive" (a bend of an octave), "vibrato", "pedal", "soft", "swell", "moving" (pan).
    """

    name: str
    role: str
    program: int
    pan: int = 64
    volume: int = 96
    then: int | None = None
    ways: tuple[str, ...] = ()


@dataclass(frozen=True)
class Song:
    """A song's table. tonic: MIDI key. chords: scale degrees from 1, a bar each. kit: program of the drums' channel."""

    tempo: float
    groove: str
    tonic: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]
    parts: tuple[Part, ...]
    kit: int = 0
    sevenths: bool = False
    seconds: float = 60.0

    @property
    def beats(self) -> int:
        """Quarter notes of a bar."""
        groove = GROOVES[self.groove]
        return len(next(iter(groove.bars[0].values()))) // groove.steps


SONGS = {
    "pop": Song(112, "pop", 60, MAJOR, (1, 5, 6, 4), (
        Part("Lead", "melody", 80, 64, 92, ways=("bend", "vibrato")), Part("Piano", "comp", 0, 50, ways=("pedal",)),
        Part("Guitar", "arpeggio", 25, 90), Part("Strings", "pad", 48, 40, 84, ways=("swell",)), Part("Bass", "bass", 33))),
    "rock": Song(132, "rock", 57, MINOR, (1, 6, 3, 7), (
        Part("Solo", "melody", 30, 70, 90, ways=("bend", "dive")), Part("Rhythm L", "comp", 29, 10, 88),
        Part("Rhythm R", "comp", 30, 117, 88), Part("Organ", "pad", 18, 64, 80), Part("Bass", "bass", 34)), kit=16),
    "jazz": Song(152, "swing", 58, MAJOR, (2, 5, 1, 6), (
        Part("Tenor", "melody", 66, 54, then=56, ways=("bend", "vibrato")), Part("Piano", "comp", 0, 84, 86, ways=("pedal",)),
        Part("Guitar", "comp", 26, 40, 78), Part("Bass", "walking", 32)), kit=32, sevenths=True),
    "funk": Song(100, "funk", 52, MINOR, (1, 1, 4, 7), (
        Part("Brass", "stabs", 61, 80), Part("Clavinet", "comp", 7, 30), Part("Alto", "melody", 65, 60, ways=("bend",)),
        Part("Slap bass", "bass", 36), Part("Muted guitar", "arpeggio", 28, 100)), sevenths=True),
    "electronic": Song(126, "techno", 57, MINOR, (1, 6, 4, 5), (
        Part("Saw", "melody", 81, 64, 84, ways=("bend",)), Part("Sequence", "arpeggio", 38, 64, 84, ways=("moving",)),
        Part("Pad", "pad", 90, 64, 80, ways=("swell",)), Part("Bass", "bass", 39)), kit=25),
    "ballad": Song(68, "ballad", 55, MAJOR, (1, 6, 4, 5), (
        Part("Voice", "melody", 53, 64, ways=("vibrato", "swell")), Part("Piano", "arpeggio", 0, 56, ways=("pedal", "soft")),
        Part("Warm pad", "pad", 89, 64, 78), Part("Fretless bass", "bass", 35, ways=("bend",)))),
    "bossa": Song(128, "bossa nova", 53, MAJOR, (1, 6, 2, 5), (
        Part("Flute", "melody", 73, 74, ways=("vibrato",)), Part("Nylon guitar", "comp", 24, 44),
        Part("Vibes", "counter", 11, 96),
        Part("Bass", "bass", 32)), kit=40, sevenths=True),
    "waltz": Song(138, "waltz", 62, MAJOR, (1, 4, 5, 1), (
        Part("Fiddle", "melody", 110, 46, ways=("bend", "vibrato")), Part("Accordion", "comp", 21, 84),
        Part("Harp", "arpeggio", 46, 30), Part("Clarinet", "counter", 71, 100), Part("Contrabass", "bass", 43)), kit=40),
    "orchestra": Song(96, "orchestra", 60, MINOR, (1, 4, 7, 3), (
        Part("Violins", "melody", 48, 34, ways=("swell",)), Part("Violas", "arpeggio", 44, 54, then=45),
        Part("Cellos", "counter", 42, 84), Part("Basses", "bass", 43, 96, then=45), Part("Oboe", "counter", 68, 58),
        Part("Horns", "pad", 60, 44, ways=("swell",)),
        Part("Trumpet", "stabs", 56, 76), Part("Harp", "arpeggio", 46, 20), Part("Timpani", "roots", 47, 70)),
        kit=48, seconds=90.0),
    "large": Song(120, "rock", 57, MINOR, (1, 6, 3, 7, 4, 1, 6, 5), (
        Part("Trumpet", "melody", 56, 60, ways=("vibrato",)),
        Part("Violin", "counter", 40, 40, ways=("vibrato", "swell")),
        Part("Strings", "pad", 48, 30, 84, ways=("swell",)), Part("Horns", "pad", 60, 80, 80), Part("Choir", "pad", 52, 64, 78),
        Part("Piano", "comp", 0, 50, ways=("pedal",)), Part("Harp", "arpeggio", 46, 20), Part("Guitar", "comp", 30, 110, 80),
        Part("Organ", "pad", 18, 90, 74), Part("Vibraphone", "arpeggio", 11, 100, ways=("moving",)),
        Part("Lead", "melody", 81, 70, 80, ways=("bend", "dive")), Part("Bass", "bass", 33)), seconds=300.0),
}  # fmt: skip


@dataclass
class Writing:
    """A song while it is written: where the chords are, and what chance says."""

    song: Song
    bars: int
    draw: random.Random
    motifs: dict[int, tuple[tuple[float, ...], list[int]]] = field(default_factory=dict)

    def degree(self, step: int) -> int:
        """The MIDI key of a step of the scale, 0 is the tonic."""
        octave, index = divmod(step, 7)
        return self.song.tonic + 12 * octave + self.song.scale[index]

    def chord(self, bar: int) -> list[int]:
        """The steps of a bar's chord."""
        root = self.song.chords[bar % len(self.song.chords)] - 1
        return [root, root + 2, root + 4, *([root + 6] if self.song.sevenths else [])]


def chords(writing: Writing, bar: int) -> list[Note]:
    """A chord held for the bar."""
    return [(0.0, writing.song.beats * 0.98, writing.degree(step), 70) for step in writing.chord(bar)]


def comp(writing: Writing, bar: int) -> list[Note]:
    """Chords in one of three rhythms, the same for a section."""
    beats = writing.song.beats
    rhythm: list[tuple[float, float]] = [(0, 1.5), (1.5, 1.5), (3, 1)] if beats == 4 else [(0, 1), (1, 1), (2, 1)]
    if bar // SECTION % 2:
        rhythm = [(beat, 0.8) for beat in range(beats)]
    return [
        (at, length * 0.9, writing.degree(step), 84 - 8 * (at > 0))
        for at, length in rhythm
        for step in writing.chord(bar)
    ]


def stabs(writing: Writing, bar: int) -> list[Note]:
    """Short chords off the beat, and a long one every fourth bar."""
    rhythm = [(0.0, 3.5)] if bar % 4 == 3 else [(0.0, 0.5), (1.5, 1.0), (3.0, 0.75)]
    return [(at, length, writing.degree(step), 98) for at, length in rhythm for step in writing.chord(bar)]


def arpeggio(writing: Writing, bar: int) -> list[Note]:
    """The chord note by note in eighths, up and down."""
    steps = [*writing.chord(bar), writing.chord(bar)[0] + 7]
    steps += steps[-2:0:-1]
    return [
        (at / 2, 0.48, writing.degree(steps[at % len(steps)]), 88 - 12 * (at % 2))
        for at in range(2 * writing.song.beats)
    ]


def bass(writing: Writing, bar: int) -> list[Note]:
    """Root and fifth, with a step to the next root."""
    (root, _, fifth, *_), following = writing.chord(bar), writing.chord(bar + 1)[0]
    notes = [
        (0.0, 1.4, writing.degree(root), 100),
        (1.5, 0.45, writing.degree(root), 84),
        (2.0, 0.9, writing.degree(fifth), 94),
    ]
    if writing.song.beats == 4:
        notes.append((3.0, 0.9, writing.degree(following + writing.draw.choice((-1, 1))), 88))
    return notes


def walking(writing: Writing, bar: int) -> list[Note]:
    """A walking bass: chord notes in quarters, and a step to the next root."""
    steps = [*writing.chord(bar)[:3], writing.chord(bar + 1)[0] + writing.draw.choice((-1, 1))]
    return [(float(beat), 0.92, writing.degree(step), 96 - 6 * (beat % 2)) for beat, step in enumerate(steps)]


def roots(writing: Writing, bar: int) -> list[Note]:
    """The root on the first beat and rolled towards the next bar every second time."""
    key, beats = writing.degree(writing.chord(bar)[0]), writing.song.beats
    roll = [(beats - 1 + at / 8, 0.12, key, 60 + 6 * at) for at in range(8)] if bar % 2 else []
    return [(0.0, 2.0, key, 104), *roll]


def melody(writing: Writing, bar: int) -> list[Note]:
    """A motif of two bars, moved with the chords and answered: a, a, b, a."""
    form = bar // 2 % 4 == 2
    key = 2 * form + bar % 2
    if key not in writing.motifs:
        rhythm = writing.draw.choice(RHYTHMS[writing.song.beats])
        writing.motifs[key] = rhythm, [writing.draw.choice((-2, -1, -1, 0, 1, 1, 2)) for _ in rhythm]
    rhythm, moves = writing.motifs[key]
    at, step, notes = 0.0, writing.draw.choice(writing.chord(bar)[:3]), []
    for length, move in zip(rhythm, moves, strict=True):
        notes.append((at, length * 0.94, writing.degree(step), 92 + round(8 * (at == 0)) + writing.draw.randint(-6, 6)))
        at, step = at + length, step + move
    return notes


def counter(writing: Writing, bar: int) -> list[Note]:
    """A second voice of long notes, third and fifth of the chord."""
    _, third, fifth, *_ = writing.chord(bar)
    half = writing.song.beats / 2
    return [(0.0, half * 0.96, writing.degree(third), 78), (half, half * 0.96, writing.degree(fifth), 82)]


ROLES = {"pad": chords, "comp": comp, "stabs": stabs, "arpeggio": arpeggio, "bass": bass, "walking": walking, "roots": roots,
         "melody": melody, "counter": counter}  # fmt: skip
OCTAVES = {"melody": 1, "bass": -2, "walking": -2, "roots": -1}  # above the chords


def rests(writing: Writing, number: int, bar: int) -> bool:
    """Whether a part has this section off: one in four, another for each part, and never the bass."""
    return writing.song.parts[number].role not in ("bass", "walking") and (bar // SECTION + number) % 4 == 3


def within(notes: list[Note], role: str, program: int) -> list[Note]:
    """The notes in the role's octave and the program's keys; keys that meet sound once."""
    moved = (
        idiom(program).fold(np.array([key + 12 * OCTAVES.get(role, 0) for _, _, key, _ in notes], np.int32)).tolist()
    )
    return list(
        {(note[0], key): (note[0], note[1], key, note[3]) for note, key in zip(notes, moved, strict=True)}.values()
    )


def controls(part: Part, channel: int, notes: list[Note], writing: Writing) -> list[Control]:
    """What a channel is sent beside its notes."""
    song, end = writing.song, writing.bars * writing.song.beats
    found: list[tuple[float, int, int]] = [(0.0, VOLUME, part.volume), (0.0, PAN, part.pan)]
    wheel: list[tuple[float, int]] = []
    if "dive" in part.ways:
        found += [(0.0, 101, 0), (0.0, 100, 0), (0.0, 6, 12)]  # RPN 0: the wheel reaches an octave
    for at, length, _, _ in notes:
        if "vibrato" in part.ways and length > 1:
            found += [(at + length * share, MODULATION, round(90 * share)) for share in (0.3, 0.5, 0.7)]
            found.append((at + length, MODULATION, 0))
        if "bend" in part.ways and length >= 1.4:
            depth = 8192 // 6 if "dive" in part.ways else 8192  # of two semitones
            wheel += [(at + 0.05 * step, round(-depth * (1 - step / 6))) for step in range(7)]
        if "dive" in part.ways and length > 2.5:
            wheel += [(at + length * (0.6 + 0.05 * step), -1024 * step) for step in range(8)] + [(at + length, 0)]
    for bar in range(writing.bars):
        first = float(bar * song.beats)
        if "pedal" in part.ways:
            found += [(first + 0.05, PEDAL, 127), (first + song.beats - 0.1, PEDAL, 0)]
        if "soft" in part.ways and bar % SECTION in (0, 4):
            found.append((first, SOFT, 127 * (bar % SECTION == 0)))
        if "swell" in part.ways:
            found += [(first + beat, EXPRESSION, 96 + 8 * min(beat, song.beats - beat)) for beat in range(song.beats)]
        if "moving" in part.ways:
            found += [
                (first + beat, PAN, 16 + 96 * ((bar * song.beats + beat) % 16) // 15) for beat in range(song.beats)
            ]
    sent = [(at, mido.Message("control_change", channel=channel, control=c, value=v)) for at, c, v in found if at < end]
    return sent + [(at, mido.Message("pitchwheel", channel=channel, pitch=max(-8192, p))) for at, p in wheel]


def track(name: str, events: list[Control]) -> mido.MidiTrack:
    """Events in quarter notes as a MIDI track; at one time controls come before releases, and these before strikes."""
    rank = {"program_change": 0, "control_change": 1, "pitchwheel": 2, "note_off": 3, "note_on": 4}
    timed = sorted(((round(at * TICKS), rank[m.type], n, m) for n, (at, m) in enumerate(events)), key=lambda e: e[:3])
    written, now = mido.MidiTrack([mido.MetaMessage("track_name", name=name)]), 0
    for tick, _, _, message in timed:
        written.append(message.copy(time=tick - now))
        now = tick
    return written


def sounding(notes: list[Note], channel: int) -> list[Control]:
    """Strikes and releases."""
    on = [(at, mido.Message("note_on", channel=channel, note=key, velocity=velocity)) for at, _, key, velocity in notes]
    return on + [(at + length, mido.Message("note_off", channel=channel, note=key)) for at, length, key, _ in notes]


def drums(writing: Writing) -> list[Note]:
    """The groove of the song; hits are written as eighths, or until the drum is struck again."""
    song = writing.song
    part = play(GROOVES[song.groove], song.tempo, writing.bars, writing.draw, percussion=0.2, section=SECTION)
    beat = 60 / song.tempo
    notes: list[Note] = []
    last: dict[int, float] = {}
    for start, _, key, velocity in reversed(part.tolist()):
        length = min(0.5, last.get(key, float("inf")) - start / beat)
        last[key] = start / beat
        notes.append((start / beat, length, key, velocity))
    return notes


def make(name: str, seconds: float | None = None) -> mido.MidiFile:
    """One of SONGS as a MIDI file. seconds: how long, about; None: as the table has it."""
    song = SONGS[name]
    bar = song.beats * 60 / song.tempo
    writing = Writing(song, max(2, round((seconds or song.seconds) / bar)), random.Random(name))
    meta = [mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(song.tempo)),
            mido.MetaMessage("time_signature", numerator=song.beats, denominator=4)]  # fmt: skip
    midi = mido.MidiFile(ticks_per_beat=TICKS, tracks=[mido.MidiTrack(meta)])
    half = writing.bars // 2 * song.beats
    for number, part in enumerate(song.parts):
        channel, notes = number + (number >= 9), []
        writing.motifs.clear()
        for index in (index for index in range(writing.bars) if not rests(writing, number, index)):
            program = part.program if part.then is None or index * song.beats < half else part.then
            bars = within(ROLES[part.role](writing, index), part.role, program)
            notes += [(index * song.beats + at, length, key, velocity) for at, length, key, velocity in bars]
        changes = [(0.0, part.program)] + [(float(half), part.then)] * (part.then is not None)
        events = [(at, mido.Message("program_change", channel=channel, program=program)) for at, program in changes]
        midi.tracks.append(
            track(part.name, events + controls(part, channel, notes, writing) + sounding(notes, channel))
        )
    kit = [(0.0, mido.Message("program_change", channel=9, program=song.kit))]
    midi.tracks.append(track("Drums", kit + sounding(drums(writing), 9)))
    return midi


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seconds", type=float, help="Of each song.  [default: 60 to 300]")
def main(folder: Path, seconds: float | None) -> None:
    """Write the ten songs into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SONGS:
        make(name, seconds).save(folder / f"{name}.mid")
        click.echo(folder / f"{name}.mid")


if __name__ == "__main__":
    main()
