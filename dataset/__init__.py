"""Data sets: MIDI files and a SoundFont become notes, audio and mels, which training and evaluation read."""
