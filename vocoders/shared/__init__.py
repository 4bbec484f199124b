"""What several vocoders share: signal processing, conditioning, layers, random numbers."""
