"""The stages in a row: Score -> parts -> roll -> log-mel -> audio -> mix, each one call, none looking back.

A `Pipeline` loads a model and a vocoder once and renders any number of scores; a `Rendering` is what comes out, with all
that is needed to make it again.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import m2m
from m2m.core import config, registry
from m2m.core.audio import ClipMode, SampleFormat, tame, wav_bytes, write_audio
from m2m.core.checkpoint import find_model, shipped
from m2m.core.discovery import one_line
from m2m.core.errors import M2MError
from m2m.core.files import atomic_path, refuse_overwrite
from m2m.core.mel import Mel, MelSpec
from m2m.core.mel2mel import Mel2Mel, load_mel2mel
from m2m.core.progress import advance, say
from m2m.core.score import NoteArray, Omission, Score, Track, merge, read_score, stem_name
from m2m.core.timbre import Timbre, TimbreSpace
from m2m.core.vocoder import require_spec

TAIL = 2.0  # seconds rendered after the last note is let go: the releases that the model learned have faded by then
RING = 1.0  # seconds after the last release until the mel is faded to silence, which it reaches after TAIL
GAIN_DB = 9.0  # training audio leaves headroom for dense chords, which most pieces do not need


@dataclass(frozen=True, eq=False)
class Part:
    """Tracks that sound with one timbre and one gain, and are therefore rendered together."""

    tracks: tuple[Track, ...]
    timbre: Timbre
    name: str

    @cached_property
    def notes(self) -> NoteArray:
        """All their notes, in order of start."""
        return merge(track.notes for track in self.tracks)


@dataclass(frozen=True, eq=False)
class Rendering:
    """Music, and how it came about.

    audio: (samples,) float32 mono, peaks tamed. stems: one a track, if they were asked for.
    omissions: what of the score did not sound; notice: what was done about its peaks, if anything.
    provenance: what `m2m rerender` needs.
    """

    audio: NDArray[np.float32]
    sample_rate: int
    provenance: dict[str, Any]
    omissions: tuple[Omission, ...] = ()
    notice: str = ""
    stems: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.audio) / self.sample_rate

    def save(self, path: str | Path, *, sample_format: SampleFormat | None = None, overwrite: bool = False) -> Path:
        """Write the audio, its type by the extension (.wav, .flac, .ogg, .mp3), with the provenance in its tags."""
        path = Path(path)
        write_audio(
            path, self.audio, self.sample_rate, tags=self.provenance, sample_format=sample_format, overwrite=overwrite
        )
        return path

    def save_provenance(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the provenance, and what did not sound, as JSON."""
        path = Path(path)
        refuse_overwrite(path, overwrite)
        about = self.provenance | {"omissions": [vars(o) for o in self.omissions], "notice": self.notice}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n")
        return path

    def __repr__(self) -> str:
        made = f"{self.provenance['conditioner']['name']}, {self.provenance['vocoder']['name']}"
        return f"Rendering({self.provenance['score']['name']!r}, {self.seconds:.1f} s, {made})"

    def _repr_html_(self) -> str:
        quiet, _ = tame(self.audio, "rescale")
        wav = base64.b64encode(wav_bytes(quiet, self.sample_rate, tags=self.provenance)).decode()
        title = html.escape(repr(self))
        return f"<figure><audio controls src='data:audio/wav;base64,{wav}'></audio><figcaption>{title}</figcaption></figure>"


