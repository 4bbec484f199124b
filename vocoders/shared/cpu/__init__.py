"""C++ that trains WaveNet's layers."""
