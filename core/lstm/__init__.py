"""The LSTM's kernel on a CPU."""
