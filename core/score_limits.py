"""The most that a score may have."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from m2m.core.errors import M2MError

MUSICXML_BYTES_A_NOTE = 1000  # a note with its stem, beams and layout takes 300 to 600


class BeyondLimitError(M2MError):
    """A score has more than `Limits` allow."""


@dataclass(frozen=True)
class Limits:
    """The most that a score may have, so that a damaged or hostile file costs seconds and not the machine.

    notes: of all tracks. seconds: length. polyphony: notes that sound at once. tracks: that have notes.

    >>> Limits.of({"notes": "500_000"}).notes
    500000
    """

    notes: int = 100_000
    seconds: float = 7200.0
    polyphony: int = 256
    tracks: int = 256

    @classmethod
    def of(cls, given: dict[str, str]) -> Limits:
        """Other limits than the default ones, by name. Raises M2MError for a name or a number that is none."""
        numbers: dict[str, float] = {}
        for name, text in given.items():
            known = {field.name: float if field.name == "seconds" else int for field in fields(cls)}
            if name not in known:
                raise M2MError(f"there is no limit {name!r}; there are {', '.join(known)}.")
            try:
                numbers[name] = known[name](text)
            except ValueError:
                numbers[name] = 0
            if not 0 < numbers[name] < 1e9:
                raise M2MError(f"limit {name}={text}: a number above 0 and below a billion was wanted.")
        return cls(**numbers)  # type: ignore[arg-type]

    def refuse(self, name: str, found: float, unit: str) -> None:
        """Raise BeyondLimitError where a score has more than is allowed of what `name` limits, and say how to allow it."""
        most = getattr(self, name)
        if found > most:
            raise BeyondLimitError(
                f"it has {found:,.0f} {unit}, {most:,.0f} are the most m2m reads unasked; allow more with "
                f"--limit {name}={math.ceil(found)}, or split the file."
            )
