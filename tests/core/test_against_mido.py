"""Any file is read as a second machine reads it, which was written on mido from the MIDI specification."""

from pathlib import Path

import mido_machine
import pytest
from generated_midi import files
from hypothesis import given, settings
from two_readings import differences

from m2m.core.score import parse_score
from m2m.core.score_limits import Limits

ANY = Limits(notes=1_000_000, seconds=1e9, polyphony=4096)
FILES = Path(__file__).parents[1] / "fixtures" / "midi"


@pytest.mark.parametrize("path", sorted(FILES.iterdir()), ids=lambda path: path.stem)
def test_the_files_that_others_stumble_over(path: Path) -> None:
    data = path.read_bytes()
    assert list(differences(parse_score(data, limits=ANY), mido_machine.read(data))) == []


@settings(max_examples=150, deadline=None)
@given(files())
def test_generated_files(data: bytes) -> None:
    assert list(differences(parse_score(data, limits=ANY), mido_machine.read(data))) == []