class Pipeline:
    """A model and a vocoder, ready to render.

    model: a model folder; None takes the one that ships for the conditioner (and the encoder) by name.
    Raises M2MError if a component is missing, an option is wrong, or model and vocoder were made for different mels.
    """

    def __init__(
        self,
        *,
        model: str | Path | None = None,
        encoder: str | None = None,
        conditioner: str | None = None,
        vocoder: str | None = None,
        vocoder_options: Mapping[str, object] | None = None,
        device: str = "cpu",
    ) -> None:
        self.device = _device(device)
        self.folder = choose_model(model, encoder, conditioner)
        self.model, self.model_hash = load_mel2mel(self.folder, self.device)
        self.spec = self.model.config.mel
        self.vocoder_name = vocoder or registry.default("vocoder")
        self.vocoder = registry.create("vocoder", self.vocoder_name, options=vocoder_options, device=self.device)
        self._blamed = registry.find("vocoder", self.vocoder_name)
        require_spec(self.spec, self.vocoder.mel_spec, str(self._blamed))
        if self.vocoder.notice:
            say(f"{self.vocoder_name}: {one_line(self.vocoder.notice)}")

    def __repr__(self) -> str:
        return f"Pipeline(model={self.folder.name!r}, vocoder={self.vocoder_name!r}, device={self.device!r})"

    @cached_property
    def timbres(self) -> TimbreSpace:
        """The model's timbre space."""
        return timbre_space(self.model)

    def parts(self, score: Score, timbre: str | None, programs: Mapping[int, str], apart: bool = False) -> list[Part]:
        """Group a score's tracks by timbre and gain; `apart` keeps every track by itself.

        timbre: for all tracks; None gives each the one nearest to its program, or what `programs` says for that program.
        """
        groups: dict[tuple[Any, ...], list[Track]] = {}
        for index, track in enumerate(score.playable):
            text = programs.get(track.program) or timbre or self.timbres.for_program(track.program)
            groups.setdefault((text, track.gain.tobytes(), index if apart else -1), []).append(track)
        return [Part(tuple(tracks), self.timbres.parse(key[0]), key[0]) for key, tracks in groups.items()]

    def mel(self, part: Part, seconds: float) -> Mel:
        """The log-mel of a part, from the score's beginning to `seconds`."""
        frames = int(np.ceil(seconds * self.spec.frame_rate))
        curve = part.timbre.curve(frames, self.spec.frame_rate)
        values = self.model.predict(part.notes, curve, frames)
        values = self.spec.silence + (values - self.spec.silence) * presence(part.notes, frames, self.spec)[:, None]
        values.flags.writeable = False  # a vocoder is lent it, and may be a stranger's
        return Mel(values, self.spec, part.notes, np.atleast_2d(curve))

    def stream(self, mel: Mel, seed: int) -> Iterator[NDArray[np.float32]]:
        """The vocoder's audio of a mel, block by block, held to the contract of core/vocoder.py.

        Raises M2MError that names the vocoder's package if it fails, or yields what is not finite, mono, float audio of
        the mel's length.
        """
        require_spec(mel.spec, self.vocoder.mel_spec, str(self._blamed))
        component, samples = self._blamed, 0
        with registry.blame(component):
            for block in self.vocoder.stream(mel, seed) if mel.frames else ():
                if not isinstance(block, np.ndarray) or block.ndim != 1 or block.dtype != np.float32:
                    raise M2MError(
                        f"{component} broke its contract: it yielded {_shape(block)}, (samples,) float32 was wanted."
                    )
                if not np.isfinite(block).all():
                    raise M2MError(f"{component} broke its contract: its audio holds NaN or infinite samples.")
                samples += len(block)
                if samples > mel.samples:
                    break
                yield block
        if samples != mel.samples:
            raise M2MError(f"{component} broke its contract: it made {samples:,} samples of a mel of {mel.samples:,}.")

    def render(
        self,
        score: Score | str | Path,
        *,
        timbre: str | None = None,
        programs: Mapping[int, str] | None = None,
        seed: int = 0,
        gain: float = GAIN_DB,
        clip_mode: ClipMode = "rescale",
        stems: bool = False,
    ) -> Rendering:
        """Render a score, or a MIDI file.

        timbre: as core/timbre.py reads it, for all tracks; programs: for tracks of a General MIDI program, before `timbre`.
        gain: dB on everything. stems: also keep every track by itself; their sum is the mix.
        """
        if not math.isfinite(gain):
            raise M2MError(f"gain {gain} came, a finite number of decibels was wanted.")
        if seed < 0:
            raise M2MError(f"seed {seed} came, a whole number from 0 up was wanted.")
        path = None if isinstance(score, Score) else Path(score)
        music = score if isinstance(score, Score) else read_score(score)
        timbre = timbre or config.settings().defaults.timbre
        parts = self.parts(music, timbre, programs or {}, apart=stems)
        if not parts:
            left_out = "; ".join(omission.text for omission in music.omissions)
            raise M2MError(
                f"{music.name or 'the score'} has no note that can sound{': ' + left_out if left_out else ''}."
            )
        rate = self.spec.sample_rate
        samples = int(np.ceil((music.duration + TAIL) * self.spec.frame_rate)) * self.spec.hop_length
        mix = np.zeros(samples, np.float32)
        tracks: dict[str, NDArray[np.float32]] = {}
        with advance("rendering", total=music.duration * len(parts)) as heard:
            for index, part in enumerate(parts):
                curve = part.tracks[0].gain_curve(samples, rate) * np.float32(10 ** (gain / 20))
                at, last = (
                    0,
                    min(samples, int((part.notes["end"].max() + TAIL) * rate) + 1),
                )  # no silence after a part's end
                target = (
                    tracks.setdefault(stem_name(index + 1, part.tracks[0]), np.zeros(samples, np.float32))
                    if stems
                    else mix
                )
                for block in self.stream(self.mel(part, last / rate), _part_seed(seed, index)):
                    block = block[: samples - at]
                    target[at : at + len(block)] += block * curve[at : at + len(block)]
                    at += len(block)
                    heard(len(block) / rate)
        for stem in tracks.values():
            mix += stem
        loudest = max(float(np.abs(wave).max()) for wave in (mix, *tracks.values()))
        tracks = {name: tame(stem, clip_mode, loudest)[0] for name, stem in tracks.items()}
        mix, notice = tame(mix, clip_mode, loudest)
        return Rendering(
            audio=mix,
            sample_rate=rate,
            provenance=self._provenance(music, path, timbre, programs or {}, seed, gain, clip_mode, stems, mix),
            omissions=music.omissions,
            notice=notice,
            stems=tracks,
        )

    def _provenance(
        self,
        score: Score,
        path: Path | None,
        timbre: str | None,
        programs: Mapping[int, str],
        seed: int,
        gain: float,
        clip_mode: str,
        apart: bool,
        wave: NDArray[np.float32],
    ) -> dict[str, Any]:
        made_of = self.model.config
        encoder, conditioner, vocoder = (
            registry.find(kind, name)
            for kind, name in (
                ("encoder", made_of.encoder),
                ("conditioner", made_of.conditioner),
                ("vocoder", self.vocoder_name),
            )
        )
        return {
            "m2m": m2m.__version__,
            "torch": torch.__version__,
            "device": self.device,
            "score": {
                "name": score.name,
                "path": str(path or ""),
                "sha256": _sha256(path.read_bytes()) if path else "",
            },
            "model": {
                "name": self.folder.name,
                "path": "" if self.folder.parent == shipped() else str(self.folder.resolve()),
                "hash": self.model_hash,
            },
            "mel": self.spec.hash,
            "encoder": {"name": encoder.name, "package": f"{encoder.distribution} {encoder.version}"},
            "conditioner": {"name": conditioner.name, "package": f"{conditioner.distribution} {conditioner.version}"},
            "vocoder": {
                "name": vocoder.name,
                "package": f"{vocoder.distribution} {vocoder.version}",
                "options": self.vocoder.options.model_dump(mode="json"),
            },
            "timbre": timbre,
            "map": {str(program): text for program, text in programs.items()},
            "seed": seed,
            "gain": gain,
            "clip_mode": clip_mode,
            "stems": apart,
            "samples": _sha256(wave.tobytes()),
        }


