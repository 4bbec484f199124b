"""Griffin-Lim: physics (tones come back, silence stays), oracles at tiny sizes, and seams that cannot be heard."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from m2m.core.mel import Mel, MelSpec, filter_bank, linear_mel, log_mel
from m2m.core.score import note_array
from m2m.vocoders.griffin_lim.fitted_excitation import fit_timbre, fitted_excitation
from m2m.vocoders.griffin_lim.vocoder import GriffinLim, GriffinLimOptions, Pin
from m2m.vocoders.shared.stft import STFT, griffin_lim, mel_to_magnitude

SPEC = MelSpec()


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Many small steps: on a busy machine a second thread makes them wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


RATE = SPEC.sample_rate


def tone(hz: float, seconds: float, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def music(seconds: float = 3.0, struck: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Decaying harmonic notes and their score."""
    rng = np.random.default_rng(1)
    notes = note_array(
        (t, t + struck, int(rng.integers(45, 80)), int(rng.integers(40, 120)))
        for t in np.arange(0.1, seconds - struck, 0.2)
    )
    wave = np.zeros(int(seconds * RATE))
    time = np.arange(len(wave)) / RATE
    for note in notes:
        since = time - note["start"]
        sounding = (since >= 0) * np.exp(-3 * np.maximum(since, 0)) * np.exp(-20 * np.maximum(time - note["end"], 0))
        hz = 440 * 2 ** ((note["pitch"] - 69) / 12)
        for k in range(1, 8):
            if k * hz < 7900:
                wave += 0.1 * note["velocity"] / 127 * sounding * np.sin(2 * np.pi * k * hz * since + k * k) / k**1.5
    return wave.astype(np.float32), notes


def dominant_hz(wave: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), n=16 * len(wave)))
    return float(np.argmax(spectrum)) * RATE / (16 * len(wave))


def mel_error(wave: np.ndarray, mel: Mel) -> float:
    """Relative distance of the wave's linear mel to the mel it was made of: a spectral convergence."""
    want = linear_mel(mel.values, mel.spec)
    return float(np.linalg.norm(linear_mel(log_mel(wave, mel.spec), mel.spec) - want) / np.linalg.norm(want))


