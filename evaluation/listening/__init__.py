"""Listening tests: made from a bench, and what their listeners said."""
