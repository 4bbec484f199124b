"""Basic Pitch as a transcriber of m2m."""
