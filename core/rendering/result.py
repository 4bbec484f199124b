"""What comes out of a pipeline: the audio, and all that is needed to make it again."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m.core.audio import audio_bytes, tame, write_audio
from m2m.core.choices import SampleFormat
from m2m.core.score import Omission
from m2m.core.system.files import refuse_overwrite, write_text


@dataclass(frozen=True, eq=False)
class Rendering:
    """Music, and how it came about.

    audio: (samples,) float32, mono, or (samples, 2), left and right; peaks tamed. stems: one a track, if they were asked for.
    omissions: what of the score did not sound; notice: what was done about its peaks, if anything.
    provenance: what `m2m rerender` needs.
    """

    audio: NDArray[np.float32]
    sample_rate: int
    provenance: dict[str, Any]
    omissions: tuple[Omission, ...] = ()
    notice: str = ""
    stems: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.audio) / self.sample_rate

    def save(self, path: str | Path, *, sample_format: SampleFormat | None = None, overwrite: bool = False) -> Path:
        """Write the audio, its type by the extension (.wav, .flac, .ogg, .mp3), with the provenance in its tags."""
        path = Path(path)
        write_audio(
            path, self.audio, self.sample_rate, tags=self.provenance, sample_format=sample_format, overwrite=overwrite
        )
        return path

    def save_provenance(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the provenance, and what did not sound, as JSON."""
        path = Path(path)
        refuse_overwrite(path, overwrite)
        about = self.provenance | {"omissions": [vars(o) for o in self.omissions], "notice": self.notice}
        write_text(path, json.dumps(about, indent=2) + "\n")
        return path

    def __repr__(self) -> str:
        made = f"{self.provenance['conditioner']['name']}, {self.provenance['vocoder']['name']}"
        return f"Rendering({self.provenance['score']['name']!r}, {self.seconds:.1f} s, {made})"

    def _repr_html_(self) -> str:
        quiet, _ = tame(self.audio, "rescale")
        wav = base64.b64encode(audio_bytes(".wav", quiet, self.sample_rate, tags=self.provenance)).decode()
        title = html.escape(repr(self))
        return f"<figure><audio controls src='data:audio/wav;base64,{wav}'></audio><figcaption>{title}</figcaption></figure>"