def timbre_space(model: Mel2Mel) -> TimbreSpace:
    """The timbre space that a model has learned."""
    return TimbreSpace(model.config.instruments, model.timbre.weight.detach().float().cpu().numpy())


def render(
    score: Score | str | Path,
    *,
    timbre: str | None = None,
    programs: Mapping[int, str] | None = None,
    seed: int = 0,
    gain: float = GAIN_DB,
    clip_mode: ClipMode = "rescale",
    stems: bool = False,
    **components: Any,
) -> Rendering:
    """Render a score with named components: `m2m.render("score.mid", timbre="vibraphone", vocoder="griffin-lim")`.

    `components` are `Pipeline`'s arguments; for several scores make one Pipeline, which loads its model once.
    """
    return Pipeline(**components).render(
        score, timbre=timbre, programs=programs, seed=seed, gain=gain, clip_mode=clip_mode, stems=stems
    )


def choose_model(model: str | Path | None = None, encoder: str | None = None, conditioner: str | None = None) -> Path:
    """The folder of the acoustic model that these options name; without any, of the default conditioner's."""
    wanted = conditioner if conditioner or model else registry.default("conditioner")
    return find_model("mel2mel", model, {"conditioner": wanted, "encoder": encoder})


def presence(notes: NoteArray, frames: int, spec: MelSpec) -> NDArray[np.float32]:
    """1 where a note sounds or rings out, falling to 0 over the second after RING, 0 in a rest: (frames,).

    The model has seen little of long rests, and where nothing can sound it leaves a faint noise.
    """
    if not len(notes):
        return np.zeros(frames, np.float32)
    reach = spec.n_fft / 2 / spec.sample_rate  # seconds by which a window hears an onset early
    at = np.arange(frames) / spec.frame_rate
    begun = np.searchsorted(notes["start"] - reach, at, side="right")  # how many notes have begun
    ends = np.maximum.accumulate(np.append(-np.inf, notes["end"]))
    return (1 - np.clip((at - ends[begun] - RING) / (TAIL - RING), 0, 1)).astype(np.float32)


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
        reason = str(error).splitlines()[0]
        raise M2MError(
            f"device {name!r} cannot be used: {reason}; give 'cpu', or 'auto' for the best there is."
        ) from error
    return name


def _part_seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])  # parts must not share their noise


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _shape(block: object) -> str:
    return f"{block.shape} {block.dtype}" if isinstance(block, np.ndarray) else type(block).__name__
