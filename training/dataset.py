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
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from m2m.core.errors import M2MError
from m2m.core.files import atomic_path, make_folder, read_bytes, require_file
from m2m.core.instruments import REFERENCE, program_name
from m2m.core.mel import MelSpec, log_mel
from m2m.core.progress import track
from m2m.core.score import HIGHEST_KEY, LOWEST_KEY, NoteArray, as_rows, excerpt, hold, merge, read_score
from m2m.core.workers import in_order

SPLITS = ("train", "validation", "test")
OVERSAMPLING = 2
MAX_JSON_BYTES, MAX_SHARD_BYTES = 64 << 20, 16 << 30
SUFFIXES = (".mid", ".midi", ".kar")


class DatasetConfig(BaseModel):
    """What is rendered, and how. Everything that changes a sample of the result is in here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    programs: tuple[Annotated[int, Field(ge=0, le=127)], ...] = Field(
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

    @model_validator(mode="after")
    def _room_for_notes(self) -> DatasetConfig:
        if not self.tail < self.seconds:
            raise ValueError(
                f"tail {self.tail:g} < seconds {self.seconds:g} does not hold, which leaves no time for notes"
            )
        return self


def split_files(midi_dir: Path, split: Path | None) -> dict[str, list[str]]:
    """MIDI files by split, as paths relative to `midi_dir`.

    split: a JSON file {"train": [...], "validation": [...], "test": [...]}; without one, a hash of each name sends about 5 %
    of the files to validation and 5 % to test, the same ones on every machine.
    """
    if not midi_dir.is_dir():
        raise M2MError(f"{midi_dir} is not a directory; give the directory that holds the MIDI files.")
    if split is not None:
        try:
            named = json.loads(read_bytes(split, MAX_JSON_BYTES, "a split"))
            chosen = {name: [str(file) for file in named.get(name, [])] for name in SPLITS}
            if not all(isinstance(named.get(name, []), list) for name in SPLITS):
                raise ValueError("a split is not a list")
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise M2MError(
                f"cannot read the split {split}: {error}; it must be JSON with lists 'train', 'validation' and 'test'."
            ) from error
        missing = [file for files in chosen.values() for file in files if not (midi_dir / file).is_file()]
        if missing:
            raise M2MError(f"{split} names {len(missing)} files that are not in {midi_dir}, the first is {missing[0]}.")
        if not any(chosen.values()):
            raise M2MError(f"{split} names no files; it must be JSON with lists 'train', 'validation' and 'test'.")
    else:
        chosen = {name: [] for name in SPLITS}
        for path in sorted(p for p in midi_dir.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
            name = path.relative_to(midi_dir).as_posix()
            draw = hashlib.sha256(name.encode()).digest()[0]
            chosen["validation" if draw < 13 else "test" if draw < 26 else "train"].append(name)
        if not any(chosen.values()):
            raise M2MError(f"{midi_dir} holds no MIDI files ({', '.join(SUFFIXES)}).")
    shards: dict[str, str] = {}
    for name in (name for names in chosen.values() for name in names):
        shard = shard_path(Path(), "", name).name
        if shard in shards:  # a file of two splits would be trained on and tested with; of two files, one would be lost
            raise M2MError(f"{name} and {shards[shard]} would become one shard; name a file once, and no two alike.")
        shards[shard] = name
    return chosen


class Renderer:
    """FluidSynth, playing notes from a SoundFont."""

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
        self._synth, self._resample = fluidsynth.Synth, soxr.resample
        self.soundfont, self.sample_rate, self.gain = soundfont, sample_rate, gain
        self.rate = sample_rate * OVERSAMPLING

    def require(self, programs: Sequence[int]) -> None:
        """Raise M2MError unless the SoundFont has these programs."""
        synth, font = self._open()
        missing = [f"{p} ({program_name(p)})" for p in programs if synth.sfpreset_name(font, 0, p) is None]
        synth.delete()
        if missing:
            raise M2MError(f"{self.soundfont} has no program {', '.join(missing)} in bank 0; choose others.")

    def render(self, notes: NoteArray, program: int, samples: int) -> NDArray[np.float32]:
        """Play notes on one program: (samples,) float32 mono, the mean of FluidSynth's two channels."""
        synth, font = self._open()
        if synth.sfpreset_name(font, 0, program) is None or synth.program_select(0, font, 0, program) < 0:
            raise M2MError(f"{self.soundfont} has no program {program} ({program_name(program)}) in bank 0.")
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
        """A new FluidSynth and the number of the SoundFont in it.

        New for every part: its dither and its voices remember what they played, and a shard must not depend on what was
        rendered before it. That is cheap when the samples of the chosen program alone are loaded.
        """
        settings = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.dynamic-sample-loading": 1}
        synth = self._synth(gain=self.gain, samplerate=float(self.rate), channels=16, **settings)
        font = synth.sfload(str(self.soundfont))
        if font < 0:
            raise M2MError(f"FluidSynth cannot read {self.soundfont}; the file is damaged.")
        return synth, font


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
    last = float(varied["start"].max())
    latest = min(last, max(0.0, last - config.seconds + 2 * config.tail))
    begin = float(
        varied["start"][np.searchsorted(varied["start"], draw.uniform(0.0, latest))]
    )  # at an onset, not in a rest
    return excerpt(varied, max(0.0, begin - 0.1), np.inf)


