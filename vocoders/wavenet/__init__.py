"""WaveNet: a network that draws audio sample by sample, and the engines that run it."""
