"""What benches/reliability.py tries, by what is done to m2m: damaged files, odd files, kills, crowds."""
