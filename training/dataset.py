"""Build training data: MIDI files and a SoundFont become notes, audio and mels of every instrument.

One shard a MIDI file and split (`DATA/train/<file>.safetensors`), which says of itself how it was made; for each instrument
it holds the notes that were played, the audio they gave and its log-mel. Rolls are not stored: any encoder makes them from
the notes, exactly and at once, so a data set serves every encoder. `DATA/dataset.json` describes the whole.

FluidSynth plays the notes of our own Score, not the MIDI file, so that notes and audio agree by construction. It reads its
samples without an anti-aliasing filter; it therefore plays at twice the sample rate and soxr halves it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from safetensors.numpy import save_file

from m2m.core.errors import M2MError
from m2m.core.files import atomic_path
from m2m.core.instruments import REFERENCE, program_name
from m2m.core.mel import MelSpec, log_mel
from m2m.core.score import HIGHEST_KEY, LOWEST_KEY, NoteArray, as_rows, excerpt, hold, merge, read_score

SPLITS = ("train", "validation", "test")
OVERSAMPLING = 2
SUFFIXES = (".mid", ".midi", ".kar")


class DatasetConfig(BaseModel):
    """What is rendered, and how. Everything that changes a sample of the result is in here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    programs: tuple[int, ...] = Field(
        tuple(REFERENCE), min_length=1, description="General MIDI programs, one instrument each"
    )
    seconds: float = Field(30.0, gt=0, description="of each file and instrument, release tail included")
    excerpt: Literal["random", "first"] = Field(
        "random", description="which part of a training file each instrument plays"
    )
    transpose: int = Field(5, ge=0, le=24, description="training: random transposition within +- this many semitones")
    stretch: float = Field(0.15, ge=0, lt=1, description="training: random tempo change within +- this fraction")
    velocity: float = Field(
        0.25, ge=0, lt=1, description="training: random scaling of velocities within +- this fraction"
    )
    gain: float = Field(1.0, gt=0, le=10, description="of FluidSynth: 1.0 keeps dense pedalled chords below full scale")
    tail: float = Field(
        1.5, ge=0, description="seconds at the end in which no note is struck, so that releases are heard"
    )
    seed: int = 0
    mel: MelSpec = MelSpec()


