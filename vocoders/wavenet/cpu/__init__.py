"""WaveNet's C++ engine."""
