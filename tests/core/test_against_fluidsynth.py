"""FluidSynth plays the same file: which keys of which channel sound when, to 10 ms.

Its voices are asked after each block of 64 samples, so its answer does not pass through our reader, nor mido's.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pretty_midi
import pytest

from m2m.core.score import Score, parse_score

fluidsynth = pytest.importorskip("fluidsynth", reason="FluidSynth is not installed", exc_type=ImportError)

FILES = Path(__file__).parents[1] / "fixtures" / "midi"
SOUNDFONT = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
RATE, BLOCK = 44100, 64
ORGAN, STRINGS = 16, 48  # programs whose samples loop: a note lasts as long as its key is down
# FluidSynth cannot read them; the last one is long.
NOT_ITS = ("alien-chunk", "riff", "time-signature-2", "velocity-200", "ticks-32767")
TOLERANCE = 0.01

Sounded = tuple[int, int, float, float]  # channel from 1, key, start, end


@pytest.fixture(scope="module")
def library() -> Any:
    lib = ctypes.CDLL(fluidsynth.lib)
    for name in ("new_fluid_settings", "new_fluid_synth", "new_fluid_player"):
        getattr(lib, name).restype = ctypes.c_void_p
    return lib


def played(library: Any, data: bytes) -> list[Sounded]:
    """What FluidSynth plays of a file: channel, key, and when its voices are switched on and let go."""
    settings = ctypes.c_void_p(library.new_fluid_settings())
    for key, value in ((b"synth.sample-rate", float(RATE)),):
        library.fluid_settings_setnum(settings, key, ctypes.c_double(value))
    library.fluid_settings_setint(settings, b"synth.polyphony", 1024)
    synth = ctypes.c_void_p(library.new_fluid_synth(settings))
    assert library.fluid_synth_sfload(synth, bytes(SOUNDFONT), 1) >= 0
    player = ctypes.c_void_p(library.new_fluid_player(synth))
    assert library.fluid_player_add_mem(player, data, len(data)) == 0
    library.fluid_player_play(player)
    try:
        return until_struck_again(sorted(_listen(library, synth, player)))
    finally:
        library.delete_fluid_player(player)
        library.delete_fluid_synth(synth)
        library.delete_fluid_settings(settings)


def _listen(library: Any, synth: ctypes.c_void_p, player: ctypes.c_void_p) -> Iterator[Sounded]:
    voices, audio = (ctypes.c_void_p * 1024)(), (ctypes.c_float * BLOCK)()
    sounding: dict[int, tuple[int, int, float]] = {}  # by the number that FluidSynth gives to each strike
    ended: set[int] = set()
    for block in range(60 * RATE // BLOCK):
        now = block * BLOCK / RATE
        library.fluid_synth_write_float(synth, BLOCK, audio, 0, 1, audio, 0, 1)
        library.fluid_synth_get_voicelist(synth, voices, 1024, -1)
        on = {}
        for address in voices:
            if not address:
                break
            voice = ctypes.c_void_p(address)
            channel, strike = library.fluid_voice_get_channel(voice), library.fluid_voice_get_id(voice)
            if strike not in ended and _is_held(library, synth, voice, channel):
                on[strike] = channel + 1, library.fluid_voice_get_key(voice)
        for strike in sounding.keys() - on.keys():
            ended.add(strike)
            yield (*sounding.pop(strike), now)
        for strike in on.keys() - sounding.keys():
            sounding[strike] = (*on[strike], now)
        if library.fluid_player_get_status(player) != 1 and not sounding:  # 1: it is playing
            return
    raise AssertionError(f"{sounding} never end")


def _is_held(library: Any, synth: ctypes.c_void_p, voice: ctypes.c_void_p, channel: int) -> bool:
    """By its key, or by a pedal: a voice that a pedal has held says so until its release has died away."""
    if library.fluid_voice_is_on(voice):
        return True
    value = ctypes.c_int()
    for pedal, says_so in ((64, library.fluid_voice_is_sustained), (66, library.fluid_voice_is_sostenuto)):
        library.fluid_synth_get_cc(synth, channel, pedal, ctypes.byref(value))
        if value.value >= 64 and says_so(voice):
            return True
    return False


def until_struck_again(notes: list[Sounded]) -> list[Sounded]:
    """Under a pedal FluidSynth lets the older note of a key ring on; here, as on a piano, a strike ends it."""
    return [
        (*note[:3], min(note[3], after[2]) if after[:2] == note[:2] else note[3])
        for note, after in zip(notes, [*notes[1:], (0, 0, 0.0, 0.0)], strict=True)
    ]


def read(score: Score) -> list[Sounded]:
    return [(track.channel, int(n["pitch"]), n["start"], n["end"]) for track in score.tracks for n in track.notes]


def assert_same(ours: list[Sounded], theirs: list[Sounded]) -> None:
    ours, theirs = sorted(ours), sorted(theirs)
    assert [note[:2] for note in ours] == [note[:2] for note in theirs]
    np.testing.assert_allclose([note[2:] for note in ours], [note[2:] for note in theirs], atol=TOLERANCE)


@pytest.mark.parametrize(
    "path", [p for p in sorted(FILES.iterdir()) if not p.name.startswith(NOT_ITS)], ids=lambda p: p.stem
)
def test_the_files_that_others_stumble_over(library: Any, path: Path) -> None:
    data = path.read_bytes()
    assert_same(read(parse_score(data)), played(library, data))


@pytest.mark.parametrize("sostenuto", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_songs_with_pedals_programs_and_mode_messages(library: Any, seed: int, sostenuto: bool) -> None:
    data = song(np.random.default_rng(seed), sostenuto)
    ours = read(parse_score(data))
    assert len(ours) > 20
    assert_same(ours, played(library, data))


def song(draw: np.random.Generator, sostenuto: bool) -> bytes:
    """Three channels in four tracks, one of which has the tempi alone; no two events nearer to each other than 4 ticks.

    With sostenuto no key comes twice, since FluidSynth counts what strikes a held key again as the same strike.
    """
    ticks = iter(4 * (1 + draw.permutation(1500)))
    made: list[list[tuple[int, mido.Message | mido.MetaMessage]]] = [[] for _ in range(4)]
    for tempo in (400_000, 650_000, 500_000):
        made[0].append((int(next(ticks)), mido.MetaMessage("set_tempo", tempo=tempo)))
    for track, channel in ((1, 0), (2, 1), (3, 4)):
        made[track].append((0, mido.Message("program_change", channel=channel, program=ORGAN)))
        for key in draw.permutation(range(40, 58)) if sostenuto else draw.integers(50, 58, 18):
            start, end = sorted(int(next(ticks)) for _ in range(2))
            made[track].append((start, mido.Message("note_on", channel=channel, note=int(key), velocity=90)))
            made[track].append((end, mido.Message("note_off", channel=channel, note=int(key))))
        pedals = [(66, 127), (66, 0)] if sostenuto else [(64, 64), (64, 63)]
        for control, value in ((64, 127), (64, 0), (64, 100), *pedals, (123, 0), (121, 0), (120, 0), (64, 0)):
            message = mido.Message("control_change", channel=channel, control=control, value=value)
            made[track].append((int(next(ticks)), message))
        made[track].append((int(next(ticks)), mido.Message("program_change", channel=channel, program=STRINGS)))
        for later, (control, value) in enumerate(((64, 0), (66, 0), (123, 0))):  # nothing is left to hang
            message = mido.Message("control_change", channel=channel, control=control, value=value)
            made[track].append((6100 + later, message))
    file = mido.MidiFile(ticks_per_beat=480)
    for events in made:
        events.sort(key=lambda event: event[0])
        before = [0, *(tick for tick, _ in events)]
        file.tracks.append(mido.MidiTrack(m.copy(time=t - b) for b, (t, m) in zip(before, events, strict=False)))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()