def split_files(midi_dir: Path, split: Path | None) -> dict[str, list[str]]:
    """MIDI files by split, as paths relative to `midi_dir`.

    split: a JSON file {"train": [...], "validation": [...], "test": [...]}; without one, a hash of each name sends about 5 %
    of the files to validation and 5 % to test, the same ones on every machine.
    """
    if not midi_dir.is_dir():
        raise M2MError(f"{midi_dir} is not a directory; give the directory that holds the MIDI files.")
    if split is not None:
        try:
            named = json.loads(split.read_text())
            chosen = {name: [str(file) for file in named.get(name, [])] for name in SPLITS}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise M2MError(
                f"cannot read the split {split}: {error}; it must be JSON with lists 'train', 'validation' and 'test'."
            ) from error
        missing = [file for files in chosen.values() for file in files if not (midi_dir / file).is_file()]
        if missing:
            raise M2MError(f"{split} names {len(missing)} files that are not in {midi_dir}, the first is {missing[0]}.")
    else:
        chosen = {name: [] for name in SPLITS}
        for path in sorted(p for p in midi_dir.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
            name = path.relative_to(midi_dir).as_posix()
            draw = hashlib.sha256(name.encode()).digest()[0]
            chosen["validation" if draw < 13 else "test" if draw < 26 else "train"].append(name)
    if not any(chosen.values()):
        raise M2MError(f"{midi_dir} holds no MIDI files ({', '.join(SUFFIXES)}).")
    return chosen


class Renderer:
    """One FluidSynth, kept open: decoding a SoundFont takes seconds, playing a minute of notes takes a fraction of one."""

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
            raise M2MError(f"rendering a SoundFont needs FluidSynth ({error}): {hint}.") from error
        if not soundfont.is_file():
            raise M2MError(f"there is no SoundFont {soundfont}; Debian's fluidr3mono-gm-soundfont is the reference's.")
        self._resample = soxr.resample
        self.sample_rate = sample_rate
        self.rate = sample_rate * OVERSAMPLING
        self.synth = fluidsynth.Synth(gain=gain, samplerate=float(self.rate))
        for effect in ("synth.reverb.active", "synth.chorus.active"):
            self.synth.setting(effect, 0)
        self.font = self.synth.sfload(str(soundfont))
        if self.font < 0:
            raise M2MError(f"FluidSynth cannot read {soundfont}; is it a SoundFont (.sf2 or .sf3)?")

    def render(self, notes: NoteArray, program: int, samples: int) -> NDArray[np.float32]:
        """Play notes on one program: (samples,) float32 mono, the mean of FluidSynth's two channels."""
        self.synth.system_reset()
        if self.synth.program_select(0, self.font, 0, program) < 0:
            raise M2MError(f"the SoundFont has no program {program} ({program_name(program)}) in bank 0.")
        on = zip(
            notes["start"].tolist(), [1] * len(notes), notes["pitch"].tolist(), notes["velocity"].tolist(), strict=True
        )
        off = zip(
            notes["end"].tolist(), [0] * len(notes), notes["pitch"].tolist(), notes["velocity"].tolist(), strict=True
        )
        blocks, position, total = [], 0, samples * OVERSAMPLING
        for second, strike, key, velocity in sorted([*on, *off]):  # at one instant a release comes before a strike
            gap = min(int(second * self.rate), total) - position
            if gap > 0:
                blocks.append(self.synth.get_samples(gap))
                position += gap
            if strike:
                self.synth.noteon(0, key, velocity)
            else:
                self.synth.noteoff(0, key)
        blocks.append(self.synth.get_samples(max(0, total - position)))
        stereo = np.concatenate(blocks).reshape(-1, 2).astype(np.float32) / 32768.0
        return np.asarray(self._resample(stereo.mean(axis=1), self.rate, self.sample_rate), np.float32)[:samples]


@lru_cache(maxsize=1)
def _renderer(soundfont: Path, sample_rate: int, gain: float) -> Renderer:
    return Renderer(soundfont, sample_rate, gain)  # one a worker process


def vary(notes: NoteArray, config: DatasetConfig, draw: random.Random) -> NoteArray:
    """A training excerpt: a random part of a piece, transposed, at another tempo, louder or softer.

    Rendering is ours, so this augmentation is free and exact: the audio is played from the varied notes.
    """
    varied = notes.copy()
    stretch = 1.0 + draw.uniform(-config.stretch, config.stretch)
    varied["start"] *= stretch
    varied["end"] *= stretch
    lowest, highest = (
        int(notes["pitch"].min(initial=LOWEST_KEY + 24)),
        int(notes["pitch"].max(initial=HIGHEST_KEY - 24)),
    )
    varied["pitch"] += draw.randint(
        max(-config.transpose, LOWEST_KEY - lowest), min(config.transpose, HIGHEST_KEY - highest)
    )
    louder = 1.0 + draw.uniform(-config.velocity, config.velocity)
    varied["velocity"] = np.clip(np.round(varied["velocity"] * louder), 1, 127)
    if config.excerpt == "first" or not len(varied):
        return varied
    latest = max(0.0, float(varied["start"].max()) - config.seconds + 2 * config.tail)
    begin = float(
        varied["start"][np.searchsorted(varied["start"], draw.uniform(0.0, latest))]
    )  # at an onset, not in a rest
    return excerpt(varied, max(0.0, begin - 0.1), np.inf)


def build_shard(source: Path, name: str, split: str, soundfont: Path, out: Path, config: DatasetConfig) -> float:
    """Render one MIDI file on every instrument into a shard, unless it is there already. Returns seconds of audio."""
    target = shard_path(out, split, name)
    if target.is_file():
        return 0.0
    renderer = _renderer(soundfont, config.mel.sample_rate, config.gain)
    notes = merge(track.notes for track in read_score(source).playable)
    samples = int(config.seconds * config.mel.frame_rate) * config.mel.hop_length
    tensors: dict[str, NDArray[Any]] = {}
    for program in config.programs:
        draw = random.Random(f"{config.seed} {name} {program}")
        played = vary(notes, config, draw) if split == "train" else notes
        played = hold(excerpt(played, 0.0, config.seconds - config.tail), [], 0.0)
        length = int(min(samples, (played["end"].max(initial=0.0) + config.tail) * config.mel.sample_rate))
        wave = renderer.render(played, program, -(-length // config.mel.hop_length) * config.mel.hop_length)
        key = program_name(program)
        tensors[f"{key}/notes"] = as_rows(played)
        tensors[f"{key}/audio"] = np.round(np.clip(wave, -1.0, 1.0) * 32767.0).astype(np.int16)
        tensors[f"{key}/mel"] = log_mel(wave, config.mel).astype(np.float16)
    about = {"source": name, "split": split, "soundfont": soundfont.name, "config": config.model_dump_json()}
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        save_file(tensors, temporary, metadata=about)
    return sum(len(t) for key, t in tensors.items() if key.endswith("/audio")) / config.mel.sample_rate


def shard_path(out: Path, split: str, name: str) -> Path:
    """Where a MIDI file's shard lies: the file's relative path with its separators turned into '-'."""
    return out / split / (name.replace("/", "-").rsplit(".", 1)[0] + ".safetensors")


def describe(out: Path, soundfont: Path, config: DatasetConfig, files: dict[str, list[str]]) -> None:
    """Write DATA/dataset.json, or check that an earlier build, to be continued here, was of the same kind."""
    about = {
        "config": config.model_dump(mode="json"),
        "soundfont": {"name": soundfont.name, "sha256": hashlib.sha256(soundfont.read_bytes()).hexdigest()},
        "instruments": {program_name(program): program for program in config.programs},
        "files": files,
    }
    target = out / "dataset.json"
    if target.is_file():
        earlier = json.loads(target.read_text())
        changed = [key for key in about if earlier.get(key) != json.loads(json.dumps(about[key]))]
        if changed:
            raise M2MError(
                f"{out} holds a data set of another {' and '.join(changed)}; choose another output folder, or delete it."
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + os.linesep)


class ShardReader:
    """The shards of a data set's split, read without loading them: every access touches only the bytes it needs."""

    def __init__(self, data: Path, split: str) -> None:
        try:
            about = json.loads((data / "dataset.json").read_text())
            self.config = DatasetConfig.model_validate(about["config"])
        except (OSError, ValueError, KeyError) as error:
            raise M2MError(f"{data} is not a data set ({error}); make one with 'm2m dataset build'.") from error
        self.instruments: dict[str, int] = about["instruments"]
        self.files = [name for name in about["files"][split] if shard_path(data, split, name).is_file()]
        if not self.files:
            raise M2MError(f"{data} has no finished shard in its split {split!r}; run 'm2m dataset build' to the end.")
        self._shards = [safe_open(shard_path(data, split, name), framework="numpy") for name in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def require(self, mel: MelSpec, instruments: Mapping[str, int]) -> None:
        """Raise M2MError unless the data set has this mel and these instruments."""
        if mel != self.config.mel:
            raise M2MError(
                f"model and data set have different mels: {', '.join(mel.differences(self.config.mel))}; give both the same."
            )
        missing = [name for name in instruments if name not in self.instruments]
        if missing:
            raise M2MError(f"the data set has no {', '.join(missing)}; it has {', '.join(self.instruments)}.")

    def notes(self, index: int, instrument: str) -> NDArray[np.float64]:
        """The notes that an instrument plays in file `index`, as rows of start, end, pitch, velocity."""
        return np.asarray(self._shards[index].get_tensor(f"{instrument}/notes"))

    def frames(self, index: int, instrument: str) -> int:
        """Length in frames."""
        return int(self._shards[index].get_slice(f"{instrument}/mel").get_shape()[0])

    def mel(self, index: int, instrument: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Log-mel of frames start..stop: (frames, n_mels)."""
        return np.asarray(self._shards[index].get_slice(f"{instrument}/mel")[start:stop], np.float32)

    def audio(self, index: int, instrument: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Samples start..stop, in -1..1."""
        return np.asarray(self._shards[index].get_slice(f"{instrument}/audio")[start:stop], np.float32) / 32767.0


def build(
    midi_dir: Path, soundfont: Path, out: Path, config: DatasetConfig, split: Path | None, jobs: int
) -> Sequence[str]:
    """Build a data set, or the missing part of one. Returns the files that could not be read, with the reason."""
    from joblib import Parallel, delayed

    from m2m.core.progress import track

    _renderer(soundfont, config.mel.sample_rate, config.gain)  # fail before anything is written
    files = split_files(midi_dir, split)
    describe(out, soundfont, config, files)
    work = [(name, name_split) for name_split in SPLITS for name in files[name_split]]
    results = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_attempt)(midi_dir / name, name, name_split, soundfont, out, config) for name, name_split in work
    )
    return [message for message in track(results, "rendering", total=len(work)) if message]


def _attempt(source: Path, name: str, split: str, soundfont: Path, out: Path, config: DatasetConfig) -> str:
    try:
        build_shard(source, name, split, soundfont, out, config)
    except M2MError as error:
        return str(error)
    return ""
