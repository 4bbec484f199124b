"""Draw docs/prelude.png: a score's piano roll, the mel that Mel2Mel predicts of it, and the waveform that comes out.

python docs/make_picture.py examples/prelude.mid docs/prelude.png
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np

import m2m

SECONDS = 14.0


def main(score_path: str, picture: str) -> None:
    """Render with the defaults, and draw the first seconds of each stage under one another."""
    pipeline = m2m.Pipeline()
    score = m2m.read_score(score_path)
    part = pipeline.parts(score, None, {})[0]
    mel = pipeline.mel(part, SECONDS)
    wave = pipeline.render(score).audio[: int(SECONDS * pipeline.spec.sample_rate)]

    figure, (roll, image, samples) = plt.subplots(3, 1, figsize=(11, 7), sharex=True, layout="constrained")
    notes = part.notes[part.notes["start"] < SECONDS]
    for start, end, pitch, velocity in notes.tolist():
        roll.barh(
            pitch, min(end, SECONDS) - start, left=start, height=0.9, color=plt.cm.magma(0.2 + 0.6 * velocity / 127)
        )
    roll.set(ylabel="MIDI key", title=f"{score.name}: the score, pedal applied")
    decibels = 20 / np.log(10) * mel.values.T
    extent = (0.0, SECONDS, 0.0, mel.spec.n_mels)
    image.imshow(decibels, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-90, vmax=-10)
    image.set(ylabel="mel band", title=f"the mel that Mel2Mel predicts ({part.name}), -90 to -10 dB")
    samples.plot(np.arange(len(wave)) / pipeline.spec.sample_rate, wave, linewidth=0.3, color="#3b0f70")
    samples.set(ylabel="amplitude", xlabel="seconds", title="the waveform that the vocoder makes", xlim=(0, SECONDS))
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:3])
