// device.h's names on the CPU, so that the kernel itself, not a copy, is tested without a GPU.
//
// Each thread of a cluster is a fiber. It runs until it waits at a barrier, or has arrived at one; then the next fiber
// runs. The first fiber runs as far ahead as the barriers allow, so a missing barrier gives wrong numbers every time,
// in one of three orders: forward, backward, shuffled. Shared memory begins as NaN. If all fibers wait, that is a
// deadlock, and `launch` returns false. An asynchronous store arrives, with its bytes for its mbarrier, in the same
// orders as late as can be (when all fibers wait), at once, or at random. Tensor cores are a loop of one lane. One fault cannot be seen here: a shuffle
// makes the threads of a warp wait for each other, but on a GPU it orders no memory.

#pragma once

#include "emulator_headers.h"

#define DEVICE inline
#define UNROLL
#define KERNEL static void
#define PLAIN_KERNEL static void

#if BITS == 32
typedef float Number;
#else
typedef unsigned short Number;
#endif

struct alignas(16) Words {
    unsigned word[4];
};

namespace emulator {

struct Barrier {
    int count = 0;
    long generation = 0;

    long arrive(int wanted) {  // returns the generation to wait for
        long mine = generation + 1;
        if (++count == wanted) count = 0, generation++;
        return mine;
    }
};

// What mbarrier.h has of a GPU, in as many bytes. Not made, it has shared memory's NaN.
struct alignas(8) Mbarrier {
    uint16_t phase;
    uint8_t arrivals;
    int8_t pending;
    int32_t bytes;  // that are expected and have not come, or less than 0

    bool is_made() const { return arrivals > 0 && arrivals < 128; }
    void complete() {
        if (pending == 0 && bytes == 0) phase++, pending = int8_t(arrivals);
    }
};

struct Store {
    char* to;
    Mbarrier* on;
    int size;
    unsigned words[4];
};

struct BlockState {
    std::unique_ptr<char[]> memory;
    char* shared;
    int number, threads;
    Barrier all;
    std::vector<Barrier> groups[6];     // by the logarithm of their width
    std::vector<uint64_t> slots[6][2];  // values in a shuffle, in two alternating sets
};

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    BlockState* block;
    int thread;
    bool done = false, arrived = false;
    const long* generation = nullptr;  // waits until this is `wanted`
    long wanted = 0, of_cluster = 0;
    const Mbarrier* mbarrier = nullptr;  // waits until its phase is not of this parity
    int parity = 0;
    int turn[6] = {};
};

inline std::vector<Fiber> fibers;
inline std::vector<BlockState> blocks;
inline Barrier cluster;
inline Fiber* current;
inline ucontext_t scheduler;
inline void (*body)(void*);
inline void* body_arguments;
inline bool misused, at_once;
inline std::vector<Store> in_flight;

inline void wait_for(const Barrier& barrier, long wanted) {
    if (barrier.generation >= wanted) return;
    current->generation = &barrier.generation, current->wanted = wanted;
    swapcontext(&current->context, &scheduler);
}

inline void deliver(const Store& store) {
    std::memcpy(store.to, store.words, store.size);
    if (!store.on->is_made()) misused = true;
    store.on->bytes -= store.size, store.on->complete();
}

inline void begin() {
    body(body_arguments);
    current->done = true;
    swapcontext(&current->context, &scheduler);
}