# --- physics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [45, 69, 93])
def test_a_tone_with_its_note_comes_back_at_its_pitch_and_level(key: int) -> None:
    hz = 440 * 2 ** ((key - 69) / 12)
    wave = tone(hz, 1.0)
    out = GriffinLim().synthesize(Mel(log_mel(wave, SPEC), SPEC, note_array([(0.0, 1.0, key, 80)])))
    middle = slice(RATE // 4, 3 * RATE // 4)
    assert abs(dominant_hz(out[middle]) / hz - 1) < 0.005  # 9 cents
    assert abs(20 * np.log10(np.std(out[middle]) / np.std(wave[middle]))) < 1.0  # dB


def test_a_tone_without_notes_comes_back_in_its_band() -> None:
    out = GriffinLim().synthesize(Mel(log_mel(tone(440.0, 1.0), SPEC), SPEC))
    assert abs(dominant_hz(out[RATE // 4 : 3 * RATE // 4]) - 440.0) < 30.0  # a band there is 70 Hz wide


@pytest.mark.parametrize("notes", [None, note_array([(0.1, 0.9, 60, 100)])])
def test_silence_stays_silent(notes: np.ndarray | None) -> None:
    mel = Mel(np.full((125, SPEC.n_mels), SPEC.silence, np.float32), SPEC, notes)
    assert np.abs(GriffinLim().synthesize(mel)).max() < 1e-4  # -80 dBFS


def test_a_note_that_the_mel_lacks_stays_silent() -> None:
    mel = Mel(log_mel(tone(440.0, 1.0), SPEC), SPEC, note_array([(0.0, 1.0, 69, 80), (0.0, 1.0, 100, 127)]))
    out = GriffinLim().synthesize(mel)
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    assert spectrum[2600:2700].max() < 0.01 * spectrum[430:450].max()  # key 100 is 2637 Hz; a bin is 1 Hz


def test_the_score_brings_the_wave_nearer_to_the_original() -> None:
    wave, notes = music()
    mel = Mel(log_mel(wave, SPEC), SPEC, notes)

    def distance(out: np.ndarray) -> float:  # in a spectrum twice as fine as the mel's
        window = torch.hann_window(2048)
        pair = torch.stft(
            torch.from_numpy(np.stack([wave[: len(out)], out])), 2048, 512, window=window, return_complex=True
        ).abs()
        return float((pair[1] - pair[0]).norm() / pair[0].norm())

    informed, blind = GriffinLim().synthesize(mel), GriffinLim().synthesize(mel.without_notes())
    assert distance(informed) < 0.7 * distance(blind)
    assert mel_error(informed, mel) < 0.1
    assert mel_error(blind, mel) < 0.15
    off = GriffinLim(GriffinLimOptions(score_informed=False)).synthesize(mel)
    assert np.array_equal(off, blind)


# --- the parts, against oracles ---------------------------------------------------------------------------------------


def test_inversion_is_non_negative_and_never_moves_away() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(5, SPEC.n_mels, generator=generator) ** 4
    start = torch.rand(5, SPEC.n_fft // 2 + 1, generator=generator)

    def divergence(magnitude: torch.Tensor) -> float:
        mel = (magnitude @ filter_bank(SPEC).T).double()
        wanted = target.double()
        return float((wanted * (wanted / mel).log() - wanted + mel).sum())

    estimates = [mel_to_magnitude(target, start, updates, SPEC) for updates in range(1, 40, 3)]
    assert all((estimate >= 0).all() for estimate in estimates)
    errors = [divergence(start), *map(divergence, estimates)]
    assert all(b <= a * (1 + 1e-6) for a, b in pairwise(errors))
    assert errors[-1] < 0.01 * errors[0]


@pytest.mark.parametrize("power", [1, 2])
def test_inversion_reaches_a_mel_that_has_one(power: int) -> None:
    spec = MelSpec(power=power)
    truth = torch.rand(4, spec.n_fft // 2 + 1, generator=torch.Generator().manual_seed(1)) + 0.1
    target = truth.pow(power) @ filter_bank(spec).T
    found = mel_to_magnitude(target, torch.ones_like(truth), 200, spec)
    torch.testing.assert_close(found.pow(power) @ filter_bank(spec).T, target, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("hop", [128, 200, 256])
def test_transform_agrees_with_torch_stft_and_inverts(hop: int) -> None:
    spec = MelSpec(hop_length=hop)
    transform = STFT(spec, "cpu")
    wave = torch.randn(transform.samples(12), generator=torch.Generator().manual_seed(2))
    spectrum = transform.forward(wave)
    oracle = torch.stft(
        wave, spec.n_fft, hop, window=torch.hann_window(spec.n_fft), center=False, return_complex=True
    ).T
    torch.testing.assert_close(spectrum, oracle * transform.scale)
    inside = slice(spec.n_fft, -spec.n_fft)
    torch.testing.assert_close(transform.inverse(spectrum)[inside], wave[inside], rtol=1e-4, atol=1e-5)


def test_a_consistent_spectrogram_is_a_fixed_point() -> None:
    transform = STFT(SPEC, "cpu")
    wave = torch.from_numpy(music(1.0)[0])[: transform.samples(100)]
    wave = torch.nn.functional.pad(wave[:-512], (512, 0))
    spectrum = transform.forward(wave)
    target = spectrum.abs() @ filter_bank(SPEC).T
    pin = Pin(torch.zeros(512), 512, len(wave))
    out = griffin_lim(target, spectrum.abs(), spectrum, 5, transform, pin=pin.apply)
    inside = slice(SPEC.n_fft, -SPEC.n_fft)
    assert float((out - wave)[inside].norm() / wave[inside].norm()) < 0.01


def test_timbre_is_factorised_and_the_score_gates_it() -> None:
    rng = np.random.default_rng(3)
    spectra = rng.random((2, SPEC.n_mels)).astype(np.float32)
    loudness = np.zeros((2, 60), np.float32)
    loudness[0, :40], loudness[1, 20:] = rng.random(40) + 0.5, rng.random(40) + 0.5
    values = (spectra.T @ loudness).T
    b, r = fit_timbre(values, np.ones((2, SPEC.n_mels)), (loudness > 0).astype(float), 100)
    assert (r[loudness == 0] == 0).all()
    assert min(b.min(), r.min()) >= 0
    assert np.linalg.norm(r.T @ b - values) < 0.01 * np.linalg.norm(values)


def test_two_blocks_play_a_note_in_phase() -> None:
    notes = note_array([(0.05, 2.0, 60, 100)])
    values = linear_mel(log_mel(tone(261.63, 2.0), SPEC), SPEC)
    first = fitted_excitation(notes, values[:150], 0, SPEC, release=0.1, timbre_updates=0)
    second = fitted_excitation(notes, values[100:], 100, SPEC, release=0.1, timbre_updates=0)
    a, b = first[512 + 110 * 128 : 512 + 140 * 128], second[512 + 10 * 128 : 512 + 40 * 128]
    np.testing.assert_allclose(a, b, atol=1e-3 * np.abs(a).max())


# --- blocks and promises ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("informed", [True, False])
def test_seams_are_not_heard(informed: bool) -> None:
    wave = tone(440.0, 5.0)
    mel = Mel(log_mel(wave, SPEC), SPEC, note_array([(0.0, 5.0, 69, 80)]) if informed else None)
    vocoder = GriffinLim(GriffinLimOptions(block_seconds=1.0))
    blocks = list(vocoder.stream(mel, 0))
    assert len(blocks) == 5
    out = np.concatenate(blocks)
    seams = np.cumsum([len(block) for block in blocks])[:-1]
    jumps = np.abs(np.diff(out, 2))[RATE // 4 : -RATE // 4]  # a click is a jump in the slope
    assert max(np.abs(np.diff(out, 2))[s - 4 : s + 4].max() for s in seams) <= 1.2 * np.quantile(jumps, 0.999)
    level = np.sqrt(np.convolve(out**2, np.ones(512) / 512, "valid"))
    around = [level[s - 1024 : s + 512].min() for s in seams]
    assert 20 * np.log10(min(around) / np.median(level)) > (-1.0 if informed else -6.0)


def test_seams_do_not_raise_the_spectral_flux_of_music() -> None:
    wave, notes = music(5.0)
    mel = Mel(log_mel(wave, SPEC), SPEC, notes)
    blocks = list(GriffinLim(GriffinLimOptions(block_seconds=1.0)).stream(mel, 0))
    out = torch.from_numpy(np.concatenate(blocks))
    spectra = torch.stft(out, 256, 64, window=torch.hann_window(256), return_complex=True).abs()[40:]  # above 2.5 kHz
    flux = (spectra[:, 1:] - spectra[:, :-1]).clamp_min(0).sum(0).numpy()
    seams = np.cumsum([len(block) for block in blocks])[:-1] // 64
    assert max(flux[s - 3 : s + 3].max() for s in seams) <= np.quantile(flux, 0.99)


@pytest.mark.parametrize("frames", [1, 3, 11, 125, 300])
def test_every_length_is_kept_exactly(frames: int) -> None:
    wave, notes = music()
    mel = Mel(log_mel(wave, SPEC)[:frames], SPEC, notes)
    vocoder = GriffinLim(GriffinLimOptions(block_seconds=0.5, iterations=2, blind_iterations=2))
    for given in (mel, mel.without_notes()):
        out = vocoder.synthesize(given)
        assert out.shape == (given.samples,)
        assert out.dtype == np.float32
        assert np.isfinite(out).all()


def test_the_seed_decides_alone_and_inputs_stay_untouched() -> None:
    wave, notes = music(1.5)
    mel = Mel(log_mel(wave, SPEC), SPEC, notes)
    before = mel.values.copy()
    vocoder = GriffinLim(GriffinLimOptions(block_seconds=0.5, iterations=3))
    torch.manual_seed(1)
    first = vocoder.synthesize(mel, seed=5)
    torch.manual_seed(2)
    assert np.array_equal(first, vocoder.synthesize(mel, seed=5))
    assert np.array_equal(first, np.concatenate(list(vocoder.stream(mel, 5))))
    assert np.array_equal(first, vocoder.batch([mel, mel], seed=5)[1])
    assert not np.array_equal(first, vocoder.synthesize(mel, seed=6))
    assert np.array_equal(before, mel.values)


@pytest.mark.parametrize(
    "spec",
    [
        MelSpec(power=2, log="log10", magnitude="raw", filter_norm="area", mel_scale="slaney"),
        MelSpec(hop_length=200, n_fft=800, n_mels=64, fmin=60.0, fmax=7600.0),
        MelSpec(sample_rate=22_050, hop_length=256, fmax=8000.0, floor=1e-6),
    ],
)
def test_any_recipe_is_followed(spec: MelSpec) -> None:
    time = np.arange(spec.sample_rate) / spec.sample_rate
    wave = (0.3 * np.sin(2 * np.pi * 440 * time) * np.exp(-2 * time)).astype(np.float32)
    mel = Mel(log_mel(wave, spec), spec, note_array([(0.0, 1.0, 69, 80)]))
    assert mel_error(GriffinLim().synthesize(mel)[: len(wave)], mel) < 0.15
    quiet = Mel(np.full((50, spec.n_mels), spec.silence, np.float32), spec)
    assert np.abs(GriffinLim().synthesize(quiet)).max() < 1e-4


def drum_hits() -> tuple[np.ndarray, np.ndarray]:
    """Bursts of noise and their strikes."""
    rng, wave = np.random.default_rng(2), np.zeros(3 * RATE)
    strikes = note_array((t, t + 0.01, 38, 100) for t in np.arange(0.2, 2.8, 0.25))
    for start in strikes["start"]:
        fall = np.exp(-np.arange(RATE // 5) / (0.03 * RATE)) * rng.normal(size=RATE // 5) * 0.2
        at = round(start * RATE)
        wave[at : at + len(fall)] += fall
    return wave.astype(np.float32), strikes


def test_drums_begin_where_they_are_struck() -> None:
    wave, strikes = drum_hits()
    mel = log_mel(wave, SPEC)

    def early(made: np.ndarray) -> float:
        """Energy in the 20 ms before the strikes, as a share of that in the 20 ms after."""
        at = (strikes["start"] * RATE).round().astype(int)
        before, after = (sum(float((made[a + d : a + d + 320] ** 2).sum()) for a in at) for d in (-320, 0))
        return before / after

    told = GriffinLim().synthesize(Mel(mel, SPEC, percussive=strikes))
    blind = GriffinLim(GriffinLimOptions(blind_iterations=8)).synthesize(Mel(mel, SPEC))  # as many as with strikes
    assert early(told) < 0.06
    assert early(told) < early(blind) / 1.5


def test_drums_do_not_sing() -> None:
    wave, strikes = drum_hits()
    mel = log_mel(wave, SPEC)
    told = GriffinLim().synthesize(Mel(mel, SPEC, percussive=strikes))
    singing = GriffinLim().synthesize(Mel(mel, SPEC, strikes))

    def at_the_key(made: np.ndarray) -> float:
        """Level at the partials of key 38, over that half-way between them, dB."""
        spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
        partials = 440 * 2 ** ((38 - 69) / 12) * np.arange(4, 40) * len(made) / RATE
        on, off = (np.median([spectrum[round(p + d) - 2 : round(p + d) + 3].max() for p in partials]) for d in (0, 110))
        return 20 * float(np.log10(on / off))

    assert abs(at_the_key(told) - at_the_key(wave)) < 3
    assert at_the_key(singing) > at_the_key(told) + 3


def test_silent_blocks_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    wave, notes = music(2.0)
    silence = np.zeros(6 * RATE, np.float32)
    mel = log_mel(np.concatenate([silence, wave, silence, silence]), SPEC)
    moved = notes.copy()
    moved["start"], moved["end"] = notes["start"] + 6, notes["end"] + 6
    computed: list[int] = []

    def counted(*arguments: Any) -> torch.Tensor:
        computed.append(len(arguments[0]))
        return griffin_lim(*arguments)

    monkeypatch.setattr("m2m.vocoders.griffin_lim.vocoder.griffin_lim", counted)
    vocoder = GriffinLim(GriffinLimOptions(block_seconds=1.0))
    made = vocoder.synthesize(Mel(mel, SPEC, moved))
    assert len(made) == len(mel) * SPEC.hop_length
    assert len(computed) <= 5  # of 20
    assert not made[: 5 * RATE].any()
    assert not made[10 * RATE :].any()
    alone = vocoder.synthesize(Mel(log_mel(wave, SPEC), SPEC, notes))
    assert np.sqrt(((made[6 * RATE : 8 * RATE] - alone[: 2 * RATE]) ** 2).mean()) < 0.5 * np.sqrt((alone**2).mean())
