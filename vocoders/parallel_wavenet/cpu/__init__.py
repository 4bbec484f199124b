"""The student on the CPU: a C++ kernel for each instruction set."""
