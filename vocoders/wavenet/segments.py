"""One piece as parallel streams: a mel cut into overlapping segments, and their waves joined into one.

A stream is sequential, so one piece alone has one stream's speed. Cut into segments it has the speed of many:

    cut    each segment ends at the quietest frame near where it should, which is before an onset or in a rest if there is one;
    lead   it is rendered from some time before its part begins: its layers start at zero and fill over the receptive field;
    join   a note that sounds across a cut has another phase in the next segment, so that one is moved, by up to SEARCH samples,
           to where the two waves correlate best, and faded in. Their correlation sets the gains of the crossfade: for equal
           waves the gains sum to one, for unrelated ones their squares do, so the level dips in neither case. With a harmonic
           excitation all segments have the same phases, and none is moved.

Each segment has its own random numbers, by its place in the piece. So the samples depend on the mel and on the length of
segments, and not on how many of them run side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m2m.core.mel import Mel, MelSpec

Array = NDArray[np.float32]

FADE = 0.016  # seconds: some periods of a middle note, too short for two onsets
SEARCH = 0.010  # seconds to either side: half a period of the lowest notes
SHORTEST = 0.25  # seconds
NEAR = 0.25  # of a segment's length: how far from its ideal place a cut may lie
QUIET_FRAMES = 5  # 40 ms: loudness is summed over so many frames


@dataclass(frozen=True)
class Segment:
    """Frames first..last of the piece are this segment's part; start..stop are rendered for it."""

    number: int
    first: int
    last: int
    start: int
    stop: int


def segment_count(mel: Mel, seconds: float) -> int:
    """How many segments of about so many seconds a mel is cut into; 1 if `seconds` is 0."""
    return max(1, round(mel.frames / (seconds * mel.spec.frame_rate))) if seconds else 1


def cut(mel: Mel, seconds: float, lead: int, tail: int) -> Iterator[Segment]:
    """Those segments, in order; reads no more of a `LazyMel` than the next cut needs.

    lead, tail: frames rendered before and after each part.

    >>> silence = Mel(np.zeros((300, 80), np.float32), MelSpec())
    >>> [(s.first, s.last, s.start, s.stop) for s in cut(silence, 1.0, 16, 3)]
    [(0, 150, 0, 153), (150, 300, 134, 300)]
    """
    frames, count = mel.frames, segment_count(mel, seconds)
    first = 0
    for number in range(count):
        ideal = round(frames * (number + 1) / count)
        last = _quiet(mel, ideal, int(NEAR * frames / count)) if ideal < frames else frames
        yield Segment(number, first, last, max(0, first - lead), min(frames, last + tail))
        first = last


def _quiet(mel: Mel, ideal: int, reach: int) -> int:
    """The quietest frame within reach of the ideal one; of equals, the nearest."""
    near = np.arange(ideal - reach, ideal + reach + 1)
    begin = max(0, int(near[0]) - QUIET_FRAMES // 2)
    loudness = np.exp(mel.window(begin, int(near[-1]) + QUIET_FRAMES // 2 + 1).astype(np.float64)).sum(axis=1)
    summed = [loudness[max(0, at - QUIET_FRAMES // 2) : at + QUIET_FRAMES // 2 + 1].sum() for at in near - begin]
    quiet = near[np.array(summed) <= min(summed) * 1.001]
    return int(quiet[np.abs(quiet - ideal).argmin()])


def join(waves: Iterable[tuple[Segment, Array]], spec: MelSpec, frames: int, reach: float = SEARCH) -> Iterator[Array]:
    """Join the rendered segments of a piece.

    waves: in order, each segment with all that was rendered for it, (samples,) float32 audio.
    frames: of the piece.
    reach: seconds by which a segment may be moved.

    Yields each segment's part of the piece, (samples,) float32; all parts together have frames * hop_length samples.
    """
    hop, fade, search = spec.hop_length, int(FADE * spec.sample_rate), int(reach * spec.sample_rate)
    old = np.zeros(0, np.float32)  # the segment before, over the fade
    for segment, wave in waves:
        # In samples of this segment's wave: where its fade begins, where it hands over, and by how much both may move.
        begin = (segment.first - segment.start) * hop - fade // 2 if segment.first else 0
        last = segment.last == frames
        end = (segment.last - segment.start) * hop + (0 if last else fade - fade // 2)
        if segment.first:
            least, most = -min(search, begin), min(search, len(wave) - end)
            alike = normalised_correlation(old, wave[begin + least : begin + most + fade])
            best = int(alike.argmax())
            begin, end = begin + least + best, end + least + best
            wave = wave.copy()
            wave[begin : begin + fade] = crossfade(old, wave[begin : begin + fade], float(alike[best]))
        if not last:
            end -= fade
            old = wave[end : end + fade]
        yield wave[begin:end]


def normalised_correlation(old: Array, new: Array) -> NDArray[np.float64]:
    """Normalised cross-correlation of a wave with each part of its length in a longer one.

    old: (n,) float32.
    new: (n + m,) float32.

    Returns (m + 1,) float64 in -1..1, by offset in `new`; 0 where either is silent.
    """
    old, new = old.astype(np.float64), new.astype(np.float64)
    energy = np.convolve(new * new, np.ones(len(old)), "valid") * (old @ old)
    return np.correlate(new, old, "valid") / np.sqrt(np.maximum(energy, 1e-12))


def crossfade(old: Array, new: Array, alike: float) -> Array:
    """A crossfade that keeps the level of two waves whose normalised correlation is `alike`.

    old, new: (samples,) float32, both of one length.
    alike: in -1..1.

    Returns (samples,) float32.

    >>> crossfade(np.ones(4), np.ones(4), 1.0).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    rise = (np.arange(len(old)) + 0.5) / len(old)
    fall = 1 - rise
    level = np.sqrt(rise**2 + fall**2 + 2 * max(0.0, alike) * rise * fall)
    faded: Array = ((fall * old + rise * new) / level).astype(np.float32)
    return faded
