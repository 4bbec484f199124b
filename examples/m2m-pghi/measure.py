"""Vocoders against each other on true mels: how near they come to the audio that a data set was made of, and at what cost.

    python measure.py DATA                     # `m2m dataset build`; of its test split, 10 s of each instrument
    python measure.py DATA --opt pghi.updates=8 --json

correlation: constant-Q magnitudes over time, mean of 84 semitones (the paper's measure); log-mel: mean absolute error in nepers.
Speed is seconds of audio per second of processor time on one thread, which a busy machine disturbs least.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import numpy as np
import torch

from m2m.core.mel import Mel, log_mel
from m2m.core.plugins import registry
from m2m.core.score import from_rows
from m2m.evaluation.metrics import constant_q_correlation, log_mel_error
from m2m.training.dataset import ShardReader


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True)
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--vocoder", "names", multiple=True, default=["pghi", "griffin-lim"], show_default=True)
@click.option("--opt", "options", multiple=True, metavar="VOCODER.NAME=VALUE")
@click.option("--json", "as_json", is_flag=True)
def main(data: Path, split: str, seconds: float, names: list[str], options: list[str], as_json: bool) -> None:
    """Measure."""
    torch.set_num_threads(1)
    shards = ShardReader(data, split)
    spec = shards.config.mel
    rows = []
    for name in names:
        given = dict(o.removeprefix(f"{name}.").split("=", 1) for o in options if o.startswith(f"{name}."))
        vocoder = registry.create("vocoder", name, options=given)
        for informed in (True, False):
            near, error, spent, heard = [], [], 0.0, 0.0
            for index in range(len(shards)):
                for instrument in shards.instruments:
                    frames = int(seconds * spec.frame_rate)
                    values = shards.mel(index, instrument, 0, frames)
                    wave = shards.audio(index, instrument, 0, len(values) * spec.hop_length)
                    values = values[: len(wave) // spec.hop_length]
                    mel = Mel(values, spec, from_rows(shards.notes(index, instrument)) if informed else None)
                    vocoder.synthesize(Mel(values[:10], spec))  # warms up
                    began = time.process_time()
                    out = vocoder.synthesize(mel, seed=0)
                    spent, heard = spent + time.process_time() - began, heard + mel.seconds
                    near.append(np.nanmean(constant_q_correlation(wave[: len(out)], out, spec.sample_rate)))
                    error.append(log_mel_error(log_mel(out, spec), values))
            rows.append(
                {
                    "vocoder": name,
                    "notes": informed,
                    "correlation": round(float(np.mean(near)), 4),
                    "log_mel": round(float(np.mean(error)), 4),
                    "speed": round(heard / spent, 1),
                    "renderings": len(near),
                }
            )
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'vocoder':14} {'notes':6} {'correlation':>12} {'log-mel':>8} {'times real time':>16}")
    for r in rows:
        print(f"{r['vocoder']:14} {r['notes']!s:6} {r['correlation']:12.3f} {r['log_mel']:8.3f} {r['speed']:16.1f}")


if __name__ == "__main__":
    main()
