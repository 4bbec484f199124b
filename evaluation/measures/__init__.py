"""Measures of a rendering, and the table of them."""
