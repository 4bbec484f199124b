"""Build training data: MIDI files and a SoundFont become notes, audio and mels of every instrument.

FluidSynth plays the notes of our own Score, not the MIDI file, so that notes and audio agree by construction. Each shard says how
it was made, so that a build is continued where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from m2m.core.errors import M2MError
from m2m.core.instruments import program_name
from m2m.core.mel import MelSpec, log_mel
from m2m.core.score import as_rows, merge, read_score
from m2m.core.system.files import atomic_path, make_folder, read_bytes, write_text
from m2m.core.system.progress import track
from m2m.core.system.workers import in_order
from m2m.dataset.description import DESCRIPTION, MAX_JSON_BYTES, read_description
from m2m.dataset.parts import part_for
from m2m.dataset.shards import SPLITS, DatasetConfig, open_shard, read_config, shard_path
from m2m.dataset.soundfont import Renderer

SUFFIXES = (".mid", ".midi", ".kar")
MISSING = object()
SPLIT_HINT = "it must be JSON with lists 'train', 'validation' and 'test'."


def split_files(midi_dir: Path, split: Path | None) -> dict[str, list[str]]:
    """The MIDI files of each split, as paths relative to `midi_dir`.

    split: a JSON file {"train": [...], "validation": [...], "test": [...]}; without one, a hash of each name sends about 5 %
    of the files to validation and 5 % to test, the same ones on every machine. Of three files or more each split gets one.
    Raises M2MError if there are no files, if the split cannot be read, or if two files would become one shard.
    """
    if not midi_dir.is_dir():
        raise M2MError(f"{midi_dir} is not a directory; give the directory that holds the MIDI files.")
    chosen = _split_by_hash(midi_dir) if split is None else _read_split(split, midi_dir)
    shards: dict[str, str] = {}
    for name in (name for names in chosen.values() for name in names):
        shard = shard_path(Path(), "", name).name
        if shard in shards:  # a file of two splits would be trained on and tested with; of two files, one would be lost
            raise M2MError(f"{name} and {shards[shard]} would become one shard; name a file once, and no two alike.")
        shards[shard] = name
    return chosen


def _read_split(split: Path, midi_dir: Path) -> dict[str, list[str]]:
    try:
        named = json.loads(read_bytes(split, MAX_JSON_BYTES, "a split"))
        chosen = {name: [str(file) for file in named.get(name, [])] for name in SPLITS}
        if not all(isinstance(named.get(name, []), list) for name in SPLITS):
            raise ValueError("a split is not a list")
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise M2MError(f"cannot read the split {split}: {error}; {SPLIT_HINT}") from error
    missing = [file for files in chosen.values() for file in files if not (midi_dir / file).is_file()]
    if missing:
        raise M2MError(f"{split} names {len(missing)} files that are not in {midi_dir}, the first is {missing[0]}.")
    if not any(chosen.values()):
        raise M2MError(f"{split} names no files; {SPLIT_HINT}")
    return chosen


def _split_by_hash(midi_dir: Path) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {name: [] for name in SPLITS}
    for path in sorted(p for p in midi_dir.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
        name = path.relative_to(midi_dir).as_posix()
        byte = _digest(name)[0]  # 0..255, of which 13 are 5 %
        chosen["validation" if byte < 13 else "test" if byte < 26 else "train"].append(name)
    if not any(chosen.values()):
        raise M2MError(f"{midi_dir} holds no MIDI files ({', '.join(SUFFIXES)}).")
    for wanted in SPLITS[: sum(map(len, chosen.values()))]:  # of few files, chance would leave a split empty
        if not chosen[wanted]:
            fullest = max(chosen.values(), key=len)
            chosen[wanted].append(fullest.pop(fullest.index(min(fullest, key=_digest))))
    return chosen


def _digest(name: str) -> bytes:
    return hashlib.sha256(os.fsencode(name)).digest()


def build_shard(source: Path, name: str, split: str, soundfont: Path, out: Path, config: DatasetConfig) -> float:
    """Render one MIDI file on every instrument into a shard, unless it is there already.

    source: the file. name: its path relative to the folder of MIDI files, by which the shard is called.
    Returned: seconds of audio that were rendered. Raises M2MError if the file has nothing to play, if the shard is there but of
    another data set, or if it cannot be written.
    """
    target = shard_path(out, split, name)
    title, font = (os.fsencode(text).decode("utf-8", "backslashreplace") for text in (name, soundfont.name))
    about = {"source": title, "split": split, "soundfont": font, "config": config.model_dump_json()}
    if target.is_file():
        with open_shard(target) as shard:
            if shard.metadata() != about:
                raise M2MError(f"{target} is of another data set than {out / DESCRIPTION}; delete it.")
        return 0.0
    renderer = Renderer(soundfont, config.mel.sample_rate, config.gain)
    score = read_score(source)
    notes = merge(track.notes for track in score.playable)
    drums = merge(track.notes for track in score.tracks if track.is_drum)
    if not len(notes):
        raise M2MError(f"{source} has no notes to play (drums and keys outside the piano's are left out); remove it.")
    samples = int(config.seconds * config.mel.frame_rate) * config.mel.hop_length
    tensors: dict[str, NDArray[Any]] = {}
    for program in config.programs:
        draw = random.Random(f"{config.seed} {title} {program}")
        played = part_for(program, notes, drums, split, config, draw)
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


def describe(out: Path, soundfont: Path, config: DatasetConfig, files: dict[str, list[str]]) -> None:
    """Write the description of a data set, or check that the one that is there is the same, so that its build may be continued.

    files: the MIDI files of each split. Raises M2MError if the data set in `out` was made otherwise.
    """
    about = {
        "config": config.model_dump(mode="json"),
        "soundfont": {"name": soundfont.name, "sha256": hashlib.sha256(soundfont.read_bytes()).hexdigest()},
        "instruments": {program_name(program): program for program in config.programs},
        "files": files,
    }
    target = out / DESCRIPTION
    if target.is_file():
        description = read_description(out)
        read_config(out, description)  # the keys of another version's would all be other ones
        trees = json.loads(json.dumps(about)), description.as_written
        now, earlier = ({**tree["config"], "soundfont": tree["soundfont"], "files": tree["files"]} for tree in trees)
        changed = [key for key in now | earlier if now.get(key, MISSING) != earlier.get(key, MISSING)]
        if changed:
            raise M2MError(
                f"{out} holds a data set made with other {', '.join(changed)}; choose another output folder, or delete it."
            )
        return
    make_folder(out)
    write_text(target, json.dumps(about, indent=1) + "\n")


def build(
    midi_dir: Path, soundfont: Path, out: Path, config: DatasetConfig, split: Path | None, jobs: int
) -> Sequence[str]:
    """Build a data set, or the missing part of one.

    split: see `split_files`. jobs: processes that render. Returned: a message for each file that gave no shard.
    Raises M2MError if FluidSynth, the SoundFont or the files are missing, or if `out` holds another data set.
    """
    Renderer(soundfont, config.mel.sample_rate, config.gain).require(config.programs)  # before anything is written
    files = split_files(midi_dir, split)
    describe(out, soundfont, config, files)
    work = [
        (midi_dir / name, name, split_name, soundfont, out, config)
        for split_name in reversed(SPLITS)  # training may begin, and validate, while its files are still rendered
        for name in files[split_name]
    ]
    with closing(in_order(work, _attempt, jobs)) as worked:
        messages = (f"{task[0]}: {death}." if death else message for task, message, death in worked)
        return [message for message in track(messages, "rendering", total=len(work)) if message]


def all_instruments(soundfont: Path) -> tuple[int, ...]:
    """The 128 programs and the drum kits that a SoundFont has. Raises M2MError if it cannot be read."""
    return Renderer(soundfont, MelSpec().sample_rate, gain=1.0).instruments()


def summary(out: Path) -> list[str]:
    """What a data set holds: a line for each split. Raises M2MError if `out` is none, or a shard is damaged."""
    description = read_description(out)
    rate = read_config(out, description).mel.sample_rate
    lines = []
    for split, names in description.files.items():
        paths = [path for path in (shard_path(out, split, name) for name in names) if path.is_file()]
        samples = 0
        for path in paths:
            with open_shard(path) as shard:
                keys = [key for key in shard.keys() if key.endswith("/audio")]  # noqa: SIM118  # it is no mapping
                samples += sum(shard.get_slice(key).get_shape()[0] for key in keys)
        size = sum(path.stat().st_size for path in paths) / 1e6
        lacking = "" if len(paths) == len(names) else f" of {len(names)}, {len(names) - len(paths)} are missing"
        lines.append(f"{split}: {len(paths)} files{lacking}; {samples / rate / 60:.1f} minutes of audio, {size:.1f} MB")
    return lines


def _attempt(shard: tuple[Path, str, str, Path, Path, DatasetConfig]) -> str:
    try:
        build_shard(*shard)
    except M2MError as error:
        return str(error)
    return ""
