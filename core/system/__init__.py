"""The machine: files whole or not at all, processes that share out work, progress, configs of runs."""
