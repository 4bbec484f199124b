"""Parallel WaveNet: the flows against their inverse and against autograd, the engine against the network, the vocoder."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from m2m.core import model_folders
from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel import Mel, MelSpec, log_mel
from m2m.core.plugins import doctor
from m2m.core.score import note_array
from m2m.vocoders.parallel_wavenet import engine as engine_module
from m2m.vocoders.parallel_wavenet.engine import StudentEngine, has_bf16, white_noise
from m2m.vocoders.parallel_wavenet.network import KIND, Student, StudentConfig, load_student
from m2m.vocoders.parallel_wavenet.vocoder import ParallelWaveNet, ParallelWaveNetOptions
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.shared.excitation import excitation_margin, harmonic_excitation, mel_matched_excitation

SPEC = MelSpec(n_mels=6, hop_length=8)
TINY = StudentConfig(flows=(3, 4), dilation_cycle=3, residual=4, skip=4, upsample=((4, 2), (8, 4)), mel=SPEC)


def student(config: StudentConfig = TINY, **changes: Any) -> Student:
    """Random weights, large enough that means and scales depend on the past."""
    torch.manual_seed(0)
    made = Student(StudentConfig.model_validate(config.model_dump() | changes)).double()
    with torch.no_grad():
        for flow in made.stack:
            flow.end.weight.mul_(10)
    return made.eval().requires_grad_(False)


def mel(frames: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((frames, 6)) * -11.5).astype(np.float32)


def features(frames: int) -> Tensor:
    return torch.from_numpy(mel(frames))[None].double()


# --- the flows --------------------------------------------------------------------------------------------------------


def test_the_inverse_of_the_flows_gives_the_noise_back() -> None:
    """Sample by sample, from the last flow to the first: what autoregression would do."""
    model, heard = student(), features(6)
    noise = torch.randn(1, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z = model(noise, heard).samples
    u = model.conditioning(heard)
    assert (z - noise).abs().max() > 0.1
    for flow in reversed(model.stack):
        before = torch.zeros_like(z)
        for t in range(z.shape[1]):
            mean, log_scale = flow(before, u)
            before[:, t] = (z[:, t] - mean[:, t]) * torch.exp(-log_scale[:, t])
        z = before
    assert (z - noise).abs().max() < 1e-10


def test_the_log_scales_are_the_jacobians_log_determinant() -> None:
    model, heard = student(), features(4)
    noise = torch.randn(32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    jacobian = torch.autograd.functional.jacobian(lambda z: model(z[None], heard).samples[0], noise)
    assert jacobian.triu(1).abs().max() == 0  # no sample hears noise after its own
    assert jacobian.tril(-1).abs().max() > 1e-3  # but noise before it
    drawn = model(noise[None], heard)
    sign, log_determinant = torch.linalg.slogdet(jacobian)
    assert sign == 1
    assert log_determinant.item() == pytest.approx(drawn.log_scale.sum().item(), abs=1e-9)
    assert torch.allclose(jacobian.diagonal(), drawn.log_scale[0].exp())


def test_the_flows_fold_into_one_distribution_a_sample() -> None:
    """Other noise at t and after it leaves mean and scale of t; the sample is that noise, scaled and moved."""
    model, heard = student(), features(4)
    noise = torch.randn(1, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    drawn = model(noise, heard)
    assert torch.allclose(drawn.samples, noise * drawn.log_scale.exp() + drawn.mean, atol=1e-12)
    other = noise.clone()
    other[:, 20:] = 3.0
    again = model(other, heard)
    for name in ("mean", "log_scale"):
        assert torch.equal(getattr(again, name)[:, :21], getattr(drawn, name)[:, :21])
    assert not torch.allclose(again.mean[:, 21:], drawn.mean[:, 21:])


def test_an_untrained_student_is_noise_of_the_level() -> None:
    torch.manual_seed(0)
    model = Student(StudentConfig(level=0.02, flows=(4, 4, 4), residual=16, skip=16)).eval()
    with torch.inference_mode():
        wave = model(torch.randn(1, 128 * 50), torch.full((1, 50, 80), -6.0)).samples
    assert 0.01 < wave.std().item() < 0.04


def test_the_receptive_field_is_what_is_heard() -> None:
    assert StudentConfig().receptive_field == 4 * (1023 + 2)
    model = student()
    assert model.config.receptive_field == (1 + 2 + 4 + 2) + (1 + 2 + 4 + 1 + 2)
    heard = features(8)
    noise = torch.randn(1, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    at, reach = 40, model.config.receptive_field
    touched = []
    for t in range(at + 1):
        other = noise.clone()
        other[0, t] += 1
        touched.append(bool((model(other, heard).samples[0, at] != model(noise, heard).samples[0, at]).item()))
    assert touched.index(True) == at - reach


def test_flows_are_read_from_a_command_line() -> None:
    assert StudentConfig.model_validate({"flows": "10,10,30"}).flows == (10, 10, 30)
    for bad in ("", "10,x", "0", "3.5"):
        with pytest.raises(ValidationError):
            StudentConfig.model_validate({"flows": bad})


# --- the noise --------------------------------------------------------------------------------------------------------


KINDS = st.sampled_from(["gaussian", "logistic"])


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(1, 50), st.integers(0, 49), KINDS)
def test_noise_is_a_function_of_seed_and_sample(seed: int, first: int, count: int, skipped: int, kind: str) -> None:
    whole = white_noise(seed, first, count, kind)
    skipped = min(skipped, count - 1)
    assert whole.shape == (count,)
    assert whole.dtype == np.float32
    assert np.array_equal(white_noise(seed, first + skipped, count - skipped, kind), whole[skipped:])


@pytest.mark.parametrize(("kind", "std", "kurtosis"), [("gaussian", 1.0, 3.0), ("logistic", np.pi / np.sqrt(3), 4.2)])
def test_noise_is_white_and_of_its_kind(kind: str, std: float, kurtosis: float) -> None:
    noise = white_noise(3, 0, 200_000, kind).astype(np.float64)
    assert np.isfinite(noise).all()
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert noise.std() == pytest.approx(std, rel=0.02)
    assert (noise**4).mean() / noise.var() ** 2 == pytest.approx(kurtosis, rel=0.05)
    for lag in (1, 2, 3, 4):
        assert abs((noise[lag:] * noise[:-lag]).mean()) / noise.var() < 0.01
    assert not np.array_equal(noise[:100], white_noise(4, 0, 100, kind))


def test_the_rarest_words_make_finite_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (0, 2**32 - 1):
        monkeypatch.setattr(
            engine_module, "philox", lambda counter, key, word=word: np.full(counter.shape, word, np.uint32)
        )
        for kind in ("gaussian", "logistic"):
            assert np.isfinite(white_noise(0, 0, 8, kind)).all()


# --- the engine -------------------------------------------------------------------------------------------------------


def render(made: StudentEngine, values: np.ndarray, frames: int, seed: int = 5) -> np.ndarray:
    return np.concatenate([block for (block,) in made.stream([Mel(values, SPEC)], seed, frames)])


@pytest.mark.parametrize("noise", ["gaussian", "logistic"])
@pytest.mark.parametrize("upsample", [((4, 2), (8, 4)), ((16, 2), (4, 4)), ((24, 8),)])
def test_blocks_are_the_network_at_once(noise: str, upsample: Any) -> None:
    model = student(noise=noise, upsample=upsample)
    values = mel(11)
    drawn = model(
        torch.from_numpy(white_noise(5, 0, 88, noise)).double()[None], torch.from_numpy(values).double()[None]
    )
    for frames in (1, 2, 4, 11, 20):
        wave = render(StudentEngine(model), values, frames)
        assert wave.shape == (88,)
        assert np.abs(wave - drawn.samples[0].numpy()).max() < 1e-6


def test_streamed_equals_whole_in_float32() -> None:
    made = StudentEngine(
        student(StudentConfig(flows=(10, 10), residual=16, skip=16, mel=SPEC, upsample=((4, 2), (8, 4)))).float()
    )
    values = mel(400)
    whole = render(made, values, 400)
    assert np.abs(render(made, values, 31) - whole).max() < 1e-5
    assert np.abs(whole).max() > 0.01


@pytest.mark.skipif(not has_bf16("cpu"), reason="this processor has no bfloat16 arithmetic")
def test_bfloat16_is_near() -> None:
    model = student().float()
    exact, near = (render(StudentEngine(model, precision=p), mel(40), 8) for p in ("fp32", "bf16"))  # type: ignore[arg-type]
    assert 0 < np.abs(exact - near).std() < 0.02 * exact.std()


def test_the_doctor_hears_of_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told = doctor.load({"kind": "vocoder", "name": "parallel-wavenet"})
    assert told["engine"].startswith("PyTorch on the CPU, float32")
    assert ("bfloat16" in told["engine"]) == has_bf16("cpu")
    assert told["slower"] == "PyTorch sees no GPU"


def test_bfloat16_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "has_bf16", lambda device: False)
    with pytest.raises(M2MError, match=r"no bfloat16 arithmetic.*use precision=fp32\.$"):
        StudentEngine(student(), precision="bf16")


# --- the vocoder ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", KIND, TINY, student(), "# A card\n")
    return tmp_path / "model"


def make(folder: Path, **options: Any) -> ParallelWaveNet:
    return ParallelWaveNet(ParallelWaveNetOptions(model=str(folder), **options))


def test_it_keeps_the_contract(folder: Path) -> None:
    made = make(folder, block_seconds=0.05)
    assert made.mel_spec == SPEC
    heard = Mel(mel(300), SPEC)
    heard.values.flags.writeable = False
    wave = made.synthesize(heard, seed=5)
    assert wave.shape == (heard.samples,)
    assert wave.dtype == np.float32
    assert np.isfinite(wave).all()
    blocks = list(made.stream(heard, 5))
    assert len(blocks) == 3
    assert np.array_equal(np.concatenate(blocks), wave)
    assert not np.array_equal(made.synthesize(heard, seed=6), wave)
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
    alone = [made.synthesize(heard) for heard in mels]

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
    heard = Mel(mel(4), SPEC)
    cool = make(tmp_path / "cool").synthesize(heard, 1)
    assert np.array_equal(cool, make(folder, temperature=0.5).synthesize(heard, 1))
    assert not np.array_equal(cool, make(tmp_path / "cool", temperature=1).synthesize(heard, 1))


def test_temperature_zero_draws_nothing(folder: Path) -> None:
    made = make(folder, temperature=0)
    heard = Mel(mel(4), SPEC)
    assert np.array_equal(made.synthesize(heard, 1), made.synthesize(heard, 2))


def test_notes_are_heard_and_may_be_missing(tmp_path: Path) -> None:
    config = StudentConfig.model_validate(TINY.model_dump() | {"condition_on_notes": True})
    save_model(tmp_path / "model", KIND, config, student(config), "")
    made = make(tmp_path / "model", block_seconds=0.05)
    notes = note_array([(0.0, 0.002, 60, 127), (0.06, 0.1, 72, 99)])
    heard = Mel(mel(200), SPEC, notes)
    wave = made.synthesize(heard)
    assert wave.shape == made.synthesize(heard.without_notes()).shape
    assert not np.array_equal(wave, made.synthesize(heard.without_notes()))
    whole = ParallelWaveNet(ParallelWaveNetOptions(model=str(tmp_path / "model"), block_seconds=60)).synthesize(heard)
    assert np.allclose(wave, whole, atol=1e-5)  # the roll of a block is that part of the whole


def test_the_comb_is_heard_the_same_in_blocks_of_any_length(tmp_path: Path) -> None:
    config = StudentConfig.model_validate(
        TINY.model_dump() | {"excitation": EXCITATION_VERSION, "condition_on_notes": True}
    )
    save_model(tmp_path / "model", KIND, config, student(config), "")
    heard = Mel(mel(200), SPEC, note_array([(0.0, 0.04, 60, 127), (0.03, 0.1, 72, 99)]))
    short, long = (make(tmp_path / "model", block_seconds=s).synthesize(heard) for s in (0.05, 60))
    assert np.allclose(short, long, atol=1e-5)
    assert not np.allclose(short, make(tmp_path / "model").synthesize(heard.without_notes()), atol=1e-3)


def test_any_stretch_of_a_bare_comb_is_that_part_of_the_whole() -> None:
    notes = note_array([(0.1, 0.3, 69, 127), (0.25, 0.6, 40, 60), (0.5, 0.55, 100, 90)])
    spec = MelSpec()
    whole = harmonic_excitation(notes, 0, 16_000, 0.1, spec)
    assert not whole[:1600].any()
    for first, count in ((-200, 1000), (1600, 1), (3000, 5000), (9999, 6001)):
        wanted = np.concatenate([np.zeros(max(0, -first), np.float32), whole[max(0, first) : first + count]])
        assert np.allclose(harmonic_excitation(notes, first, count, 0.1, spec), wanted, atol=1e-6)


def test_any_stretch_of_an_equalised_comb_is_that_part_of_the_whole() -> None:
    notes, spec = note_array([(0.1, 0.3, 69, 127), (0.25, 0.6, 40, 60)]), MelSpec()
    values = np.random.default_rng(0).uniform(-9, -2, (100, 80)).astype(np.float32)
    assert excitation_margin(spec) == 20
    whole = mel_matched_excitation(notes, values, 0, spec)
    assert whole.shape == (60 * 128,)
    for first, frames in ((0, 10), (37, 1), (28, 32)):
        part = mel_matched_excitation(notes, values[first : first + frames + 2 * 20], first, spec)
        assert np.allclose(part, whole[first * 128 : (first + frames) * 128], atol=1e-5)


@pytest.mark.parametrize("notes", [[(0.0, 2.0, 69, 90)], []])
def test_an_equalised_comb_has_the_mel_and_its_notes_pitch(notes: list[tuple[float, float, int, int]]) -> None:
    """Of a sine; of its mel alone comes a noise in its band."""
    spec, time = MelSpec(), np.arange(32_000) / 16_000
    values = log_mel(0.3 * np.sin(2 * np.pi * 440 * time), spec)
    wave = mel_matched_excitation(note_array(notes), values, 20, spec)
    heard = log_mel(wave, spec)[20:-20]
    loud = values[40:-40] > -5
    assert np.abs(heard - values[40:-40])[loud].mean() < (0.1 if notes else 0.8)
    spectrum = np.abs(np.fft.rfft(wave[6000:22_000] * np.hanning(16_000)))
    assert abs(int(spectrum.argmax()) - 440) <= (1 if notes else 40)


def test_an_equalised_comb_of_silence_is_silent() -> None:
    values = np.full((50, 80), MelSpec().silence, np.float32)
    assert np.abs(mel_matched_excitation(note_array([(0.0, 2.0, 69, 90)]), values, 0, MelSpec())).max() < 1e-6


def test_a_bare_comb_has_its_keys_pitch_and_dies_away() -> None:
    spec = MelSpec()
    wave = harmonic_excitation(note_array([(0.0, 1.0, 69, 127)]), 0, 32_000, 0.1, spec)
    spectrum = np.abs(np.fft.rfft(wave[:16_000] * np.hanning(16_000))) * 4 / 16_000  # a bin a Hz
    for harmonic in (1, 2, 3, 7):
        assert spectrum[440 * harmonic] == pytest.approx(1 / harmonic, rel=0.02)
    assert spectrum[int(0.99 * spec.fmax) :].max() < 0.01
    assert np.abs(wave[17_600:17_700]).max() < np.abs(wave[15_900:16_000]).max() / 2  # 0.1 s later, e times quieter
    assert not wave[16_000 + 8_001 :].any()


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
