"""(features, timbre) -> features. Each conditioner is reached by its registered name only."""
