"""Audio files and samples: reading, writing with provenance, peaks, µ-law."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import soundfile
from numpy.typing import NDArray

from m2m.core.choices import ClipMode, SampleFormat
from m2m.core.errors import M2MError
from m2m.core.system.files import atomic_path, refuse_overwrite, require_file, require_writable

_CONTAINERS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}
_SUBTYPES = {"pcm16": "PCM_16", "pcm24": "PCM_24", "pcm32": "PCM_32", "float": "FLOAT"}
_STEPS = {"PCM_16": 2.0**-15, "PCM_24": 2.0**-23, "PCM_32": 2.0**-23, "FLOAT": 0.0}  # between samples, as float32 tells
MAX_BYTES = 8 << 30  # of a file that is read
_BLOCK = 1 << 16  # samples handed to the encoder at once: libsndfile's Ogg encoder overflows its stack on minutes


def named(file: Path | io.BytesIO) -> Path | io.BytesIO | bytes:
    """A file as soundfile takes it, which encodes names itself and refuses those that are no UTF-8."""
    return os.fsencode(file) if isinstance(file, Path) and os.name == "posix" else file


def check_format(suffix: str, sample_format: SampleFormat | None) -> None:
    """Raise M2MError unless files of this suffix can be written, in this sample format if one is given."""
    container = _CONTAINERS.get(suffix.lower())
    if container is None or container not in soundfile.available_formats():
        raise M2MError(
            f"cannot write {suffix or 'a file without an extension'}: give it one of {', '.join(_CONTAINERS)}."
        )
    if sample_format is not None and not soundfile.check_format(container, _SUBTYPES[sample_format]):
        fits = [name for name in get_args(SampleFormat) if soundfile.check_format(container, _SUBTYPES[name])]
        cure = f"use {' or '.join(fits)}" if fits else "leave the format out"
        raise M2MError(f"{suffix} files cannot hold {sample_format} samples; {cure}.")


def check_output(path: Path, sample_format: SampleFormat | None, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Raise M2MError for what would stop `write_audio`, as far as it can be known before there is any audio."""
    check_format(path.suffix, sample_format)
    refuse_overwrite(path, overwrite, inputs)
    require_writable(path)


def peak(wave: NDArray[np.float32]) -> float:
    """The largest absolute sample, 0 for none; makes no copy.

    wave: (samples,) or (samples, channels) float32.
    """
    return float(max(wave.max(initial=0.0), -wave.min(initial=0.0)))


def tame(wave: NDArray[np.float32], mode: ClipMode, loudest: float | None = None) -> tuple[NDArray[np.float32], str]:
    """Bring peaks beyond full scale under it. Returns the wave and a sentence on what was done, empty if nothing was.

    wave: (samples,) or (samples, channels) float32. The one that is returned has the same shape and lies in -1..1, unless
    `mode` is none. All channels have one gain.
    mode: rescale divides the whole wave by its peak; clamp cuts off what is beyond; none does nothing, which only float
    files can hold.
    loudest: the highest peak of several waves that must keep their balance; this one's by default.

    >>> tame(np.array([0.5, -2.0], np.float32), "rescale")[0].tolist()
    [0.25, -1.0]
    """
    highest = peak(wave) if loudest is None else loudest
    if highest <= 1.0 or mode == "none":
        return wave, ""
    decibels = 20 * np.log10(highest)
    if mode == "rescale":
        return wave / np.float32(
            highest
        ), f"peaks were {decibels:.1f} dB over full scale: the whole was made softer by that much"
    over = int((np.abs(wave) > 1.0).sum())
    return wave.clip(-1.0, 1.0), f"peaks were {decibels:.1f} dB over full scale: {over:,} samples were clamped"


def write_audio(
    path: Path,
    wave: NDArray[np.float32],
    sample_rate: int,
    *,
    tags: dict[str, Any],
    sample_format: SampleFormat | None = None,
    overwrite: bool = False,
) -> None:
    """Write audio, whole or not at all; the type follows the extension, `tags` go into the comment as JSON.

    wave: (samples,) float32, mono, or (samples, 2), left and right.
    sample_format: None is pcm16 for WAV and FLAC, the codec's own for OGG and MP3.
    Raises M2MError if the file exists and `overwrite` is False, if the format is unknown, if integer samples would clip, or
    if the disk is full.
    """
    check_output(path, sample_format, overwrite)
    with atomic_path(path) as temporary:
        _encode(temporary, path.suffix, wave, sample_rate, tags, sample_format)


def audio_bytes(
    suffix: str,
    wave: NDArray[np.float32],
    sample_rate: int,
    *,
    tags: dict[str, Any],
    sample_format: SampleFormat | None = None,
) -> bytes:
    """The same as `write_audio`, as a file in memory of the type that a suffix such as ".flac" names.

    wave: (samples,) or (samples, 2) float32.

    Raises M2MError as `write_audio` does for a format or samples that cannot be written.
    """
    check_format(suffix, sample_format)
    buffer = io.BytesIO()
    _encode(buffer, suffix, wave, sample_rate, tags, sample_format)
    return buffer.getvalue()


