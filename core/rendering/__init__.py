"""Scores to audio: the stages in a row, parts played together, files to files."""
