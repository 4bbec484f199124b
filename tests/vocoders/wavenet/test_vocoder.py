"""The WaveNet vocoder: its contract, its temperature, its notes, and what it says where something is missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_wavenet import SPEC, TINY, mel

from m2m.core import model_folders
from m2m.core.audio import mu_law_decode
from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel import Mel
from m2m.core.mel2mel import load_mel2mel
from m2m.core.model_folders import find_model
from m2m.core.score import note_array
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.wavenet import vocoder
from m2m.vocoders.wavenet.cpu.engine import available
from m2m.vocoders.wavenet.cuda import device as cuda_device
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig, load_wavenet
from m2m.vocoders.wavenet.torch_engine import TorchEngine
from m2m.vocoders.wavenet.vocoder import CudaWaveNetVocoder, WaveNetOptions, WaveNetVocoder


@pytest.fixture(autouse=True)
def _chance() -> None:
    torch.manual_seed(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = WaveNet(TINY)
    save_model(tmp_path / "model", "wavenet", TINY, model, "# A card\n")
    return tmp_path / "model"


def make(folder: Path, **options: Any) -> WaveNetVocoder:
    return WaveNetVocoder(WaveNetOptions(model=str(folder), engine="torch", **options))


def test_it_speaks_the_mel_it_was_trained_on(folder: Path) -> None:
    made = make(folder)
    assert made.mel_spec == SPEC
    music = Mel(mel(70), SPEC)
    wave = made.synthesize(music, seed=5)
    assert wave.shape == (music.samples,)
    assert wave.dtype == np.float32
    assert np.isfinite(wave).all()
    assert set(np.unique(wave)) <= set(mu_law_decode(np.arange(16), 16))
    assert len(blocks := list(made.stream(music, 5))) == 2
    assert np.array_equal(np.concatenate(blocks), wave)
    assert not np.array_equal(made.synthesize(music, seed=6), wave)
    with pytest.raises(M2MError, match="floor is 1e-06, wanted 1e-05"):
        made.synthesize(Mel(mel(3), SPEC.model_copy(update={"floor": 1e-6})))


def test_a_batch_is_its_mels_one_by_one(folder: Path) -> None:
    made = make(folder, streams=2)
    mels = [Mel(mel(frames, seed=frames), SPEC) for frames in (4, 1, 3)]
    for mel_, wave in zip(mels, made.batch(mels, seed=3), strict=True):
        assert np.array_equal(wave, made.synthesize(mel_, seed=3))
    assert made.batch([], seed=3) == []


def test_the_model_says_at_which_temperature_it_is_best(folder: Path, tmp_path: Path) -> None:
    config = WaveNetConfig.model_validate(TINY.model_dump() | {"temperature": 0.5})
    save_model(tmp_path / "cool", "wavenet", config, load_wavenet(folder)[0], "")
    music = Mel(mel(4), SPEC)
    cool, warm = make(tmp_path / "cool").synthesize(music, 1), make(folder).synthesize(music, 1)
    assert np.array_equal(cool, make(folder, temperature=0.5).synthesize(music, 1))
    assert np.array_equal(warm, make(tmp_path / "cool", temperature=1).synthesize(music, 1))
    assert not np.array_equal(cool, warm)


def test_temperature_zero_draws_nothing(folder: Path) -> None:
    made = make(folder, temperature=0)
    music = Mel(mel(4), SPEC)
    assert np.array_equal(made.synthesize(music, 1), made.synthesize(music, 2))
    assert made.uses_seed is False
    assert make(folder, temperature=1).uses_seed is True


@pytest.mark.parametrize("reads", [{"condition_on_notes": True}, {"excitation": EXCITATION_VERSION}])
def test_notes_are_read_and_may_be_missing(tmp_path: Path, reads: dict[str, object]) -> None:
    config = WaveNetConfig.model_validate(TINY.model_dump() | reads | {"output": "gaussian"})
    save_model(tmp_path / "model", "wavenet", config, WaveNet(config), "")
    made = make(tmp_path / "model")
    music = Mel(mel(8), SPEC, note_array([(0.0, 0.002, 60, 127)]))
    wave = made.synthesize(music)
    assert wave.shape == made.synthesize(music.without_notes()).shape
    assert not np.array_equal(wave, made.synthesize(music.without_notes()))


def test_where_the_kernel_cannot_run_one_line_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise M2MError("the kernel was not built.")

    monkeypatch.setattr(vocoder, "CpuEngine", refuse)
    made = WaveNetVocoder(WaveNetOptions(model=str(folder)))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "the kernel was not built" in said[0]
    assert isinstance(made.engine, TorchEngine)
    with pytest.raises(M2MError, match="not built"):
        WaveNetVocoder(WaveNetOptions(model=str(folder), engine="cpu"))


def test_without_a_model_it_says_how_to_get_one(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(M2MError, match="there is no model"):
        make(tmp_path / "none")
    with pytest.raises(M2MError, match="not a wavenet model"):
        make(Path("mel2mel-film"))
    assert load_wavenet(folder)[0].config == TINY
    monkeypatch.setattr(model_folders, "shipped", lambda: tmp_path / "nothing")
    with pytest.raises(M2MError, match=r"m2m train wavenet.*--vocoder-opt model=FOLDER"):
        WaveNetVocoder()


def test_the_weights_that_ship_say_what_they_are() -> None:
    made = WaveNetVocoder(WaveNetOptions(engine="torch"))
    beside = {"excitation": made.model.config.excitation, "temperature": made.model.config.temperature}
    assert made.model.config == WaveNetConfig(**beside)  # the reference's sizes
    assert "griffin-lim" in made.notice


# --- what the weights that ship add to a held note --------------------------------------------------------------------

KEY, SECONDS = 65, 1.0  # F4
HELD = ("church-organ", "string-ensemble", "grand-piano", "trumpet")


def held_note(instrument: str) -> Mel:
    film, _ = load_mel2mel(find_model("mel2mel", "mel2mel-film", {}))
    notes, frames = note_array([(0.0, SECONDS, KEY, 90)]), round(SECONDS * film.config.mel.frame_rate)
    return Mel(film.predict(notes, film.point(instrument), frames), film.config.mel, notes)


def between_partials(wave: np.ndarray, rate: int) -> np.ndarray:
    """Power between the partials of KEY in windows of 64 ms, 16 ms apart, from 0.1 s on: (windows,), in dB."""
    size, hop, fundamental = 1024, 256, 440 * 2 ** ((KEY - 69) / 12)
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), size)[rate // 10 :: hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
    partials = np.fft.rfftfreq(size, 1 / rate) / (fundamental / 2)  # an organ has some an octave lower
    off = (
        np.abs(partials - partials.round()) * fundamental / 2
    )  # Hz; the window's main lobe is 31 Hz wide on either side
    return 10 * np.log10(power[:, (off > 40) & (partials > 1)].sum(1))


def hiss(made: WaveNetVocoder) -> dict[str, float]:
    """By how many dB the noise between partials, relative to the excitation's own, changes within a held note."""
    mels = {instrument: held_note(instrument) for instrument in HELD}
    found = {}
    for (instrument, mel_), wave in zip(mels.items(), made.batch(list(mels.values())), strict=True):
        features = torch.from_numpy(made.model.features_of(mel_))
        excitation = made.model.to_sound(torch.zeros(mel_.samples), features).numpy()
        added, own = (between_partials(x, mel_.spec.sample_rate) for x in (wave, excitation))
        found[instrument] = float(np.ptp(added - own))
    return found


@pytest.mark.skipif(not available(), reason="the kernel was not built: no C++ compiler at installation")
def test_no_hiss_comes_and_goes_within_a_held_note() -> None:
    assert max(hiss(WaveNetVocoder()).values()) < 10
    assert max(hiss(WaveNetVocoder(WaveNetOptions(temperature=0.6))).values()) > 10  # which was the default in 0.2.0


def test_cuda_by_name_says_where_there_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cuda_device, "available", lambda index=0: "there is no NVIDIA GPU")
    options = WaveNetOptions(model=str(folder))
    plain, by_name = (made(options).synthesize(Mel(mel(4), SPEC), 1) for made in (WaveNetVocoder, CudaWaveNetVocoder))
    assert np.array_equal(plain, by_name)
    said = [line for line in capsys.readouterr().err.splitlines() if "CUDA" in line]
    assert said == ["WaveNet renders on the CPU: CUDA cannot be used: there is no NVIDIA GPU."]
    with pytest.raises(M2MError, match="there is no NVIDIA GPU"):
        CudaWaveNetVocoder(WaveNetOptions(model=str(folder), engine="cuda"))
    assert "CUDA: there is no NVIDIA GPU" in WaveNetVocoder.best_engine().slower
