"""Mel -> audio. Each vocoder is reached by its registered name only."""
