"""Phase gradient heap integration, a vocoder for m2m."""
