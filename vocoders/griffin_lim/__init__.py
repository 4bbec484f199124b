"""Griffin-Lim, started from the score's notes."""
