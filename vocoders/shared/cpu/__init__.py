"""C++ kernels: finding their libraries, and the one that trains WaveNet's layers."""
