// Any processor that g++ or clang compiles for: vectors of four, which are SSE2 or NEON where there is one.
#include "student.h"
