"""`python -m m2m` is the `m2m` command."""

from m2m.cli import main

main()
