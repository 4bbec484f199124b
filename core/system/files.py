"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from safetensors import SafetensorError

from m2m.core.errors import M2MError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` with its suffix; renamed onto it when the block ends well, deleted when it does not.

    Raises M2MError when the folder cannot be written or the disk is full.
    """
    temporary = target.with_name(f".{target.stem[:40]}-{secrets.token_hex(8)}{target.suffix}")
    try:  # the name is known before there is a file, so that no interrupt can leave one behind
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())  # a program that has written it may have chosen otherwise
        os.replace(temporary, target)
    except (OSError, SafetensorError) as error:  # safetensors has an error of its own for a full disk
        raise M2MError(f"cannot write {target}: {getattr(error, 'strerror', None) or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    r"""Write a text as UTF-8, whatever the locale's encoding, whole or not at all.

    A file name in it that is no UTF-8 comes out as an escape, such as \udce9. Raises M2MError as `atomic_path` does.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def require_file(path: Path, most: int, what: str) -> None:
    """Raise M2MError unless `path` is a regular file of at most `most` bytes; `what` could not be larger.

    A FIFO would be waited for and a device read without end.
    """
    try:
        about = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise M2MError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    if not stat.S_ISREG(about.st_mode):
        raise M2MError(f"{path} is not a regular file.")
    if about.st_size > most:
        raise M2MError(f"{path} has {about.st_size:,} bytes, {most:,} are the most for {what}.")


def read_bytes(path: Path, most: int, what: str) -> bytes:
    """The bytes of a file, as `require_file` allows it. Raises M2MError."""
    require_file(path, most, what)
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise M2MError(f"cannot read {path}: {error.strerror or error}.") from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there. Raises M2MError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise M2MError(f"cannot make the folder {path}: {error.strerror}.") from error


def require_writable(path: Path) -> None:
    """Raise M2MError where `atomic_path` could make no file, nor `make_folder` the folder that it wants."""
    folder, what = path.absolute().parent, f"write {path}"
    try:
        there = next(folder for folder in path.absolute().parents if folder.exists())
        if there != folder:
            what = f"make the folder {folder}"
        with TemporaryFile(dir=there):  # tried, since permissions do not tell all: a read-only disk, /proc
            pass
    except (OSError, ValueError) as error:
        raise M2MError(f"cannot {what}: {getattr(error, 'strerror', None) or error}.") from error


def refuse_overwrite(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Raise M2MError where a file would be overwritten unasked; one of `inputs`, or a folder, where asked as well."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a name too long, a loop of links
        raise M2MError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}.") from error
    if not overwrite:
        raise M2MError(f"{path} exists; overwrite it with -y (overwrite=True), or choose another name with -o.")
    if not stat.S_ISREG(there.st_mode):
        raise M2MError(f"{path} is not a regular file and is not overwritten; choose another name with -o.")
    if any(source.exists() and source.samefile(path) for source in inputs):
        raise M2MError(f"{path} is what was to be read and is not overwritten; choose another name with -o.")
