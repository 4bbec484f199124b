"""Contract: a vocoder turns a log-mel into audio. This is the one file that a vocoder's author reads.

Subclass `Vocoder`, write `stream`, name the class in the entry-point group
`m2m.vocoders` of your package, and `m2m render --vocoder your-name` works the day it is installed:

    [project.entry-points."m2m.vocoders"]
    my-vocoder = "my_package:MyVocoder"

What m2m promises: values arrive as the `MelSpec` you declared, finite and float32; a mel of another recipe is refused with
the differing fields named before your code runs; a mel of no frames never reaches you.

What you promise:
  length       exactly `mel.samples` = frames * hop_length samples, in order, none dropped at the end;
  range        float32, mono, finite, nominally -1..1 (what lies beyond is handled by the writer, which never clips silently);
  determinism  the same mel, seed, options and device give the same samples; nothing else may (no global random state);
  purity       inputs are not written to; an instance may be used from several threads at once; rendering again leaves no
               more threads behind than rendering once;
  memory       `stream` needs memory that does not grow with the length of its audio;
  promptness   a stream that works through the mel reads `mel.window(first, last)`, not `mel.values`: a mel may be lazy,
               computed as far as it is read, so that the first block is ready early;
  failure      raise `M2MError` with one clear sentence for what the user can mend (missing weights, no GPU). Anything
               else that you raise is reported with your package's name and version.

`m2m plugins new` writes a package to begin with, `m2m plugins check` holds a vocoder to all of this (m2m.core.testing), and
docs/plugins.md goes the whole way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from m2m.core.errors import M2MError
from m2m.core.mel import Mel, MelSpec


class VocoderOptions(BaseModel):
    """Options of a vocoder; a subclass adds its own (`--vocoder-opt name=value`). Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class EngineReport:
    """What a vocoder would compute with on this machine, for `m2m doctor`.

    slower: why a faster one is not used, one phrase, empty where there is none. cure: the command that would mend that.
    substitute: why it would render as another vocoder does, one phrase, empty where it renders as itself: a bench skips it.
    """

    name: str
    slower: str = ""
    cure: str = ""
    substitute: str = ""


class Vocoder(ABC):
    """Mel -> audio.

    API_VERSION:  the version of this contract that the class was written for; state it in your class.
    API_OLDEST:   the oldest version that this m2m still loads (docs/plugins.md has the policy).
    Options:      the pydantic model of its options.
    uses_notes:   it makes use of `Mel.notes` or `Mel.percussive` when they are there (it must also work without).
    uses_seed:    another seed gives other samples; options may decide, so an instance may say it of itself.
    mel_spec:     the recipe it was made for; None means that it computes with any (Griffin-Lim does).
    notice:       what a user should know before trusting its sound, such as weights that are not yet good; one line, said
                  when it is about to render.
    provenance:   what decides its samples beside options, seed and device: a hash of its weights, the engine and precision it
                  chose; text by name. It goes into the tags of what is rendered, and `m2m rerender` names what has changed.
    """

    API_VERSION: ClassVar[int] = 1
    API_OLDEST: ClassVar[int] = 1
    Options: ClassVar[type[VocoderOptions]] = VocoderOptions
    uses_notes: ClassVar[bool] = False
    uses_seed: bool = True
    mel_spec: MelSpec | None = None
    notice: str = ""
    provenance: Mapping[str, str] = {}

    def __init__(self, options: VocoderOptions | None = None, device: str = "cpu") -> None:
        """Load what is needed (weights, kernels) here, not in `stream`. `device` is a torch device string."""
        self.options = options if options is not None else self.Options()
        self.device = device

    @abstractmethod
    def stream(self, mel: Mel, seed: int) -> Iterator[NDArray[np.float32]]:
        """Yield the audio in blocks of any size, each (samples,) float32; together `mel.samples` samples."""

    def synthesize(self, mel: Mel, seed: int = 0) -> NDArray[np.float32]:
        """The whole audio at once: (mel.samples,) float32. Equals the blocks of `stream` laid end to end."""
        self.check(mel)
        blocks = list(self.stream(mel, seed)) if mel.frames else []
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)

    def batch(self, mels: Sequence[Mel], seed: int = 0) -> list[NDArray[np.float32]]:
        """Several mels; each result, (samples,) float32, is `synthesize` of that mel alone. Override where a batch is faster."""
        return [self.synthesize(mel, seed) for mel in mels]

    @classmethod
    def best_engine(cls) -> EngineReport:
        """What it would compute with here. Override where there are several engines; no weights are at hand yet."""
        return EngineReport("its only one")

    def check(self, mel: Mel) -> None:
        """Refuse a mel of another recipe: raises M2MError that names every differing field."""
        require_spec(mel.spec, self.mel_spec, type(self).__name__)


def require_spec(given: MelSpec, wanted: MelSpec | None, who: str) -> None:
    """Raise M2MError unless a mel of recipe `given` may be fed to `who`, which was made for `wanted` (None: any)."""
    if wanted is None or given == wanted:
        return
    fields = "; ".join(
        f"{name} is {mine!r}, wanted {theirs!r}" for name, (mine, theirs) in given.differences(wanted).items()
    )
    raise M2MError(f"the mel does not fit {who}: {fields}. Use a vocoder and an acoustic model made for the same mel.")
