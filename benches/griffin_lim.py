"""Our Griffin-Lim against librosa's, on the same mel and filter bank: how fast is each at equal spectral convergence?

    python benches/griffin_lim.py                        # notes synthesised here, 10 s, nothing else is needed
    python benches/griffin_lim.py --wav some.wav --midi its.mid --json out.json

Needs librosa (not a dependency of m2m). Spectral convergence is |X - Y| / |X| (Frobenius), X what was given or meant
and Y the same of the wave that came out: once for the linear mel, which was given, and once for the STFT magnitude of
the original wave, which the mel only hints at. `equal` asks for both: for each run of librosa, our fastest run that
is at least as near in mel and in magnitude. "phase only" leaves librosa's slow inversion of the filter bank out of
its time. All runs use one thread; the time is the best of `--repeats`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from shared import best, json_option, write_json

from m2m.core.mel import Mel, MelSpec, filter_bank, linear_mel, log_mel, magnitude_scale, window
from m2m.core.score import NoteArray, excerpt, merge, note_array, read_score
from m2m.vocoders.griffin_lim.vocoder import GriffinLim, GriffinLimOptions

THEIRS = (8, 32, 64)  # iterations; 32 is librosa's default
OURS = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80)


def made_up(seconds: float, spec: MelSpec) -> tuple[np.ndarray, NoteArray]:
    """Chords of decaying, slightly inharmonic notes with a noisy attack, and their score."""
    rng = np.random.default_rng(0)
    rows = []
    for onset in np.arange(0.0, seconds - 0.5, 0.25):
        for key in rng.choice(np.arange(40, 84), rng.integers(1, 4), replace=False):
            rows.append(
                (float(onset), float(min(seconds, onset + rng.uniform(0.2, 1.5))), int(key), int(rng.integers(40, 120)))
            )
    notes = note_array(rows)
    moments = np.arange(int(seconds * spec.sample_rate)) / spec.sample_rate
    wave = np.zeros(len(moments))
    for note in notes:
        since = moments - note["start"]
        gate = (since >= 0) * np.exp(-20 * np.maximum(moments - note["end"], 0))
        hz = 440 * 2 ** ((note["pitch"] - 69) / 12)
        for k in range(1, 30):
            partial = k * hz * np.sqrt(1 + 3e-4 * k * k)
            if partial < 0.48 * spec.sample_rate:
                decay = np.exp(-(1 + 0.3 * k) * np.maximum(since, 0))
                wave += note["velocity"] * gate * decay * np.sin(2 * np.pi * (partial * since + rng.random())) / k
        wave += 0.3 * note["velocity"] * gate * np.exp(-60 * np.maximum(since, 0)) * rng.standard_normal(len(wave))
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32), notes


def librosa_inversion(mel: Mel) -> np.ndarray:
    """What librosa.feature.inverse.mel_to_stft does, with our filter bank instead of its own."""
    import librosa

    magnitude = librosa.util.nnls(filter_bank(mel.spec).numpy(), linear_mel(mel.values, mel.spec).T)
    # librosa counts one frame more for the same samples
    return np.pad(magnitude / magnitude_scale(mel.spec), ((0, 0), (0, 1)), mode="edge")


def librosa_phase(magnitude: np.ndarray, mel: Mel, iterations: int) -> np.ndarray:
    import librosa

    hop = mel.spec.hop_length
    return librosa.griffinlim(
        magnitude, n_iter=iterations, hop_length=hop, random_state=0, pad_mode="constant", length=mel.samples
    )


def librosa_run(mel: Mel, iterations: int = 32) -> np.ndarray:
    """What librosa.feature.inverse.mel_to_audio does, by default as often as it does."""
    return librosa_phase(librosa_inversion(mel), mel, iterations)


def our_run(mel: Mel, iterations: int) -> np.ndarray:
    return GriffinLim(GriffinLimOptions(iterations=iterations, blind_iterations=iterations)).synthesize(mel)


def convergence(want: np.ndarray, got: np.ndarray) -> float:
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def magnitude(wave: np.ndarray, spec: MelSpec) -> np.ndarray:
    x = torch.from_numpy(np.ascontiguousarray(wave, np.float32))
    spectrum = torch.stft(x, spec.n_fft, spec.hop_length, window=window(spec), pad_mode="constant", return_complex=True)
    return spectrum.abs().numpy()


@dataclass
class Trial:
    """A recording that methods bring back from its mel."""

    wave: np.ndarray
    mel: Mel
    repeats: int

    def run(self, name: str, method: Callable[[Mel, int], np.ndarray], iterations: int) -> dict[str, Any]:
        """Time and spectral convergence of a method, printed and as they are kept."""
        spec = self.mel.spec
        seconds, out = best(lambda: method(self.mel, iterations), self.repeats)
        row = {
            "method": name,
            "iterations": iterations,
            "seconds": seconds,
            "real_time": len(self.wave) / spec.sample_rate / seconds,
            "mel_convergence": convergence(linear_mel(self.mel.values, spec), linear_mel(log_mel(out, spec), spec)),
            "magnitude_convergence": convergence(magnitude(self.wave, spec), magnitude(out, spec)),
        }
        near = f"{row['mel_convergence']:10.4f} {row['magnitude_convergence']:10.4f}"
        click.echo(f"{name:22} {iterations:10} {seconds:9.3f} {row['real_time']:9.1f}x {near}")
        return row


def recording(wav: str | None, midi: str | None, seconds: float, spec: MelSpec) -> tuple[np.ndarray, NoteArray | None]:
    """The audio to bring back, and its notes if they are known."""
    notes: NoteArray | None = None
    if wav:
        import librosa

        wave = librosa.load(wav, sr=spec.sample_rate, duration=seconds)[0]
        if midi:
            notes = excerpt(merge(track.notes for track in read_score(midi).playable), 0, seconds)
    else:
        wave, notes = made_up(seconds, spec)
    return wave[: len(wave) // spec.hop_length * spec.hop_length], notes


def at_equal_convergence(theirs: list[dict[str, Any]], ours: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """How many times as fast our fastest run is that is as near in mel and in magnitude, printed and as it is kept."""
    click.echo("\nat equal spectral convergence (both mel and magnitude at least as near):")
    equal = []
    for name, rows in ours.items():
        for other in theirs:
            fit = [row for row in rows if all(row[c] <= other[c] for c in ("mel_convergence", "magnitude_convergence"))]
            fastest = min(fit, key=lambda row: row["seconds"], default=None)
            ratio = other["seconds"] / fastest["seconds"] if fastest else None
            verdict = "not reached"
            if fastest and ratio:
                verdict = f"{ratio:.1f} times as fast, with {fastest['iterations']} iterations"
            click.echo(f"  {name:22} against {other['method']:20} {other['iterations']:3} iterations: {verdict}")
            against = {"against": other["method"], "iterations": other["iterations"]}
            equal.append({"method": name, **against, "speedup": ratio})
    return equal


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="length synthesised, or taken from the file")
@click.option("--wav", type=click.Path(exists=True, dir_okay=False), help="audio instead of the synthesised notes")
@click.option("--midi", type=click.Path(exists=True, dir_okay=False), help="the score of --wav; else only blind runs")
@click.option("--repeats", default=3, show_default=True)
@json_option
def main(seconds: float, wav: str | None, midi: str | None, repeats: int, json_path: Path | None) -> None:
    """Compare speed at equal spectral convergence."""
    torch.set_num_threads(1)
    spec = MelSpec()
    wave, notes = recording(wav, midi, seconds, spec)
    mel = Mel(log_mel(wave, spec), spec, notes)
    informed, blind = Trial(wave, mel, repeats), Trial(wave, mel.without_notes(), repeats)

    click.echo(f"{'method':22} {'iterations':>10} {'seconds':>9} {'real time':>10} {'mel':>10} {'magnitude':>10}")
    librosa_run(Mel(mel.values[:20], spec), 1)  # imports and compiles
    theirs = [blind.run("librosa", librosa_run, n) for n in THEIRS]
    inverted = librosa_inversion(mel)
    theirs += [blind.run("librosa, phase only", lambda given, n: librosa_phase(inverted, given, n), n) for n in THEIRS]
    ours = {"ours, blind": [blind.run("ours, blind", our_run, n) for n in OURS]}
    if notes is not None:
        ours["ours, score-informed"] = [informed.run("ours, score-informed", our_run, n) for n in OURS]
    equal = at_equal_convergence(theirs, ours)
    write_json(json_path, {"runs": theirs + [row for rows in ours.values() for row in rows], "equal": equal})


if __name__ == "__main__":
    main()
