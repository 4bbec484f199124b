import numpy as np
import pytest
import torch
from m2m_pghi.heap import HANN, HeapIntegrator
from m2m_pghi.vocoder import PGHI

from m2m.core.mel import Mel, MelSpec, log_mel
from m2m.core.score import note_array
from m2m.core.testing import VocoderConformance

N, HOP, RATE = 1024, 128, 16_000


class TestContract(VocoderConformance):
    name = "pghi"
    long_seconds = 4.0


def spectrogram(wave, window=None):
    """(frames, bins) complex, phases from the window's centre."""
    window = torch.hann_window(N) if window is None else window
    x = torch.nn.functional.pad(torch.from_numpy(wave).float(), (N // 2, N // 2))
    spectrum = torch.stft(x, N, HOP, window=window, center=False, return_complex=True).T.numpy()
    return spectrum * (1 - 2 * (np.arange(N // 2 + 1) % 2))


def integrate(magnitude, tolerance=1e-3):
    integrator = HeapIntegrator(N, HOP, tolerance, seed=0)
    following = [*magnitude[1:], None]
    return np.array([integrator.frame(now, then) for now, then in zip(magnitude, following, strict=True)])


def turned(a, b):
    """How far two phases are apart, 0 to pi."""
    return np.abs(np.angle(np.exp(1j * (a - b))))


def test_a_tone_keeps_its_phase_over_time():
    time = np.arange(RATE) / RATE
    for hz in (437.0, 1003.3, 3210.7):  # between bins: only the gradient tells where
        true = spectrogram(np.sin(2 * np.pi * hz * time))[10:-10]
        phase, m = integrate(np.abs(true)), round(hz * N / RATE)
        drift = turned(phase[:, m] - phase[5, m], np.angle(true[:, m]) - np.angle(true[5, m]))
        # A Hann window is no Gaussian: the frequency errs by a fraction of a bin, so phases drift slowly.
        error = np.angle(np.exp(1j * (np.diff(phase[5:, m]) - 2 * np.pi * hz * HOP / RATE))).mean()
        assert abs(error / (2 * np.pi * HOP / RATE)) < 0.05 * RATE / N  # Hz: a twentieth of a bin
        assert drift[5:8].max() < 0.3


def test_the_bins_of_a_click_agree():
    """A click d samples after the centre turns the phase by -2 pi d / n a bin; the magnitudes alone tell so."""
    wave = np.zeros(RATE)
    at = 64  # frame
    wave[at * HOP + 20] = 1.0
    samples = torch.arange(N) - N / 2
    gaussian = torch.exp(-np.pi * samples**2 / (HANN * N**2))  # for which the relation is exact
    before, now, after = np.abs(spectrogram(wave, gaussian))[at - 1 : at + 2]
    assert before.max() < 0.9 * now.max()  # so that the frame before leads nowhere
    integrator = HeapIntegrator(N, HOP, 0.9, seed=0)
    integrator.frame(before, now)
    turns = np.diff(np.unwrap(integrator.frame(now, after)))
    np.testing.assert_allclose(turns[5:-5], -2 * np.pi * 20 / N, atol=1e-3)


def test_the_loudest_path_comes_first():
    """Integrated phases equal an oracle that searches the whole frontier for its loudest bin at every step."""
    rng = np.random.default_rng(0)
    loud, before = rng.uniform(0.1, 1, 40), rng.uniform(0.1, 1, 40)
    step_time, step_frequency = rng.uniform(-3, 3, 40).tolist(), rng.uniform(-3, 3, 39).tolist()
    integrator = HeapIntegrator(78, 10, 1e-9, 0)
    integrator.phase = rng.uniform(0, 6, 40)
    got = integrator._integrate(before, loud, 0.0, step_time, step_frequency)
    phase, frontier = {}, {("before", m): before[m] for m in range(40)}
    while frontier:
        (which, m) = max(frontier, key=frontier.get)
        del frontier[which, m]
        if which == "before":
            offers = [(m, integrator.phase[m] + step_time[m])]
        else:
            offers = [(m + 1, phase[m] + step_frequency[m])] if m < 39 else []
            offers += [(m - 1, phase[m] - step_frequency[m - 1])] if m else []
        for k, value in offers:
            if k not in phase:
                phase[k] = value
                frontier["now", k] = loud[k]
    want = np.array([phase[m] for m in range(40)])
    assert turned(got, want).max() < 1e-9


def test_true_magnitudes_give_nearly_a_spectrogram_that_some_wave_has():
    """Spectral convergence of a chord's magnitudes, resynthesised: near with integrated phases, far with random ones."""
    time = np.arange(RATE) / RATE
    wave = sum(np.sin(2 * np.pi * hz * time) * np.exp(-2 * time) for hz in (220.0, 277.2, 329.6, 880.0)) / 8
    magnitude = np.abs(spectrogram(wave))

    def inconsistency(phase):
        sign = 1 - 2 * (np.arange(N // 2 + 1) % 2)
        frames = torch.from_numpy(magnitude * sign * np.exp(1j * phase)).T
        out = torch.istft(frames, N, HOP, window=torch.hann_window(N).double(), center=True).numpy()
        got = np.abs(spectrogram(out))[5:-5]
        want = magnitude[5 : 5 + len(got)]
        return np.linalg.norm(got[: len(want)] - want) / np.linalg.norm(want)

    random = np.random.default_rng(0).uniform(0, 2 * np.pi, magnitude.shape)
    assert inconsistency(integrate(magnitude)) < 0.1 < 0.4 < inconsistency(random)


def test_notes_say_where_in_a_band_the_energy_lies():
    hz = 440 * 2 ** ((100 - 69) / 12)  # 2637 Hz, where a band is 130 Hz wide
    wave = (0.3 * np.sin(2 * np.pi * hz * np.arange(RATE) / RATE)).astype(np.float32)
    mel = Mel(log_mel(wave, MelSpec()), MelSpec(), note_array([(0.0, 1.0, 100, 80)]))

    def width(out):  # Hz around the tone that hold 90 % of the energy
        power = np.abs(np.fft.rfft(out[2000:14_000] * np.hanning(12_000))) ** 2
        off = np.abs(np.fft.rfftfreq(12_000, 1 / RATE) - hz)
        order = np.argsort(off)
        return off[order][np.searchsorted(np.cumsum(power[order]), 0.9 * power.sum())]

    assert width(PGHI().synthesize(mel)) < 0.4 * width(PGHI().synthesize(mel.without_notes()))


@pytest.mark.parametrize("frames", [1, 3, 5, 31, 32, 33, 64, 70])
@pytest.mark.parametrize("spec", [MelSpec(), MelSpec(hop_length=200, n_fft=800), MelSpec(hop_length=1500, n_fft=1024)])
def test_every_length_is_kept(frames, spec):
    mel = Mel(np.full((frames, 80), -4.0, np.float32), spec)
    assert PGHI().synthesize(mel).shape == (mel.samples,)


def test_both_ends_are_as_loud_as_the_middle():
    """A sine that began long before the mel and goes on after it: fewer windows there must not make it quieter."""
    long = (0.3 * np.sin(2 * np.pi * 880 * np.arange(3 * RATE) / RATE)).astype(np.float32)
    mel = Mel(log_mel(long, MelSpec())[125:250].copy(), MelSpec(), note_array([(0.0, 1.0, 81, 90)]))
    wave = PGHI().synthesize(mel)
    middle = np.sqrt((wave[4000:12_000] ** 2).mean())
    for end in (wave[:HOP], wave[-HOP:]):
        assert abs(20 * np.log10(np.sqrt((end**2).mean()) / middle)) < 0.5
