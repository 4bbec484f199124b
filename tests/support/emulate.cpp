// The kernels as a library that Python can call as it calls the driver.
#include "emulator.h"

#include "wavenet.cu"

extern "C" int emulate(int kernel, int grid, int threads, int shared, int order, void** arguments) {
    switch (kernel) {
        case 0: return emulator::launch(wavenet, grid, BLOCKS, threads, shared, order, arguments);
        case 1: return emulator::launch(upsample, grid, 1, threads, shared, 0, arguments);
        default: return emulator::launch(upsample_last, grid, 1, threads, shared, 0, arguments);
    }
}
