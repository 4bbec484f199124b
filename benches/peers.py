"""What a user would pick instead, on the same scores and mels: quality and speed in one table.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python benches/peers.py                                        # the recordings that ship, minutes
    python benches/peers.py --data DATA --files 2 --seconds 10     # a data set's test files

From the score: FluidSynth with the SoundFont that pretty_midi carries, which is what one gets without choosing one, and with
`--soundfont` another (the one that the recordings were made with gives them back, and so the ceiling). From the true mel:
librosa's Griffin-Lim after its own inversion of the filter bank, torchaudio's, Vocos. What is not installed, or installs without
its weights, is a row that says so. Speed is processor time a second of audio, on the one thread that the variables leave.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np
import pretty_midi
from griffin_lim import librosa_run
from shared import json_option, write_json

from m2m.core.instruments import REFERENCE
from m2m.core.mel import Mel, MelSpec, linear_mel, magnitude_scale
from m2m.core.mel2mel import load_mel2mel
from m2m.core.plugins import registry
from m2m.core.rendering.model_choice import choose_model
from m2m.core.rendering.pipeline import timbre_space
from m2m.core.system.progress import track
from m2m.dataset.soundfont import Renderer
from m2m.evaluation.bench.recordings import Recording, open_recordings
from m2m.evaluation.bench.results import markdown
from m2m.evaluation.measures.table import Reference, measure_audio

Render = Callable[[Reference, Recording], np.ndarray]
PROGRAMS = {name: program for program, name in REFERENCE.items()}
SHOWN = {
    **{"constant_q": "CQ correlation", "log_mel": "log-mel MAE", "stft_convergence": "STFT convergence"},
    **{"onset_f1": "onset F1", "notes_heard": "notes heard"},
}


def fluidsynth(soundfont: Path) -> Render:
    """FluidSynth itself, from the score."""
    renderer = Renderer(soundfont, 16_000, 1.0)
    return lambda r, recording: renderer.render(r.notes, PROGRAMS[recording.instrument], len(r.wave))


def ours(vocoder: str, conditioner: str | None = None) -> Render:
    """m2m: a vocoder on the true mel, or the whole way from the score."""
    synth = registry.create("vocoder", vocoder)
    if conditioner is None:
        return lambda r, _: synth.synthesize(Mel(r.mel, r.spec, r.notes))
    model, _ = load_mel2mel(choose_model(conditioner=conditioner))
    space = timbre_space(model)

    def render(r: Reference, recording: Recording) -> np.ndarray:
        point = space.point(recording.instrument)
        return synth.synthesize(Mel(model.predict(r.notes, point, len(r.mel)), r.spec, r.notes, point[None]))

    return render


def librosa_griffin_lim(r: Reference, _: Recording) -> np.ndarray:
    return librosa_run(Mel(r.mel, r.spec))[: len(r.wave)]


def torchaudio_griffin_lim() -> Render:
    """torchaudio.transforms.InverseMelScale and GriffinLim."""
    import torch
    import torchaudio  # type: ignore[import-not-found]

    spec = MelSpec()
    inverse = torchaudio.transforms.InverseMelScale(spec.n_fft // 2 + 1, spec.n_mels, spec.sample_rate, mel_scale="htk")
    phase = torchaudio.transforms.GriffinLim(spec.n_fft, hop_length=spec.hop_length, power=1.0)

    def render(r: Reference, _: Recording) -> np.ndarray:
        torch.manual_seed(0)
        magnitude = inverse(torch.from_numpy(linear_mel(r.mel, r.spec).T.copy())) / magnitude_scale(r.spec)
        return phase(magnitude).numpy()

    return render


def vocos() -> Render:
    """Vocos (arXiv 2306.00814) on its own mel, of 24 kHz; its package has no weights and loads them from a hub when it runs."""
    import soxr
    import torch
    from vocos import Vocos  # type: ignore[import-not-found]

    model = Vocos.from_pretrained("charactr/vocos-mel-24khz")

    def render(r: Reference, _: Recording) -> np.ndarray:
        with torch.inference_mode():
            wave = torch.from_numpy(soxr.resample(r.wave, r.rate, 24_000))[None]
            made = model.decode(model.feature_extractor(wave))[0].numpy()
        return soxr.resample(made, 24_000, r.rate).astype(np.float32)

    return render


def peers(soundfont: Path | None) -> dict[str, tuple[str, Callable[[], Render]]]:
    """Name -> (what it starts from, how to get it)."""
    carried = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
    found: dict[str, tuple[str, Callable[[], Render]]] = {}
    if soundfont is not None:
        found[f"FluidSynth, {soundfont.name}"] = "score", partial(fluidsynth, soundfont)
    found["FluidSynth, TimGM6mb.sf2"] = "score", partial(fluidsynth, carried)
    vocoders = [component.name for component in registry.components("vocoder") if component.status == "ok"]
    for name in vocoders:
        found[f"m2m, film > {name}"] = "score", partial(ours, name, "film")
    for name in vocoders:
        found[f"m2m, {name}"] = "true mel", partial(ours, name)
    found["librosa, Griffin-Lim"] = "true mel", lambda: librosa_griffin_lim
    found["torchaudio, Griffin-Lim"] = "true mel", torchaudio_griffin_lim
    found["Vocos"] = "its own mel", vocos
    return found


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Recordings.  [default: those that ship]")
@click.option("--files", type=click.IntRange(1), help="The first so many.")
@click.option("--seconds", default=5.0, show_default=True, help="Of each recording.")
@click.option("--soundfont", type=click.Path(exists=True, path_type=Path), help="One more SoundFont for FluidSynth.")
@json_option
def main(data: Path | None, files: int | None, seconds: float, soundfont: Path | None, json_path: Path | None) -> None:
    """Measure m2m's peers and print a Markdown table."""
    import torch

    torch.set_num_threads(1)
    source, spec = open_recordings(data), MelSpec()
    recordings = source.list()
    kept = list(dict.fromkeys(r.file for r in recordings))[:files]
    references = {}
    for recording in (r for r in recordings if r.file in kept):
        wave, _, notes = source.read(recording, seconds)
        references[recording] = Reference(wave[: len(wave) // spec.hop_length * spec.hop_length], notes, spec)
    rows: list[dict[str, Any]] = []
    for name, (start, get) in track(peers(soundfont).items(), "systems"):
        rows.append({"system": name, "from": start} | measure(get, references))
    click.echo(markdown(["system", "from", *SHOWN.values(), "processor s a second"], map(cells, rows)))
    write_json(json_path, rows)


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    if "error" in row:
        return [row["system"], row["from"], row["error"], *[""] * len(SHOWN)]
    figures = (f"{row[name]:.3f}" if name in row else "" for name in SHOWN)
    return [row["system"], row["from"], *figures, f"{row['factor']:.4f}"]


def measure(get: Callable[[], Render], references: dict[Recording, Reference]) -> dict[str, Any]:
    """The means of one system, or why there are none."""
    try:
        render = get()
        render(*next((reference, recording) for recording, reference in references.items()))  # to warm up
    except Exception as error:
        return {"error": f"not measured: {' '.join(str(error).split())[:140]}"}
    figures, factors = [], []
    for recording, reference in references.items():
        began = time.process_time()
        wave = render(reference, recording)
        factors.append((time.process_time() - began) / (len(reference.wave) / reference.rate))
        figures.append(measure_audio(reference, wave)[0])
    means = {name: fmean(found) for name in SHOWN if (found := [f[name] for f in figures if name in f])}
    return means | {"factor": fmean(factors)}


if __name__ == "__main__":
    main()