// Run one cluster. Returns whether it ended, without a deadlock or a misused barrier.
inline bool run(int first_block, int count, int threads, int shared, int order) {
    constexpr int STACK = 96 << 10;
    blocks = std::vector<BlockState>(count), fibers = std::vector<Fiber>(size_t(count) * threads);
    cluster = {}, misused = false, at_once = order == 1, in_flight.clear();
    for (int i = 0; i < count; i++) {
        BlockState& b = blocks[i];
        b.memory.reset(new char[shared + 128]);
        b.shared = b.memory.get() + (128 - uintptr_t(b.memory.get()) % 128) % 128;
        std::memset(b.shared, 0xff, shared);
        b.number = first_block + i, b.threads = threads;
        for (int w = 0; w < 6; w++) {
            b.groups[w].resize((threads >> w) + 1);
            for (auto& slots : b.slots[w]) slots.resize(threads);
        }
    }
    std::vector<int> turns;
    for (size_t i = 0; i < fibers.size(); i++) {
        Fiber& f = fibers[i];
        f.block = &blocks[i / threads], f.thread = int(i % threads);
        f.stack.reset(new char[STACK]);
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.get(), f.context.uc_stack.ss_size = STACK, f.context.uc_link = nullptr;
        makecontext(&f.context, begin, 0);
        turns.push_back(int(i));
    }
    if (order == 1) std::reverse(turns.begin(), turns.end());
    std::mt19937 chance(order);
    for (bool progress = true; progress;) {
        progress = false;
        if (order > 1) std::shuffle(turns.begin(), turns.end(), chance);
        for (int i : turns) {
            Fiber& f = fibers[i];
            if (f.done || (f.generation && *f.generation < f.wanted)) continue;
            if (f.mbarrier && f.mbarrier->phase % 2 == f.parity) continue;
            f.generation = nullptr, f.mbarrier = nullptr, current = &f, progress = true;
            swapcontext(&scheduler, &f.context);
        }
        if (order > 1) std::shuffle(in_flight.begin(), in_flight.end(), chance);
        size_t arriving = order > 1 && progress ? in_flight.size() / 2 : progress ? 0 : in_flight.size();
        progress |= arriving > 0;
        for (; arriving; arriving--) deliver(in_flight.back()), in_flight.pop_back();
    }
    return !misused && in_flight.empty() &&
           std::all_of(fibers.begin(), fibers.end(), [](const Fiber& f) { return f.done; });
}

template <class... A, size_t... i> void call(void (*kernel)(A...), void** arguments, std::index_sequence<i...>) {
    kernel(*static_cast<std::remove_reference_t<A>*>(arguments[i])...);
}

// As cuLaunchKernel: a pointer to each argument. grid: clusters.
template <class... A>
bool launch(void (*kernel)(A...), int grid, int blocks_of_cluster, int threads, int shared, int order,
            void** arguments) {
    struct Call {
        void (*kernel)(A...);
        void** arguments;
    } what{kernel, arguments};
    body = [](void* p) {
        auto* what = static_cast<Call*>(p);
        call(what->kernel, what->arguments, std::index_sequence_for<A...>{});
    };
    body_arguments = &what;
    bool ended = true;
    for (int i = 0; ended && i < grid; i++)
        ended = run(i * blocks_of_cluster, blocks_of_cluster, threads, shared, order);
    body_arguments = nullptr;
    return ended;
}

constexpr int log2_of(int n) { return n > 1 ? 1 + log2_of(n / 2) : 0; }

template <int width, class T> T from_lane(T value, int lane) {
    constexpr int W = log2_of(width);
    BlockState& b = *current->block;
    auto& slots = b.slots[W][current->turn[W]++ % 2];
    std::memcpy(&slots[current->thread], &value, sizeof value);
    Barrier& barrier = b.groups[W][current->thread / width];
    wait_for(barrier, barrier.arrive(width));
    std::memcpy(&value, &slots[current->thread / width * width + lane], sizeof value);
    return value;
}

}  // namespace emulator

inline int thread_number() { return emulator::current->thread; }
inline int block_number() { return emulator::current->block->number; }
inline int block_size() { return emulator::current->block->threads; }
inline char* shared_memory() { return emulator::current->block->shared; }

inline void sync() {
    auto& b = *emulator::current->block;
    emulator::wait_for(b.all, b.all.arrive(b.threads));
}
inline void arrive() {
    using namespace emulator;
    if (BLOCKS == 1) return;
    if (std::exchange(current->arrived, true)) misused = true;
    current->of_cluster = cluster.arrive(int(fibers.size()));
    swapcontext(&current->context, &scheduler);  // others may be past their `wait` before this one goes on
}
inline void wait() {
    using namespace emulator;
    if (BLOCKS == 1) return sync();
    if (!std::exchange(current->arrived, false)) misused = true;
    wait_for(cluster, current->of_cluster);
}
inline void sync_warp() { emulator::from_lane<32>(0, 0); }

