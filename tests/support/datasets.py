"""Small data sets, made of sines where no FluidSynth is needed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
from numpy.typing import NDArray

from m2m.core.instruments import program_name
from m2m.core.score import NoteArray
from m2m.dataset import build as dataset
from m2m.dataset.build import build_shard, describe
from m2m.dataset.shards import DatasetConfig

Midi = Callable[..., Path]
SOUNDFONT = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"  # a small one, that pretty_midi brings
SMALL = DatasetConfig(programs=(0, 56), seconds=3.0, tail=0.5)


def _fluidsynth_is_missing() -> str:
    """Why FluidSynth cannot be tested here; empty if it can."""
    try:
        import fluidsynth  # noqa: F401
        import soxr  # noqa: F401
    except ImportError as error:
        return f"FluidSynth is not installed: {error}"
    return "" if SOUNDFONT.is_file() else f"this pretty_midi brings no {SOUNDFONT.name}"


needs_fluidsynth = pytest.mark.skipif(bool(_fluidsynth_is_missing()), reason=_fluidsynth_is_missing() or "-")


class Sines:
    """In the place of `Renderer`: a sine a note, a second one an octave higher on every program but the first."""

    def __init__(self, soundfont: Path, sample_rate: int, gain: float) -> None:
        self.sample_rate, self.gain = sample_rate, gain

    def require(self, programs: Sequence[int]) -> None:
        pass

    def render(self, notes: NoteArray, program: int, samples: int) -> NDArray[np.float32]:
        wave = np.zeros(samples, np.float32)
        for start, end, pitch, velocity in notes.tolist():
            first, last = round(start * self.sample_rate), min(samples, round(end * self.sample_rate))
            phase = 2 * np.pi * pretty_midi.note_number_to_hz(pitch) / self.sample_rate * np.arange(last - first)
            tone = np.sin(phase) + (np.sin(2 * phase) if program else 0.0)
            wave[first:last] += self.gain * velocity / 127 * 0.1 * tone
        return wave


@pytest.fixture
def sines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets are rendered by `Sines`."""
    monkeypatch.setattr(dataset, "Renderer", Sines)


def write_midi(path: Path, keys: Sequence[int], step: float = 0.25, program: int = 0, drums: bool = False) -> Path:
    midi = pretty_midi.PrettyMIDI(resolution=480)
    instrument = pretty_midi.Instrument(program, is_drum=drums)
    instrument.notes = [pretty_midi.Note(70 + 5 * (i % 8), k, step * i, step * (i + 1)) for i, k in enumerate(keys)]
    midi.instruments.append(instrument)
    path.parent.mkdir(parents=True, exist_ok=True)
    midi.write(str(path))
    return path


@pytest.fixture
def midi(tmp_path: Path) -> Midi:
    """Write a MIDI file of one voice under `tmp_path / "midi"`: a name, keys, and a note's length in seconds."""

    def make(name: str, keys: Sequence[int] = (60, 64, 67, 72), **options: object) -> Path:
        return write_midi(tmp_path / "midi" / name, keys, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two training files and a validation file on two instruments, 3 s each. Not to be written to."""
    folder = tmp_path_factory.mktemp("data")
    soundfont = folder / "sines.sf2"
    soundfont.write_bytes(b"none")
    files = {"train": ["a.mid", "b/c.mid"], "validation": ["d.mid"], "test": []}
    scales = {"a.mid": range(48, 72, 2), "b/c.mid": range(76, 52, -2), "d.mid": range(50, 74, 2)}
    describe(folder / "set", soundfont, SMALL, files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "Renderer", Sines)
        for split, names in files.items():
            for name in names:
                source = write_midi(folder / "midi" / name, scales[name])
                build_shard(source, name, split, soundfont, folder / "set", SMALL)
    assert {program_name(p) for p in SMALL.programs} == {"grand-piano", "trumpet"}
    return folder / "set"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a module impossible to import, as if it were not installed."""
    import sys

    def remove(name: str) -> None:
        for loaded in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, name, None)

    return remove


@pytest.fixture
def no_tensorboard(without: Callable[[str], None]) -> None:
    """Training logs nothing, which takes time."""
    without("torch.utils.tensorboard")
