"""What FluidSynth itself does, with the small SoundFont that pretty_midi brings."""

from pathlib import Path

import numpy as np
import pytest
from datasets import SOUNDFONT, needs_fluidsynth

from m2m.core.errors import M2MError
from m2m.core.score import note_array
from m2m.dataset import soundfont
from m2m.dataset.soundfont import Renderer


@pytest.fixture(scope="module")
def synth() -> Renderer:
    return Renderer(SOUNDFONT, 16_000, 1.0)


@needs_fluidsynth
def test_a_note_sounds_at_its_pitch_at_its_time_and_fades(synth: Renderer) -> None:
    wave = synth.render(note_array([(0.5, 2.0, 69, 110)]), 80, 48_000)
    assert wave.shape == (48_000,)
    assert wave.dtype == np.float32
    assert abs(np.flatnonzero(np.abs(wave) > 0.003)[0] / 16_000 - 0.5) < 0.008  # one frame
    spectrum = np.abs(np.fft.rfft(wave[12_000:28_000] * np.hanning(16_000)))  # bins of 1 Hz
    assert abs(int(spectrum.argmax()) - 440) <= 2
    held, release, after = (np.abs(wave[a:b]).max() for a, b in ((16_000, 31_000), (32_160, 32_480), (44_000, 48_000)))
    assert held > 0.03
    assert 0.001 < release < held  # let go, it still sounds
    assert after < 0.0005


@needs_fluidsynth
def test_what_lies_above_the_band_does_not_fold_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(oversampling: int) -> float:
        """Energy between a trumpet's partials against all of it, in dB: G7, of which two partials are below 8 kHz."""
        monkeypatch.setattr(soundfont, "OVERSAMPLING", oversampling)
        wave = Renderer(SOUNDFONT, 16_000, 1.0).render(note_array([(0.0, 2.0, 103, 110)]), 56, 32_000)
        spectrum = np.abs(np.fft.rfft(wave[8_000:24_000] * np.hanning(16_000))) ** 2
        partial = np.abs((np.arange(8_001) + 1_568) % 3_136 - 1_568) < 40  # 3,136 Hz and its multiples
        return float(10 * np.log10(spectrum[~partial].sum() / spectrum.sum()))

    assert noise(2) < -20
    assert noise(1) > -10


@needs_fluidsynth
@pytest.mark.parametrize("samples", [12_800, 12_801, 100])
def test_a_render_knows_nothing_of_the_one_before(synth: Renderer, samples: int) -> None:
    """Byte for byte, also when the one before was still sounding, or ended within one of FluidSynth's blocks of 64."""
    notes = note_array([(0.1, 0.4, 69, 100), (0.2, 5.0, 60, 90), (0.7, 5.0, 40, 90)])
    fresh = Renderer(SOUNDFONT, 16_000, 1.0).render(notes, 0, samples)
    synth.render(notes, 48, samples)
    assert (synth.render(notes, 0, samples) == fresh).all()


@needs_fluidsynth
def test_silence(synth: Renderer) -> None:
    assert np.abs(synth.render(note_array([]), 0, 1_000)).max() < 1e-4  # FluidSynth's dither
    assert synth.render(note_array([]), 0, 0).shape == (0,)


@needs_fluidsynth
def test_a_key_struck_again_is_struck(synth: Renderer) -> None:
    """At one instant the release comes before the strike, or the new note would be let go at once."""
    wave = synth.render(note_array([(0.0, 0.5, 69, 110), (0.5, 1.0, 69, 110)]), 80, 16_000)
    assert np.abs(wave[12_000:15_000]).max() > 0.03


@needs_fluidsynth
def test_soundfonts_that_cannot_be_played(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(M2MError, match=r"cannot read the SoundFont .*absent\.sf2: No such file.*fluidr3mono"):
        Renderer(tmp_path / "absent.sf2", 16_000, 1.0)
    with pytest.raises(M2MError, match="cannot read the SoundFont .*directory"):
        Renderer(tmp_path, 16_000, 1.0)
    (tmp_path / "song.mid").write_bytes(b"MThd")
    with pytest.raises(M2MError, match=r"song\.mid is not a SoundFont"):
        Renderer(tmp_path / "song.mid", 16_000, 1.0)
    assert capfd.readouterr() == ("", "")  # FluidSynth did not speak
    (tmp_path / "damaged.sf2").write_bytes(SOUNDFONT.read_bytes()[:1_000])
    with pytest.raises(M2MError, match="the file is damaged"):
        Renderer(tmp_path / "damaged.sf2", 16_000, 1.0).render(note_array([]), 0, 100)


@needs_fluidsynth
def test_a_program_that_the_soundfont_lacks(synth: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    synth.require(range(128))

    class Poor(synth._synth):  # type: ignore[misc, name-defined]
        def sfpreset_name(self, font: int, bank: int, program: int) -> str | None:
            return None if program in (9, 56) else super().sfpreset_name(font, bank, program)

    monkeypatch.setattr(synth, "_synth", Poor)
    with pytest.raises(M2MError, match=r"has no program 9 \(glockenspiel\), 56 \(trumpet\) in bank 0"):
        synth.require([0, 9, 56])
    with pytest.raises(M2MError, match=r"has no program 56 \(trumpet\) in bank 0"):
        synth.render(note_array([]), 56, 100)


@needs_fluidsynth
def test_a_kit_is_struck_and_no_program_sounds_like_it(synth: Renderer) -> None:
    """A bass drum's energy is low, a closed hi-hat's high; the piano's key 42 is a low note."""

    def centroid(program: int, key: int) -> float:
        wave = synth.render(note_array([(0.1, 0.3, key, 110)]), program, 8_000)
        power = np.abs(np.fft.rfft(wave)) ** 2
        return float((power * np.fft.rfftfreq(len(wave), 1 / 16_000)).sum() / power.sum())

    assert centroid(128, 36) < 300
    assert centroid(128, 42) > 3_000
    assert centroid(0, 42) < 600
    drums = note_array([(0.1, 0.3, key, 110) for key in (36, 38, 42, 49)])
    assert not np.array_equal(synth.render(drums, 128, 8_000), synth.render(drums, 153, 8_000))  # a TR-808


@needs_fluidsynth
def test_the_kits_of_a_soundfont(synth: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert synth.instruments() == (*range(128), 128, 136, 144, 152, 153, 160, 168, 176)
    synth.require([0, 128, 176])
    with pytest.raises(M2MError, match=r"has no kit 56 \(sound-effects-kit\) in bank 128; choose others"):
        synth.require([0, 128, 184])
    with pytest.raises(M2MError, match=r"has no kit 7 \(standard-kit-7\) in bank 128"):
        synth.render(note_array([]), 135, 100)

    class Poor(synth._synth):  # type: ignore[misc, name-defined]
        def sfpreset_name(self, font: int, bank: int, program: int) -> str | None:
            return super().sfpreset_name(font, bank, program) if bank == 0 and program != 9 else None

    monkeypatch.setattr(synth, "_synth", Poor)
    assert synth.instruments() == tuple(range(128))
    with pytest.raises(
        M2MError, match=r"no program 9 \(glockenspiel\) in bank 0 and no kit 0 \(standard-kit\) in bank 128"
    ):
        synth.require([9, 128])
