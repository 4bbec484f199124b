"""A data set's description, `dataset.json`: its one reader, quick to import, for a bench that only lists recordings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2m.core.errors import M2MError
from m2m.core.system.files import read_bytes

DESCRIPTION = "dataset.json"
MAX_JSON_BYTES = 64 << 20


@dataclass(frozen=True)
class Description:
    """What a data set's dataset.json says.

    instruments: name -> General MIDI program. files: split -> MIDI files, the shards that there are to be. as_written: the JSON,
    with the config, which dataset/shards.py reads.
    """

    instruments: dict[str, int]
    files: dict[str, list[str]]
    as_written: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits of how the data set was made; the same for any choice of files."""
        made = json.dumps([self.as_written["config"], self.as_written["soundfont"]])
        return hashlib.sha256(made.encode()).hexdigest()


def read_description(data: Path) -> Description:
    """A data set's dataset.json, checked but for its config. Raises M2MError that says what is wrong with it."""
    path = data / DESCRIPTION
    try:
        about = json.loads(read_bytes(path, MAX_JSON_BYTES, "a data set's description"))
        if not all(isinstance(about[key], dict) for key in ("config", "instruments", "files", "soundfont")):
            raise ValueError("it is incomplete")
        if not all(isinstance(program, int) for program in about["instruments"].values()):
            raise ValueError("its instruments are no programs")
        if not all(isinstance(name, str) for names in about["files"].values() for name in names):
            raise ValueError("its files have no names")
    except (ValueError, KeyError, TypeError, RecursionError, M2MError) as error:
        raise not_a_data_set(
            data, f"{DESCRIPTION}: {error}" if path.exists() else f"there is no {DESCRIPTION}"
        ) from error
    return Description(about["instruments"], about["files"], about)


def not_a_data_set(data: Path, why: str) -> M2MError:
    """The error of a folder that is none, or that another version of m2m has made."""
    return M2MError(f"{data} is not a data set ({why}); make one with 'm2m dataset build'.")