def build_shard(source: Path, name: str, split: str, soundfont: Path, out: Path, config: DatasetConfig) -> float:
    """Render one MIDI file on every instrument into a shard, unless it is there already. Returns seconds of audio."""
    target = shard_path(out, split, name)
    about = {"source": name, "split": split, "soundfont": soundfont.name, "config": config.model_dump_json()}
    if target.is_file():
        with _open_shard(target) as shard:
            if shard.metadata() != about:
                raise M2MError(f"{target} is of another data set than {out / 'dataset.json'}; delete it.")
        return 0.0
    renderer = Renderer(soundfont, config.mel.sample_rate, config.gain)
    notes = merge(part.notes for part in read_score(source).playable)
    if not len(notes):
        raise M2MError(f"{source} has no notes to play (drums and keys outside the piano's are left out); remove it.")
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
    make_folder(target.parent)
    with atomic_path(target) as temporary:
        try:
            save_file(tensors, temporary, metadata=about)
        except SafetensorError as error:
            raise M2MError(f"cannot write {target}: {error}.") from error
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
        now, earlier = json.loads(json.dumps(about)), _read_about(out)
        now, earlier = (
            {**tree["config"], "soundfont": tree["soundfont"], "files": tree["files"]} for tree in (now, earlier)
        )
        changed = [key for key in now if key not in earlier or earlier[key] != now[key]]
        if changed:
            raise M2MError(
                f"{out} holds a data set made with other {', '.join(changed)}; choose another output folder, or delete it."
            )
        return
    make_folder(out)
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + os.linesep)


def _read_about(data: Path) -> dict[str, Any]:
    path = data / "dataset.json"
    try:
        about = json.loads(read_bytes(path, MAX_JSON_BYTES, "a data set's description"))
        DatasetConfig.model_validate(about["config"])
        if not all(isinstance(about[key], dict) for key in ("instruments", "files", "soundfont")):
            raise ValueError("it is incomplete")
        if not all(isinstance(program, int) for program in about["instruments"].values()):
            raise ValueError("its instruments are no programs")
        if not all(isinstance(name, str) for names in about["files"].values() for name in names):
            raise ValueError("its files have no names")
    except (ValueError, KeyError, TypeError, RecursionError, M2MError) as error:
        if not path.exists():
            why = "there is no dataset.json"
        elif isinstance(error, ValidationError):
            why = "its config is of another version of m2m"
        else:
            why = f"dataset.json: {error}"
        raise M2MError(f"{data} is not a data set ({why}); make one with 'm2m dataset build'.") from error
    return about


def _open_shard(path: Path) -> Any:
    try:
        require_file(path, MAX_SHARD_BYTES, "a shard")
        return safe_open(path, framework="numpy")
    except (OSError, SafetensorError, M2MError) as error:
        raise M2MError(
            f"cannot read the shard {path} ({error}); delete it and run 'm2m dataset build' again."
        ) from error


