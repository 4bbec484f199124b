"""Score -> roll. Each encoder is reached by its registered name only."""
