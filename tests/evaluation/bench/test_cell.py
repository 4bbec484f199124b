"""What a cell renders: the mel of a model, of the score's notes or of those that a transcriber hears."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("mir_eval")

from m2m.core.errors import M2MError
from m2m.evaluation.bench.cell import CellRenderer
from m2m.evaluation.bench.plan import BenchConfig, make_plan

TRANSCRIBER = """
from m2m.core.score import note_array
from m2m.core.transcriber import Transcriber

class Encoder(Transcriber):
    def transcribe(self, wave, sample_rate):
        return note_array([(0.05, 0.3, 60, 90), (0.35, 0.6, 64, 90)])  # two of the three that are played
"""


def test_what_a_transcriber_hears_is_rendered(recordings: Path, install: Callable[..., Path]) -> None:
    install("two-notes", TRANSCRIBER, group="m2m.transcribers")
    config = BenchConfig(
        data=recordings,
        stages=("predicted", "transcribed"),
        vocoders=("griffin-lim",),
        conditioners=("film",),
        transcriber="two-notes",
        files=("up",),
        instruments=("trumpet",),
        seconds=1.0,
    )
    cells = {cell.system.label: cell for cell in make_plan(config).cells}
    assert set(cells) == {"original", "film > griffin-lim", "transcribed > film > griffin-lim"}
    renderer = CellRenderer(config)
    written, heard = (renderer.mel(cell.system, cell.recording) for cell in list(cells.values())[1:])
    assert written.notes is not None
    assert heard.notes is not None
    assert written.notes["pitch"].tolist() == [60, 64, 67]
    assert [tuple(note) for note in heard.notes.tolist()] == [(0.05, 0.3, 60, 90), (0.35, 0.6, 64, 90)]
    late = slice(int(0.7 * heard.spec.frame_rate), None)  # where only the score has a note
    assert written.values[late].mean() > heard.values[late].mean() + 1
    with pytest.raises(M2MError, match="'transcribed' wants a transcriber"):
        make_plan(config.model_copy(update={"transcriber": None}))
