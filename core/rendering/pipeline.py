"""The stages in a row: Score -> parts -> roll -> log-mel -> audio -> mix, each one call, none looking back.

A `Pipeline` loads a model and a vocoder once and renders any number of scores: to the end (`render`), or block by block
while it is listened to (`play`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

import m2m
from m2m.core.audio import channel_count
from m2m.core.choices import CLIP_MODE, GAIN_DB, ClipMode
from m2m.core.errors import M2MError, deprecated, one_line
from m2m.core.mel import LazyMel, Mel, MelSpec, linear_mel
from m2m.core.mel2mel import PREVIEW_CONTEXT, WINDOW, Mel2Mel, load_mel2mel, spans
from m2m.core.model_folders import shipped
from m2m.core.plugins import registry, settings
from m2m.core.rendering.bends import BentTime, read_out
from m2m.core.rendering.effects import Effects
from m2m.core.rendering.mix import Level
from m2m.core.rendering.model_choice import choose_model, omissions, playable
from m2m.core.rendering.panning import channels_of
from m2m.core.rendering.parts import Part, grouped
from m2m.core.rendering.performance import Lane, Performance
from m2m.core.rendering.presence import TAIL, audible, presence
from m2m.core.rendering.result import Rendering
from m2m.core.rendering.synthesis import synthesis
from m2m.core.score import NoteArray, Score, as_score, stem_name
from m2m.core.score_limits import Limits
from m2m.core.system.devices import choose_device
from m2m.core.system.progress import advance, say
from m2m.core.timbre import Timbre, TimbreSpace
from m2m.core.track_selection import Selector
from m2m.core.vocoder import require_spec

if TYPE_CHECKING:
    from pretty_midi import PrettyMIDI


class Pipeline:
    """A model and a vocoder, ready to render.

    model: a model folder, or the name of one that ships; None as `choose_model` takes it.
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
        self.device = choose_device(device)
        self.folder = choose_model(model, encoder, conditioner)
        self.vocoder_name = vocoder or registry.default("vocoder")
        self.vocoder = registry.create("vocoder", self.vocoder_name, options=vocoder_options, device=self.device)
        self.model, self.model_hash = load_mel2mel(self.folder, self.device)  # after the options, which may be wrong
        self.spec = self.model.config.mel
        self._component = registry.find("vocoder", self.vocoder_name)
        with registry.attribute_errors(self._component, "cannot be set up"):
            wanted, self._vocoder_told = self.vocoder.mel_spec, dict(self.vocoder.provenance)
        if not isinstance(wanted, MelSpec | None):
            raise M2MError(
                f"{self._component} broke its contract: its mel_spec is a {type(wanted).__name__}, not a MelSpec."
            )
        if not all(isinstance(text, str) for item in self._vocoder_told.items() for text in item):
            raise M2MError(f"{self._component} broke its contract: its provenance is not text by name.")
        require_spec(self.spec, wanted, str(self._component))
        if self.vocoder.notice:
            say(f"{self.vocoder_name}: {one_line(self.vocoder.notice)}")

    def __repr__(self) -> str:
        return f"Pipeline(model={self.folder.name!r}, vocoder={self.vocoder_name!r}, device={self.device!r})"

    @cached_property
    def timbres(self) -> TimbreSpace:
        """The model's timbre space."""
        return timbre_space(self.model)

    def parts(
        self,
        score: Score,
        timbre: str | None,
        timbres: Mapping[Selector, str],
        apart: bool = False,
        mix: Mapping[Selector, Level] | None = None,
        channels: int = 1,
        effects: bool = False,
    ) -> list[Part]:
        """Group a score's voices by timbre, gain, place in stereo and effects, where none cuts another's notes; `apart` keeps
        every track by itself. A voice that does not sound at its keys' pitch is a part by itself.

        timbre: for all tracks but drums; None gives each the one nearest to its program. timbres, mix: of some tracks, as
        core/track_selection.py selects them. Drums that the model cannot play are left out.
        Raises M2MError for a timbre that cannot be read, and for a drum kit that is to play notes, or anything else drums.
        """
        return grouped(score, self.timbres, timbre, timbres, apart, mix, channels, effects)

    def mel(self, part: Part, seconds: float, time: BentTime | None = None) -> Mel:
        """The log-mel of a part, from the score's beginning to `seconds`; made as far as it is read.

        time: the part's own, in which the mel is then; seconds are always the score's.
        """
        notes, frames = part.notes, int(np.ceil(seconds * self.spec.frame_rate))
        curve = part.timbre.curve(frames, self.spec.frame_rate)
        if time:
            notes, frames = time.notes(notes), int(np.ceil(time.at(np.array([seconds]))[0] * self.spec.frame_rate))
            curve = curve if curve.ndim == 1 else curve[time.frames(frames).clip(0, len(curve) - 1)]

        def make(first: int, last: int) -> NDArray[np.float32]:
            values = np.full((last - first, self.spec.n_mels), self.spec.silence, np.float32)
            for begin, end in audible(presence(notes, first, last, self.spec), WINDOW):
                predicted = self.model.predict_span(notes, curve, first + begin, first + end)
                values[begin:end] = self._faded(predicted, notes, first + begin)
            return values

        pitched, strikes = (None, notes) if part.timbre.is_kit else (notes, None)
        return LazyMel(make, spans(frames), self.spec, pitched, np.atleast_2d(curve), strikes)

    def blocks(self, part: Part, seed: int) -> Iterator[NDArray[np.float32]]:
        """A part's audio in blocks, (samples,) float32 each, from the score's beginning until it has rung out."""
        seconds = part.end + TAIL
        time = part.bent_time(seconds, self.spec.frame_rate)
        blocks = self.stream(self.mel(part, seconds, time), seed)
        if time is None:
            return blocks
        samples = int(np.ceil(seconds * self.spec.frame_rate)) * self.spec.hop_length
        return read_out(blocks, time, samples, self.spec.sample_rate)

    def preview(self, voices: Iterable[tuple[NoteArray, Timbre]], first: float, last: float) -> Mel:
        """The log-mel of notes with their timbres, together, seconds first..last: quick, for a picture, not for a vocoder."""
        begin, end = int(first * self.spec.frame_rate), int(np.ceil(last * self.spec.frame_rate))
        window = max(1, -(-(end - begin) // 4))  # four windows at once: the LSTM takes a third of the steps
        whole = np.zeros((end - begin, self.spec.n_mels), np.float32)
        for notes, timbre in voices:
            curve = timbre.curve(end, self.spec.frame_rate)
            values = self.model.predict_span(notes, curve, begin, end, window, PREVIEW_CONTEXT)
            whole += linear_mel(self._faded(values, notes, begin), self.spec)  # sounds add up, logarithms do not
        floored = np.maximum(whole, np.float32(self.spec.floor))
        return Mel(np.log(floored) if self.spec.log == "natural" else np.log10(floored), self.spec)

    def glance(self, voices: Iterable[tuple[NoteArray, Timbre]], first: float, last: float) -> Mel:
        """The name of `preview` until 0.2."""
        deprecated("Pipeline.glance", "Pipeline.preview")
        return self.preview(voices, first, last)

    def _faded(self, values: NDArray[np.float32], notes: NoteArray, first: int) -> NDArray[np.float32]:
        there = presence(notes, first, first + len(values), self.spec)[:, None]
        return self.spec.silence + (values - self.spec.silence) * there

    def stream(self, mel: Mel, seed: int) -> Iterator[NDArray[np.float32]]:
        """The vocoder's audio of a mel in blocks, each (samples,) float32. Raises M2MError as `synthesis` does."""
        yield from synthesis(self.vocoder, self._component, mel, seed)

    def render(
        self,
        score: Score | str | Path | PrettyMIDI,
        *,
        timbre: str | None = None,
        programs: Mapping[Selector, str] | None = None,
        mix: Mapping[Selector, Level] | None = None,
        seed: int = 0,
        gain: float = GAIN_DB,
        clip_mode: ClipMode = CLIP_MODE,
        stems: bool = False,
        channels: int | None = None,
        effects: bool = False,
        limits: Limits | None = None,
    ) -> Rendering:
        """Render a score, or a MIDI file; `play` has the arguments.

        clip_mode: what becomes of peaks beyond full scale, see `core.audio.tame`.
        Raises M2MError as `play` does, and where a component fails while it renders.
        """
        if clip_mode not in get_args(ClipMode):
            raise M2MError(f"there is no clip mode {clip_mode!r}; there are {', '.join(get_args(ClipMode))}.")
        performance = self.play(
            score,
            timbre=timbre,
            programs=programs,
            mix=mix,
            seed=seed,
            gain=gain,
            stems=stems,
            channels=channels,
            effects=effects,
            limits=limits,
        )
        rate = self.spec.sample_rate
        with advance("rendering", total=len(performance.mix) / rate) as rendered:
            for block in performance:
                rendered(len(block) / rate)
        return performance.finish(clip_mode)

    def play(
        self,
        score: Score | str | Path | PrettyMIDI,
        *,
        timbre: str | None = None,
        programs: Mapping[Selector, str] | None = None,
        mix: Mapping[Selector, Level] | None = None,
        seed: int = 0,
        gain: float = GAIN_DB,
        stems: bool = False,
        channels: int | None = None,
        effects: bool = False,
        limits: Limits | None = None,
    ) -> Performance:
        """Begin to render a score, or a MIDI file: nothing is computed before the first block is asked for.

        timbre: as core/timbre.py reads it, for all tracks; programs: for some tracks, before
        `timbre`: by program, `track:NUMBER` or `name:NAME`. mix: levels of some tracks, as core/rendering/mix.py reads them.
        gain: dB on everything. stems: also keep every track that is heard by itself; their sum is the mix.
        channels: 1 is mono, 2 stereo; None is stereo where some track of the score is not at the centre.
        effects: reverb and chorus, by CC 91 and 93. limits: the most that a file may hold, see core/midi.py.
        Raises M2MError for an argument or a score that cannot be rendered, before anything is computed.
        """
        if not math.isfinite(gain):
            raise M2MError(f"gain {gain} came, a finite number of decibels was wanted.")
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise M2MError(f"seed {seed!r} came, a whole number from 0 up was wanted.")
        music = as_score(score, limits)
        timbre = timbre or settings.settings().defaults.get("timbre")
        channels = channels_of(playable(music, self.timbres.instruments), channels)
        parts = self.parts(music, timbre, programs or {}, stems, mix, channels, effects)
        not_played = omissions(music, self.timbres.instruments)
        if parts and not any(part.level for part in parts):
            raise M2MError(f"{music.name or 'the score'}: every track that plays is muted.")
        if not parts:
            left_out = "; ".join(omission.text for omission in not_played)
            raise M2MError(
                f"{music.name or 'the score'} has no note that can sound{': ' + left_out if left_out else ''}."
            )
        lanes = []
        for index, part in enumerate(parts):
            if not part.level:  # not computed; the other parts' seeds are as they were
                continue
            blocks = self.blocks(part, _part_seed(seed, index))
            track = part.tracks[0]
            added = Effects(track, self.spec.sample_rate, channels) if effects else None
            name = stem_name(music.number(track), track) if stems else ""
            lanes.append(Lane(blocks, track, name, part.level, added))

        def about(clip_mode: ClipMode, audio: NDArray[np.float32]) -> Rendering:
            made = self._provenance(
                music, timbre, programs or {}, mix or {}, seed, gain, clip_mode, stems, effects, audio
            )
            return Rendering(audio, self.spec.sample_rate, made, not_played)

        length = self.length(music)
        silence = np.zeros(length if channels == 1 else (length, channels), np.float32)
        return Performance(silence, self.spec.sample_rate, lanes, 10 ** (gain / 20), about)

    def length(self, score: Score) -> int:
        """Samples that a score is rendered to."""
        ends = [float(track.sounding["end"].max()) for track in playable(score, self.timbres.instruments)]
        return int(np.ceil((max(ends, default=0.0) + TAIL) * self.spec.frame_rate)) * self.spec.hop_length

    def _provenance(
        self,
        score: Score,
        timbre: str | None,
        programs: Mapping[Selector, str],
        mix: Mapping[Selector, Level],
        seed: int,
        gain: float,
        clip_mode: str,
        apart: bool,
        effects: bool,
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
            "score": {"name": score.name, "path": score.path, "sha256": score.sha256},
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
                "provenance": self._vocoder_told,
            },
            "timbre": timbre,
            "map": {str(program): text for program, text in programs.items()},
            "mix": {str(selector): str(level) for selector, level in mix.items()},
            "seed": seed,
            "gain": gain,
            "clip_mode": clip_mode,
            "channels": channel_count(wave),
            "effects": effects,
            "stems": apart,
            "samples": _sha256(wave),
        }


def timbre_space(model: Mel2Mel) -> TimbreSpace:
    """The timbre space that a model has learned."""
    return TimbreSpace(model.config.instruments, model.timbre.weight.detach().float().cpu().numpy())


def render(
    score: Score | str | Path | PrettyMIDI,
    *,
    timbre: str | None = None,
    programs: Mapping[Selector, str] | None = None,
    mix: Mapping[Selector, Level] | None = None,
    seed: int = 0,
    gain: float = GAIN_DB,
    clip_mode: ClipMode = CLIP_MODE,
    stems: bool = False,
    channels: int | None = None,
    effects: bool = False,
    limits: Limits | None = None,
    **components: Any,
) -> Rendering:
    """Render a score with named components: `m2m.render("score.mid", timbre="vibraphone", vocoder="griffin-lim")`.

    `components` are `Pipeline`'s arguments; for several scores make one Pipeline, which loads its model once.
    """
    chosen: dict[str, Any] = {"timbre": timbre, "programs": programs, "mix": mix, "seed": seed, "gain": gain}
    chosen |= {"clip_mode": clip_mode, "stems": stems, "channels": channels, "effects": effects, "limits": limits}
    return Pipeline(**components).render(score, **chosen)


def _part_seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])  # parts must not share their noise


def _sha256(data: Any) -> str:
    """Of anything that is bytes in memory, such as an array."""
    return hashlib.sha256(data).hexdigest()[:16]
