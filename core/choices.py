"""Choices, defaults and ranges that command-line options, configs and web messages share.

It holds what has no owner that is quick to import: the command line needs these for `--help`, without numpy, pydantic and torch.
Limits of a score are in core/midi.py, kinds of components in core/plugins/kinds.py, losses in training/losses/.
"""

from typing import Literal

# Rendering (core/rendering/pipeline.py) and audio files (core/audio.py)
GAIN_DB = 9.0  # training audio leaves headroom for dense chords, which most pieces do not need
GAIN_RANGE_DB = (-60, 60)
MAX_SEED = 2**32 - 1
ClipMode = Literal["rescale", "clamp", "none"]
CLIP_MODE: ClipMode = "rescale"
CHANNELS = (1, 2)  # of a mix: mono, stereo
SampleFormat = Literal["pcm16", "pcm24", "pcm32", "float"]

# Networks and their training
Distribution = Literal["mulaw", "gaussian", "mol"]  # of a sample, as WaveNet puts it out: mol is a mixture of logistics
Noise = Literal["gaussian", "logistic"]  # that Parallel WaveNet turns into sound
Preset = Literal["harmonic", "paper"]  # of WaveNet's training (training/wavenet.py)

# Data sets (dataset/shards.py)
Split = Literal["train", "validation", "test"]

# Benches (evaluation/bench/plan.py) and listening tests (evaluation/listening/blind_test.py)
Stage = Literal["original", "mu-law", "true-mel", "predicted", "transcribed", "mel"]
# The original is in every bench; "transcribed" wants a transcriber, which is asked for.
STAGES: tuple[Stage, ...] = ("mu-law", "true-mel", "predicted", "mel")
BENCH_SPLIT: Split = "test"
BENCH_SECONDS = 30.0  # of each recording
BENCH_REPEATS = 5  # of a speed measurement
LISTENING_RECORDINGS = 6
LISTENING_SECONDS = 8.0  # of each recording

# Conformance suites (core/testing/suite.py)
TEST_SECONDS = 120.0  # that a test may take
