// What emulator.h takes from the system: emulated_gpu.py compiles it once for all libraries.
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>
