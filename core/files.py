"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from m2m.core.errors import M2MError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` with its suffix; renamed onto it when the block ends well, deleted when it does not.

    Raises M2MError when the folder cannot be written or the disk is full.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.stem[:100]}-", suffix=target.suffix, dir=target.parent)
        os.close(descriptor)
    except OSError as error:
        raise M2MError(f"cannot write {target}: {error.strerror}.") from error
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's 0600 is for secrets
        os.replace(temporary, target)
    except (OSError, SafetensorError) as error:  # safetensors has an error of its own for a full disk
        raise M2MError(f"cannot write {target}: {getattr(error, 'strerror', None) or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there. Raises M2MError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise M2MError(f"cannot make the folder {path}: {error.strerror}.") from error


def refuse_overwrite(path: Path, overwrite: bool) -> None:
    """Raise M2MError where a file would be overwritten unasked."""
    if path.exists() and not overwrite:
        raise M2MError(f"{path} exists; overwrite it with -y, or choose another name with -o.")
