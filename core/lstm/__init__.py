"""LSTMs: the kernel of Mel2Mel's on a CPU, and the precision of PyTorch's on a GPU."""
