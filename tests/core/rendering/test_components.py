"""Components by name: each loaded once, and called as a bench calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2m.core.errors import M2MError, UnavailableError
from m2m.core.rendering.components import ComponentCache
from m2m.core.score import note_array
from m2m.vocoders.wavenet.cuda import device

NOTES = note_array([(0.0, 0.2, 69, 90)])
TRANSCRIBER = """
from m2m.core.transcriber import Transcriber

class Encoder(Transcriber):
    def transcribe(self, wave, sample_rate):
        return [(0.0, 1.0, 60, 90)]
"""


def test_notes_become_a_mel_and_audio_of_its_length() -> None:
    components = ComponentCache(vocoder_options={"griffin-lim": {"iterations": 1}})
    mel = components.mel("mel2mel-film", "trumpet", NOTES, 40)
    assert mel.values.shape == (40, 80)
    assert not mel.values.flags.writeable
    blocks = list(components.stream("griffin-lim", mel, 0))
    assert sum(map(len, blocks)) == mel.samples
    assert components.vocoder("griffin-lim").options.model_dump()["iterations"] == 1


def test_a_component_is_loaded_once() -> None:
    components = ComponentCache()
    assert components.model("mel2mel-film") is components.model("mel2mel-film")
    assert components.vocoder("griffin-lim") is components.vocoder("griffin-lim")


def test_one_that_would_render_as_another_is_not_compared_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "available", lambda index=0: "there is no NVIDIA GPU")
    with pytest.raises(UnavailableError, match="'cuda-wavenet' .*as another vocoder does: there is no NVIDIA GPU"):
        ComponentCache().vocoder("cuda-wavenet")
    monkeypatch.setattr(device, "available", lambda index=0: "")
    monkeypatch.setattr(device, "describe", lambda index=0: "a GPU")
    with pytest.raises(M2MError, match="there is no model 'nowhere'"):  # goes on to set it up
        ComponentCache(vocoder_options={"cuda-wavenet": {"model": "nowhere"}}).vocoder("cuda-wavenet")


def test_what_cannot_be_had_or_breaks_its_contract_is_named(install: Callable[..., Path]) -> None:
    components = ComponentCache()
    with pytest.raises(M2MError, match="no vocoder 'nobody' is installed"):
        components.vocoder("nobody")
    with pytest.raises(M2MError, match="not trained on 'kazoo'"):
        components.mel("mel2mel-film", "kazoo", NOTES, 40)
    install("rows", TRANSCRIBER, group="m2m.transcribers")
    with pytest.raises(M2MError, match=r"rows 1\.0 broke its contract: notes as of note_array were wanted"):
        components.transcribe("rows", np.zeros(100, np.float32), 16_000)
