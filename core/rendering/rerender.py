"""Render a file again from its own tags, and tell whether it is the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2m.core.audio import holds, read_tags
from m2m.core.errors import M2MError
from m2m.core.score_limits import Limits

if TYPE_CHECKING:
    from m2m.core.rendering.result import Rendering


@dataclass(frozen=True)
class Comparison:
    """A second rendering: `same` if every sample is the first one's, else `changes` says what is different from then."""

    rendering: Rendering
    same: bool
    changes: tuple[str, ...]


def rerender(
    path: Path,
    score: Path | None = None,
    model: str | None = None,
    device: str | None = None,
    limits: Limits | None = None,
) -> Comparison:
    """Render `path`, a file that m2m made, once more. The score is looked for where it was, and beside the file.

    Raises M2MError if the file has no tags, its score is not found, or a component that made it is missing.
    """
    tags = read_tags(path)
    from m2m.core.rendering.pipeline import Pipeline  # imports torch, of which a file without tags has no need

    try:
        pipeline = Pipeline(
            model=model or tags["model"]["path"] or tags["model"]["name"],
            vocoder=tags["vocoder"]["name"],
            vocoder_options=tags["vocoder"]["options"],
            device=device or tags["device"],
        )
        rendering = pipeline.render(
            _find_score(path, tags, score),
            timbre=tags["timbre"],
            programs=tags["map"],
            mix=tags.get("mix", {}),  # files of 0.1 and 0.2.0 have none
            seed=tags["seed"],
            gain=tags["gain"],
            clip_mode=tags["clip_mode"],
            stems=tags["stems"],
            channels=tags.get("channels", 1),  # likewise
            effects=tags.get("effects", False),
            limits=limits,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise M2MError(
            f"the tags of {path} are damaged ({type(error).__name__}: {error}); render the score anew."
        ) from error
    changes = _changes(tags, rendering.provenance)
    same = rendering.provenance["samples"] == tags.get("samples")
    if same and not holds(path, [rendering.audio, *rendering.stems.values()]):
        same = False
        changes.insert(0, f"{path} no longer has the samples that its tags tell of: it was cut or edited")
    return Comparison(rendering, same, tuple(changes))


def _find_score(path: Path, tags: dict[str, Any], score: Path | None) -> Path:
    named = Path(tags["score"]["path"])
    candidates = [score] if score else [named, path.parent / named.name]
    for candidate in candidates:
        if (tags["score"]["path"] and candidate.is_file()) or score:
            return candidate
    raise M2MError(
        f"{path} was rendered from {tags['score']['name'] or 'a score in memory'}, which is not found; give it with --score."
    )


def _changes(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    """What differs between two provenances, one phrase a field; where the score lies does not count, nor the result.

    What only one of them tells cannot be compared: a file of an older m2m may tell less.
    """
    changes = []
    for key in before.keys() & after.keys():
        old, new, name = before[key], after[key], f"{prefix}{key}"
        if name in ("score.path", "score.name", "model.path", "samples"):
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            changes += _changes(old, new, f"{name}.")
        elif old != new:
            changes.append(f"{name} was {old}, is {new}")
    return sorted(changes)
