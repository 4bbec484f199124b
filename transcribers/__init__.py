"""Transcribers: audio -> notes (core/transcriber.py has the contract)."""
