"""Parallel WaveNet: a student of WaveNet that makes all samples at once."""
