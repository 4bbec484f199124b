"""What training minimises: distances of mels and of waves, divergences, an adversary."""
