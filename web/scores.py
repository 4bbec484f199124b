"""The scores that a server knows: those that ship, and the latest ones that were uploaded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

from m2m.core.errors import M2MError
from m2m.core.model_folders import shipped
from m2m.core.rendering.model_choice import omissions
from m2m.core.score import Score, parse_score, read_score
from m2m.core.score_limits import BeyondLimitError, Limits
from m2m.web.limits import RefusedError, ServerLimits
from m2m.web.messages import Example, ScoreInfo, TrackInfo
from m2m.web.transcription import Heard

OBJECT = 200  # bytes of an array or a tuple besides what it holds, about


class Scores:
    """Scores by their ids. Its methods are called from any thread.

    instruments: of the model that a client gets who names none, name -> number (core/instruments.py); it decides what of a score
        will not sound.
    """

    def __init__(self, limits: ServerLimits, instruments: Mapping[str, int]) -> None:
        self.limits = limits
        self._instruments = instruments
        self._reader_limits = Limits(  # what is beyond the server's own limits is refused below, with its own message
            notes=max(Limits.notes, limits.score_notes), seconds=max(Limits.seconds, limits.score_seconds)
        )
        self._lock = threading.Lock()
        self._uploads: OrderedDict[str, Score] = OrderedDict()
        self._heard: dict[str, Heard] = {}  # of those of `_uploads` that were transcribed from a recording
        shipped_scores = (read_score(path) for path in sorted(shipped().parent.joinpath("examples").glob("*.mid")))
        self._shipped = {score.sha256: score for score in shipped_scores}

    def examples(self) -> list[Example]:
        """The scores that ship."""
        return [Example(id=key, name=s.name, seconds=s.duration) for key, s in self._shipped.items()]

    def upload(self, data: bytes, name: str, heard: Heard | None = None) -> ScoreInfo:
        """Read a score and remember it.

        data: a Standard MIDI File. name: of the file, as it is shown. heard: of the recording that it was transcribed from.
        Raises RefusedError for what is not a MIDI file, is too long, or has nothing to play.
        """
        name = shown_name(name) or "score.mid"
        try:
            score = parse_score(data, name, self._reader_limits)
        except BeyondLimitError as error:
            raise RefusedError(413, "too-long", str(error)) from error
        except M2MError as error:
            raise RefusedError(422, "not-midi", str(error)) from error
        self._check_length(score)
        if not score.playable:
            left_out = "; ".join(omission.text for omission in omissions(score, {}))
            raise RefusedError(
                422, "nothing-to-play", f"{name} has no note that can sound{': ' * bool(left_out)}{left_out}."
            )
        info = self._info(score.sha256, score, heard)
        with self._lock:
            self._uploads[score.sha256] = score
            self._uploads.move_to_end(score.sha256)
            if heard:
                self._heard[score.sha256] = heard
            kept = sum(map(held, self._uploads.values())) + sum(one.mel.nbytes for one in self._heard.values())
            while len(self._uploads) > self.limits.scores or kept > self.limits.scores_mb << 20:
                key, oldest = self._uploads.popitem(last=False)
                kept -= held(oldest)
                if dropped := self._heard.pop(key, None):
                    kept -= dropped.mel.nbytes
        return info

    def _check_length(self, score: Score) -> None:
        limits, notes = self.limits, sum(len(track.notes) for track in score.tracks)
        if score.duration > limits.score_seconds:
            most = f"{score.duration / 60:.1f} minutes, {limits.score_seconds / 60:g} are the most this server renders"
            raise RefusedError(413, "too-long", f"{score.name} lasts {most}.")
        if score.duration * len(score.playable) > limits.part_seconds:
            cost = f"{len(score.playable)} tracks of {score.duration / 60:.1f} minutes"
            most = f"{limits.part_seconds / 60:g} minutes of all tracks together are the most here"
            raise RefusedError(413, "too-long", f"{score.name} has {cost}, {most}.")
        if notes > limits.score_notes:
            most = f"{limits.score_notes:,} are the most here"
            raise RefusedError(413, "too-long", f"{score.name} has {notes:,} notes, {most}.")

    def find(self, key: str) -> Score:
        """A score by its id. Raises RefusedError where there is none, or no longer."""
        return self._find(key)[0]

    def heard(self, key: str) -> Heard:
        """What is kept of the recording that a score was transcribed from. Raises RefusedError where there is none."""
        found = self._find(key)[1]
        if found is None:
            raise RefusedError(404, "no-recording", "this score was not transcribed from a recording.")
        return found

    def _find(self, key: str) -> tuple[Score, Heard | None]:
        with self._lock:
            found, heard = self._uploads.get(key) or self._shipped.get(key), self._heard.get(key)
        if found is None:
            raise RefusedError(404, "no-score", "the server does not know this score (any more); send it again.")
        return found, heard

    def info(self, key: str) -> ScoreInfo:
        """A score as clients see it. Raises RefusedError as `find` does."""
        return self._info(key, *self._find(key))

    def _info(self, key: str, score: Score, heard: Heard | None) -> ScoreInfo:
        tracks = [
            TrackInfo(
                number=number,
                name=track.name,
                program=track.program,
                is_drum=track.is_drum,
                starts=track.notes["start"].round(4).tolist(),
                ends=track.notes["end"].round(4).tolist(),
                keys=track.notes["pitch"].tolist(),
                velocities=track.notes["velocity"].tolist(),
            )
            for number, track in enumerate(score.tracks, start=1)
            if len(track.notes)
        ]
        return ScoreInfo(
            id=key,
            name=score.name,
            seconds=score.duration,
            notes=sum(len(track.starts) for track in tracks),
            tracks=tracks,
            omissions=[omission.text for omission in omissions(score, self._instruments)],
            recording=heard.info if heard else None,
        )


def shown_name(name: str) -> str:
    """A file's name as clients may have it: printable, no path, not too long."""
    return "".join(c for c in name if c.isprintable() and c not in "/\\")[:120].strip()


def held(score: Score) -> int:
    """Bytes that a score keeps, about: its arrays, and what objects take."""
    arrays = [
        array
        for track in score.tracks
        for array in (track.notes, track.gain, track.pan, track.bend, track.modulation, *track.controls.values())
    ]
    return sum(array.nbytes for array in arrays) + OBJECT * (1 + len(arrays) + len(score.tempi) + len(score.meters))
