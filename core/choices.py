"""Choices, defaults and ranges that command-line options, configs and web messages share.

It holds what has no owner that is quick to import: the command line needs these for `--help`, without numpy, pydantic and torch.
Limits of a score are in core/midi.py, kinds of components in core/plugins.
"""

from typing import Literal

# Audio files (core/audio.py)
ClipMode = Literal["rescale", "clamp", "none"]
SampleFormat = Literal["pcm16", "pcm24", "pcm32", "float"]

# Rendering (core/rendering/pipeline.py)
GAIN_DB = 9.0  # training audio leaves headroom for dense chords, which most pieces do not need
GAIN_RANGE_DB = (-60, 60)
MAX_SEED = 2**32 - 1

# Networks
Distribution = Literal["mulaw", "gaussian", "mol"]  # of a sample, as WaveNet puts it out: mol is a mixture of logistics
Noise = Literal["gaussian", "logistic"]  # that Parallel WaveNet turns into sound

# Data sets (dataset/shards.py) and benches (evaluation/bench/plan.py)
Split = Literal["train", "validation", "test"]
Stage = Literal["original", "mu-law", "true-mel", "predicted", "mel"]
STAGES: tuple[Stage, ...] = ("mu-law", "true-mel", "predicted", "mel")  # the original is in every bench
