"""Parts mixed as they are rendered: each block of the mix is ready before the vocoder has done the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from m2m.core.audio import peak, tame
from m2m.core.choices import CLIP_MODE, ClipMode
from m2m.core.rendering.ahead import Ahead
from m2m.core.rendering.effects import Effects
from m2m.core.rendering.panning import side_gains
from m2m.core.rendering.result import Rendering
from m2m.core.score import Track

TOGETHER = 24  # lanes that play at a time: each has a vocoder's stream, some megabytes


@dataclass(eq=False)
class Lane:
    """A part that is being mixed.

    blocks: its audio, (samples,) float32 each. track: the track that has its curves of gain and pan.
    name: the stem's, "" if none is kept. level: of the mix, linear. effects: reverb and chorus, if they are wanted.
    at: samples that are in the mix already.
    """

    blocks: Iterator[NDArray[np.float32]]
    track: Track
    name: str
    level: float = 1.0
    effects: Effects | None = None
    at: int = 0


@dataclass(eq=False)
class Performance:
    """A score while it is rendered. Iterate once for the blocks of its mix, then `finish`.

    mix:   (samples,) or (samples, 2) float32, zero beyond the blocks that have come. Its peaks are not limited yet: by how much
           they must be is known at the end.
    lanes: its parts; none once it is iterated, since a vocoder's stream keeps much, and goes when its lane is complete.
    gain:  linear, on everything. stems: one wave a lane that has a name.
    stopped: asked before every block of a lane; where it is true, the iteration ends.
    about: (clip mode, samples as written) -> a Rendering with everything but the stems.
    """

    mix: NDArray[np.float32]
    sample_rate: int
    lanes: Sequence[Lane]
    gain: float
    about: Callable[[ClipMode, NDArray[np.float32]], Rendering]
    stems: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    stopped: Callable[[], bool] = lambda: False
    loudest: float = 0.0  # sample of the vocoder's own output

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """The mix's blocks, (samples,) or (samples, 2) float32 each, in order; together all of it.

        The lane that is furthest behind goes next, so that memory for all but the mix does not grow with length. Of more
        than TOGETHER lanes, the first are played to their end before the last begin, and the first block comes as late.
        """
        with Ahead(len(self.lanes), self.stopped) as ahead:
            yield from self._played(ahead)

    def _played(self, ahead: Ahead) -> Iterator[NDArray[np.float32]]:
        total, ready, waiting = len(self.mix), 0, deque(self.lanes)
        self.lanes = ()
        self.stems = {lane.name: np.zeros_like(self.mix) for lane in waiting if lane.name}
        playing = [waiting.popleft() for _ in range(min(TOGETHER, len(waiting)))]
        while ready < total and not self.stopped():
            for lane in playing:
                ahead.begin(lane.blocks)
            if playing:
                lane = min(playing, key=lambda lane: lane.at)
                block = ahead.take(lane.blocks)
                if block is not None:
                    self._add(lane, block[: total - lane.at])
                elif lane.effects:  # they ring on
                    rest = lane.effects.rest[: total - lane.at]
                    self._target(lane)[lane.at : lane.at + len(rest)] += rest.reshape(len(rest), *self.mix.shape[1:])
                if block is None or lane.at == total:
                    ahead.end(lane.blocks)
                    playing.remove(lane)
                    playing += [waiting.popleft()] if waiting else []
                del lane, block
            before, ready = ready, 0 if waiting else min((lane.at for lane in playing), default=total)
            if ready > before:
                for stem in self.stems.values():
                    self.mix[before:ready] += stem[before:ready]
                yield self.mix[before:ready]

    def _add(self, lane: Lane, block: NDArray[np.float32]) -> None:
        end = lane.at + len(block)
        self.loudest = max(self.loudest, peak(block))
        target, gain = self._target(lane), np.float32(self.gain * lane.level)
        heard = dry = block * (lane.track.gain_curve(lane.at, end, self.sample_rate) * gain)
        if target.ndim == 2:
            heard = dry[:, None] * side_gains(lane.track, lane.at, end, self.sample_rate)
        if lane.effects:
            heard = heard + lane.effects(dry, lane.at).reshape(heard.shape)
        target[lane.at : end] += heard
        lane.at = end

    def _target(self, lane: Lane) -> NDArray[np.float32]:
        return self.stems[lane.name] if lane.name else self.mix

    def finish(self, clip_mode: ClipMode = CLIP_MODE) -> Rendering:
        """The whole, peaks tamed, once every block has come; mix and stems come down by the same factor."""
        loudest = max(peak(wave) for wave in (self.mix, *self.stems.values()))
        mix, notice = tame(self.mix, clip_mode, loudest)
        stems = {name: tame(stem, clip_mode, loudest)[0] for name, stem in self.stems.items()}
        rendering = self.about(clip_mode, mix)
        if notice and self.loudest > 1.0:
            vocoder, over = rendering.provenance["vocoder"]["name"], 20 * np.log10(self.loudest)
            notice += f"; the vocoder {vocoder} alone is {over:.1f} dB over"
        return replace(rendering, notice=notice, stems=stems)
