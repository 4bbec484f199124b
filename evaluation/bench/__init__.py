"""Benches: components compared on recordings, in quality, speed and memory."""
