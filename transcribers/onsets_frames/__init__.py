"""Onsets and Frames: notes by where they begin and how long they are held."""
