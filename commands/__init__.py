"""The commands of the `m2m` group, a module for each room that they open; cli.py adds them."""
