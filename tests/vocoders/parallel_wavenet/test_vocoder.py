"""The Parallel WaveNet vocoder: its contract, its temperature, its notes, and the model that ships."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_student import SPEC, TINY, mel, student

from m2m.core import model_folders
from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel import Mel
from m2m.core.score import note_array
from m2m.vocoders.parallel_wavenet.network import KIND, StudentConfig, load_student
from m2m.vocoders.parallel_wavenet.vocoder import ParallelWaveNet, ParallelWaveNetOptions
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", KIND, TINY, student(), "# A card\n")
    return tmp_path / "model"


def make(folder: Path, **options: Any) -> ParallelWaveNet:
    return ParallelWaveNet(ParallelWaveNetOptions(model=str(folder), **options))


def test_it_keeps_the_contract(folder: Path) -> None:
    made = make(folder, block_seconds=0.05)
    assert made.mel_spec == SPEC
    music = Mel(mel(300), SPEC)
    music.values.flags.writeable = False
    wave = made.synthesize(music, seed=5)
    assert wave.shape == (music.samples,)
    assert wave.dtype == np.float32
    assert np.isfinite(wave).all()
    blocks = list(made.stream(music, 5))
    assert len(blocks) == 3
    assert np.array_equal(np.concatenate(blocks), wave)
    assert not np.array_equal(made.synthesize(music, seed=6), wave)
    assert made.synthesize(Mel(mel(0), SPEC)).shape == (0,)
    assert made.synthesize(Mel(mel(1), SPEC)).shape == (8,)
    with pytest.raises(M2MError, match="floor is 1e-06, wanted 1e-05"):
        made.synthesize(Mel(mel(3), SPEC.model_copy(update={"floor": 1e-6})))


def test_the_beginning_does_not_depend_on_what_follows(folder: Path) -> None:
    """But for the frames that the upsampling reaches ahead."""
    made = make(folder)
    values = mel(200)
    short, long = made.synthesize(Mel(values[:90], SPEC)), made.synthesize(Mel(values, SPEC))
    known = (90 - TINY.margin) * 8
    assert np.allclose(short[:known], long[:known], atol=1e-6)


def test_a_batch_is_its_mels_one_by_one(folder: Path) -> None:
    made = make(folder, streams=2, block_seconds=0.05)
    mels = [Mel(mel(frames, seed=frames), SPEC) for frames in (150, 1, 0, 101)]
    for mel_, wave in zip(mels, made.batch(mels, seed=3), strict=True):
        alone = made.synthesize(mel_, seed=3)
        assert wave.shape == alone.shape
        assert np.allclose(wave, alone, atol=1e-5)
    assert made.batch([], seed=3) == []


def test_two_streams_at_once_do_not_meet(folder: Path) -> None:
    made = make(folder, block_seconds=0.05)
    first, second = (Mel(mel(300, seed), SPEC) for seed in (1, 2))
    together = zip(made.stream(first, 0), made.stream(second, 0), strict=True)
    waves = [np.concatenate(blocks) for blocks in zip(*together, strict=True)]
    assert np.array_equal(waves[0], made.synthesize(first))
    assert np.array_equal(waves[1], made.synthesize(second))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is seen here")
def test_graphs_are_captured_while_other_threads_render(folder: Path) -> None:
    """Each thread captures a graph of its own, while others allocate memory of sizes that are new to the allocator."""
    made = ParallelWaveNet(ParallelWaveNetOptions(model=str(folder), block_seconds=0.05), device="cuda")
    mels = [Mel(mel(300, seed), SPEC) for seed in range(8)]
    alone = [made.synthesize(music) for music in mels]

    def work(number: int) -> np.ndarray:
        for turn in range(20):
            torch.empty((number * 20 + turn + 1) << 20, device="cuda")
            wave = made.synthesize(mels[number])
        return wave

    with ThreadPoolExecutor(8) as pool:
        for wave, wanted in zip(pool.map(work, range(8)), alone, strict=True):
            assert np.array_equal(wave, wanted)


def test_the_model_says_at_which_temperature_it_is_best(folder: Path, tmp_path: Path) -> None:
    config = StudentConfig.model_validate(TINY.model_dump() | {"temperature": 0.5})
    save_model(tmp_path / "cool", KIND, config, load_student(folder)[0], "")
    music = Mel(mel(4), SPEC)
    cool = make(tmp_path / "cool").synthesize(music, 1)
    assert np.array_equal(cool, make(folder, temperature=0.5).synthesize(music, 1))
    assert not np.array_equal(cool, make(tmp_path / "cool", temperature=1).synthesize(music, 1))


def test_temperature_zero_draws_nothing(folder: Path) -> None:
    made = make(folder, temperature=0)
    music = Mel(mel(4), SPEC)
    assert np.array_equal(made.synthesize(music, 1), made.synthesize(music, 2))
    assert made.uses_seed is False
    assert make(folder, temperature=1).uses_seed is True


def test_notes_are_read_and_may_be_missing(tmp_path: Path) -> None:
    config = StudentConfig.model_validate(TINY.model_dump() | {"condition_on_notes": True})
    save_model(tmp_path / "model", KIND, config, student(config), "")
    made = make(tmp_path / "model", block_seconds=0.05)
    notes = note_array([(0.0, 0.002, 60, 127), (0.06, 0.1, 72, 99)])
    music = Mel(mel(200), SPEC, notes)
    wave = made.synthesize(music)
    assert wave.shape == made.synthesize(music.without_notes()).shape
    assert not np.array_equal(wave, made.synthesize(music.without_notes()))
    whole = ParallelWaveNet(ParallelWaveNetOptions(model=str(tmp_path / "model"), block_seconds=60)).synthesize(music)
    assert np.allclose(wave, whole, atol=1e-5)  # the roll of a block is that part of the whole


def test_the_excitation_is_the_same_in_blocks_of_any_length(tmp_path: Path) -> None:
    config = StudentConfig.model_validate(
        TINY.model_dump() | {"excitation": EXCITATION_VERSION, "condition_on_notes": True}
    )
    save_model(tmp_path / "model", KIND, config, student(config), "")
    music = Mel(mel(200), SPEC, note_array([(0.0, 0.04, 60, 127), (0.03, 0.1, 72, 99)]))
    short, long = (make(tmp_path / "model", block_seconds=s).synthesize(music) for s in (0.05, 60))
    assert np.allclose(short, long, atol=1e-5)
    assert not np.allclose(short, make(tmp_path / "model").synthesize(music.without_notes()), atol=1e-3)


def test_memory_does_not_grow_with_length(folder: Path) -> None:
    """An hour at this recipe's rate, of which ten blocks are computed: a stream that begins at once has not made the rest."""
    made = make(folder)
    hour = Mel(np.broadcast_to(mel(1), (7_200_000, 6)), SPEC)
    blocks = made.stream(hour, 0)
    assert all(len(next(blocks)) == 1600 for _ in range(10))
    blocks.close()  # type: ignore[attr-defined]


def test_the_model_that_ships_is_found_and_its_notice_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folders, "shipped", lambda: folder.parent)
    assert ParallelWaveNet().notice == ""
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(about | {"notice": "early weights, far from griffin-lim's sound"}))
    made = ParallelWaveNet()
    assert made.mel_spec == SPEC
    assert made.notice == "early weights, far from griffin-lim's sound"


def test_without_a_model_it_says_how_to_get_one(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(model_folders, "shipped", lambda: tmp_path / "empty")
        with pytest.raises(M2MError, match=r"m2m train parallel-wavenet.*--vocoder-opt model=FOLDER"):
            ParallelWaveNet()
    with pytest.raises(M2MError, match="there is no model"):
        make(tmp_path / "none")
    with pytest.raises(M2MError, match="not a parallel-wavenet model"):
        make(Path("mel2mel-film"))
    assert load_student(folder)[0].config == TINY