using emulator::Mbarrier;
inline void make(Mbarrier* b, int arrivals) { *b = {0, uint8_t(arrivals), int8_t(arrivals), 0}; }
inline void made() {}
inline void arrive(Mbarrier* b, int bytes = 0) {
    if (!b->is_made() || b->pending < 1) emulator::misused = true;
    b->bytes += bytes, b->pending--, b->complete();
}
inline void wait(const Mbarrier* b, int parity) {
    using namespace emulator;
    if (!b->is_made()) misused = true;
    if (b->phase % 2 != parity) return;
    current->mbarrier = b, current->parity = parity;
    swapcontext(&current->context, &scheduler);
}

template <class T> T* peer(T* mine, int rank) {
    using namespace emulator;
    return reinterpret_cast<T*>(blocks[rank].shared + (reinterpret_cast<char*>(mine) - current->block->shared));
}

struct Remote {
    char* place;
    Mbarrier* barrier;
    Remote(void* to, Mbarrier* on, int rank) : place(peer(static_cast<char*>(to), rank)), barrier(peer(on, rank)) {}
};
template <int words> void store(const Remote& to, const unsigned (&what)[words]) {
    using namespace emulator;
    Store store{to.place, to.barrier, 4 * words, {}};
    if (uintptr_t(to.place) % store.size) misused = true;  // as a GPU refuses it
    std::memcpy(store.words, what, store.size);
    if (at_once) {
        deliver(store);
    } else {
        in_flight.push_back(store);
    }
}

template <int width, class T> T shuffle(T value, int from) { return emulator::from_lane<width>(value, from); }
template <int width, class T> T exchange(T value, int distance) {
    return emulator::from_lane<width>(value, emulator::current->thread % width ^ distance);
}

inline void now(float&) {}
inline float divide(float a, float b) { return a / b; }
inline float exp2_(float x) { return exp2f(x); }
inline float cos_of_turns(float x) { return std::cos(6.28318530717958648f * x); }

template <class To, class From> To same_bits(From from) {
    To to;
    static_assert(sizeof to == sizeof from);
    std::memcpy(&to, &from, sizeof to);
    return to;
}
#if BITS == 32
inline Number number(float x) { return x; }
inline float value(Number x) { return x; }
inline void unpack(unsigned word, float* to) { to[0] = same_bits<float>(word); }
#else
#if BFLOAT
inline Number number(float x) {
    unsigned bits = same_bits<unsigned>(x);
    return Number((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float value(Number x) { return same_bits<float>(unsigned(x) << 16); }
#else
inline Number number(float x) { return same_bits<Number>(_Float16(std::min(std::max(x, -65504.0f), 65504.0f))); }
inline float value(Number x) { return float(same_bits<_Float16>(x)); }
#endif
inline void unpack(unsigned word, float* to) { to[0] = value(Number(word)), to[1] = value(Number(word >> 16)); }
#endif

struct Tile {
    float of[16][16];
};
struct WeightTile : Tile {
    void load(const Number* from) {
        if (thread_number() % 32) return;
        for (int i = 0; i < 256; i++) of[i / 16][i % 16] = value(from[i]);
    }
};
struct VectorTile : Tile {
    void load(const Number* from, int pitch) {
        if (thread_number() % 32) return;
        for (int i = 0; i < 256; i++) of[i / 16][i % 16] = value(from[i / 16 * pitch + i % 16]);
    }
};
struct SumTile : Tile {
    void clear() { std::memset(of, 0, sizeof of); }
    void add(const WeightTile& a, const VectorTile& b) {
        if (thread_number() % 32) return;
        for (int row = 0; row < 16; row++)
            for (int column = 0; column < 16; column++)
                for (int k = 0; k < 16; k++) of[row][column] += a.of[row][k] * b.of[column][k];
    }
    void store(float* to, int pitch) const {
        if (thread_number() % 32) return;
        for (int i = 0; i < 256; i++) to[i / 16 * pitch + i % 16] = of[i / 16][i % 16];
    }
};