def wav_header(samples: int, sample_rate: int, channels: int = 1) -> bytes:
    """The first 58 bytes of a float32 WAV of so many samples a channel, which may then be sent as they are made."""
    size = 4 * channels  # bytes of a sample of all channels
    fmt = struct.pack("<4sIHHIIHHH", b"fmt ", 18, 3, channels, sample_rate, size * sample_rate, size, 32, 0)
    fact, data = struct.pack("<4sII", b"fact", 4, samples), struct.pack("<4sI", b"data", size * samples)
    return struct.pack("<4sI4s", b"RIFF", 50 + size * samples, b"WAVE") + fmt + fact + data


def channel_count(wave: NDArray[np.float32]) -> int:
    """How many channels a wave has.

    wave: (samples,), one, or (samples, channels) float32.
    """
    return 1 if wave.ndim == 1 else wave.shape[1]


def _encode(
    target: Path | io.BytesIO,
    suffix: str,
    wave: NDArray[np.float32],
    sample_rate: int,
    tags: dict[str, Any],
    sample_format: SampleFormat | None,
) -> None:
    container = _CONTAINERS[suffix.lower()]
    subtype = _SUBTYPES[sample_format] if sample_format else soundfile.default_subtype(container)
    if not np.isfinite(wave).all():
        raise M2MError("the audio holds NaN or infinite samples and is not written.")
    if subtype != "FLOAT" and peak(wave) > 1.0:
        raise M2MError(
            "samples beyond full scale would be clipped: write float samples, or let --clip-mode rescale or clamp them."
        )
    try:
        with soundfile.SoundFile(
            named(target), "w", sample_rate, channel_count(wave), subtype, format=container
        ) as file:
            file.software = f"m2m {tags.get('m2m', '')}".strip()
            file.comment = json.dumps(tags, separators=(",", ":"))
            for start in range(0, len(wave), _BLOCK):
                file.write(wave[start : start + _BLOCK])
    except soundfile.LibsndfileError as error:
        reason = "the disk is full, or fails" if "System error" in str(error) else error  # libsndfile says no more
        raise M2MError(f"cannot write the audio: {reason}.") from error


def read_tags(path: Path) -> dict[str, Any]:
    """The provenance that `write_audio` left in a file. Raises M2MError if there is none."""
    require_file(path, MAX_BYTES, "an audio file")
    try:
        with soundfile.SoundFile(named(path)) as file:
            tags = json.loads(file.comment)
    except (OSError, soundfile.LibsndfileError) as error:
        raise M2MError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise M2MError(
            f"{path} carries no m2m tags: it was not rendered by m2m, or a program has stripped them."
        ) from error
    if not isinstance(tags, dict) or "m2m" not in tags:
        raise M2MError(f"{path} carries tags of another program, not m2m's.")
    return tags


def read_audio(path: Path) -> tuple[NDArray[np.float32], int]:
    """A file's samples, channels averaged: (samples,) float32, and its sample rate in Hz.

    Raises M2MError for a file that is missing, too large, or no audio.
    """
    wave, rate = _read(path)
    return wave.mean(axis=1), rate


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    """A file's samples, (samples, channels) float32, and its sample rate."""
    require_file(path, MAX_BYTES, "an audio file")
    try:
        wave, rate = soundfile.read(named(path), dtype="float32", always_2d=True)
    except (OSError, ValueError, soundfile.LibsndfileError) as error:  # ValueError: a rate or length that cannot be
        raise M2MError(f"cannot read {path}: {error}") from error
    return wave, int(rate)


def holds(path: Path, waves: Iterable[NDArray[np.float32]]) -> bool:
    """Whether a file has the samples of one of `waves`, as far as its sample format can tell; of a lossy file always True.

    waves: each (samples,) or (samples, 2) float32. Raises M2MError for a file that cannot be read.
    """
    try:
        subtype = soundfile.info(named(path)).subtype
    except (OSError, soundfile.LibsndfileError) as error:
        raise M2MError(f"cannot read {path}: {error}") from error
    if subtype not in _STEPS:
        return True
    stored, _ = _read(path)
    rows = (wave.reshape(len(wave), channel_count(wave)) for wave in waves)
    return any(
        wave.shape == stored.shape and np.abs(wave - stored).max(initial=0.0) <= _STEPS[subtype] for wave in rows
    )


def mu_law_encode(wave: NDArray[np.floating[Any]], classes: int = 256) -> NDArray[np.int64]:
    """µ-law companding to integer classes (ITU-T G.711's curve, as in WaveNet, arXiv 1609.03499).

    wave: any shape, -1..1; what is beyond is clipped. Returned is the same shape, int64, 0..classes - 1.

    >>> mu_law_encode(np.array([-1.0, 0.0, 1.0])).tolist()
    [0, 128, 255]
    """
    mu = classes - 1
    companded = np.sign(wave) * np.log1p(mu * np.abs(np.clip(wave, -1.0, 1.0))) / np.log1p(mu)
    return np.floor((companded + 1) / 2 * mu + 0.5).astype(np.int64)


def mu_law_decode(codes: NDArray[np.integer[Any]], classes: int = 256) -> NDArray[np.float32]:
    """The inverse of `mu_law_encode`, up to the quantisation.

    codes: any shape, integers, 0..classes - 1. Returned is the same shape, float32, -1..1.
    """
    mu = classes - 1
    companded = 2 * codes.astype(np.float64) / mu - 1
    return (np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(mu)) / mu).astype(np.float32)
