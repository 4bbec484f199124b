"""The kernels of the CPU: vectors and packed matrices for all of them, and finding their libraries."""
