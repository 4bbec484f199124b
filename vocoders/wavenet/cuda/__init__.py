"""WaveNet's CUDA engine."""