class ShardReader:
    """The shards of a data set's split, read without loading them: every access touches only the bytes it needs."""

    def __init__(self, data: Path, split: str) -> None:
        about = _read_about(data)
        self.config = DatasetConfig.model_validate(about["config"])
        self.instruments: dict[str, int] = about["instruments"]
        self.files = [name for name in about["files"].get(split, []) if shard_path(data, split, name).is_file()]
        if not self.files:
            raise M2MError(f"{data} has no finished shard in its split {split!r}; run 'm2m dataset build' to the end.")
        self._shards = [_open_shard(shard_path(data, split, name)) for name in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def require(self, mel: MelSpec, instruments: Mapping[str, int]) -> None:
        """Raise M2MError unless the data set has this mel and these instruments."""
        if mel != self.config.mel:
            raise M2MError(
                f"model and data set have different mels: {', '.join(mel.differences(self.config.mel))}; give both the same."
            )
        missing = dict(instruments.items() - self.instruments.items())
        if missing:
            raise M2MError(f"the data set has no {_listed(missing)}; it has {_listed(self.instruments)}.")

    def notes(self, index: int, instrument: str) -> NDArray[np.float64]:
        """The notes that an instrument plays in file `index`, as rows of start, end, pitch, velocity."""
        return np.asarray(self._slice(index, f"{instrument}/notes")[:])

    def frames(self, index: int, instrument: str) -> int:
        """Length in frames."""
        return int(self._slice(index, f"{instrument}/mel").get_shape()[0])

    def mel(self, index: int, instrument: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Log-mel of frames start..stop: (frames, n_mels)."""
        return self._part(index, f"{instrument}/mel", start, stop).astype(np.float32)

    def audio(self, index: int, instrument: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Samples start..stop, in -1..1."""
        return self._part(index, f"{instrument}/audio", start, stop).astype(np.float32) / 32767.0

    def _part(self, index: int, key: str, start: int, stop: int | None) -> NDArray[Any]:
        whole = self._slice(index, key)
        length = whole.get_shape()[0]  # of a slice that reaches beyond, safetensors makes an error, numpy a shorter one
        part: NDArray[Any] = whole[start : length if stop is None else min(stop, length)]
        return part

    def _slice(self, index: int, key: str) -> Any:
        try:
            return self._shards[index].get_slice(key)
        except SafetensorError as error:
            raise M2MError(
                f"the shard of {self.files[index]} lacks {key}; delete it and run 'm2m dataset build' again."
            ) from error


def _listed(instruments: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({program})" for name, program in sorted(instruments.items(), key=lambda pair: pair[1]))


def build(
    midi_dir: Path, soundfont: Path, out: Path, config: DatasetConfig, split: Path | None, jobs: int
) -> Sequence[str]:
    """Build a data set, or the missing part of one. Returns the files that could not be read, with the reason."""
    Renderer(soundfont, config.mel.sample_rate, config.gain).require(config.programs)  # before anything is written
    files = split_files(midi_dir, split)
    describe(out, soundfont, config, files)
    work = [
        (midi_dir / name, name, split_name, soundfont, out, config)
        for split_name in SPLITS
        for name in files[split_name]
    ]
    with closing(in_order(work, _attempt, jobs)) as worked:
        told = (f"{task[0]}: {death}." if death else message for task, message, death in worked)
        return [message for message in track(told, "rendering", total=len(work)) if message]


def _attempt(shard: tuple[Path, str, str, Path, Path, DatasetConfig]) -> str:
    try:
        build_shard(*shard)
    except M2MError as error:
        return str(error)
    return ""


def stretch(
    read: Callable[[int, int], NDArray[np.float32]], start: int, stop: int, beyond: float
) -> NDArray[np.float32]:
    """Rows start..stop of what `read` reads, with `beyond` where there are none, before and after."""
    found = read(max(0, start), max(0, stop))
    before = min(stop, 0) - min(start, 0)
    after = stop - start - before - len(found)
    pad = [(before, after)] + [(0, 0)] * (found.ndim - 1)
    return np.pad(found, pad, constant_values=np.float32(beyond))
