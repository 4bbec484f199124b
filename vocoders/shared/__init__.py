"""What several vocoders hear and do."""
