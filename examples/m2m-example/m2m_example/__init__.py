"""A plugin for m2m."""
