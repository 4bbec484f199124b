// Hopper's asynchronous stores to a neighbour's shared memory, and the mbarriers on which they complete.
//
// An mbarrier's phase ends when so many threads have arrived as it was made for, and when as many bytes have been
// stored as they have said to expect. Bytes may come before they are expected.

#pragma once

namespace {

struct alignas(8) Mbarrier {
    unsigned long long state;
};

DEVICE unsigned shared_address(const void* p) { return unsigned(__cvta_generic_to_shared(p)); }

DEVICE void make(Mbarrier* b, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals) : "memory");
}

// Before the cluster's barrier, so that stores of other blocks find it made.
DEVICE void made() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

DEVICE void arrive(Mbarrier* b, int bytes = 0) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes)
                 : "memory");
}

// Until the phase of this parity has ended; what was stored is visible then, and what was written before an arrival.
// Its acquire is of the block, as in CUTLASS: the cluster's would discard the L1 cache each time (CCTL.IVALL).
DEVICE void wait(const Mbarrier* b, int parity) {
    unsigned ended;
    do {
        asm volatile(
            "{ .reg .pred ended;"
            "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;"
            "selp.u32 %0, 1, 0, ended; }"
            : "=r"(ended)
            : "r"(shared_address(b)), "r"(parity)
            : "memory");
    } while (!ended);
}

// A place in the shared memory of the cluster's block `rank`, and the mbarrier there that a store to it completes on.
struct Remote {
    unsigned place, barrier;

    DEVICE Remote(void* to, Mbarrier* on, int rank) {
        asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(place) : "r"(shared_address(to)), "r"(rank));
        asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(barrier) : "r"(shared_address(on)), "r"(rank));
    }
};

#define STORE "st.async.shared::cluster.mbarrier::complete_tx::bytes"
DEVICE void store(const Remote& to, const unsigned (&w)[1]) {
    asm volatile(STORE ".b32 [%0], %1, [%2];" ::"r"(to.place), "r"(w[0]), "r"(to.barrier) : "memory");
}
DEVICE void store(const Remote& to, const unsigned (&w)[2]) {
    asm volatile(STORE ".v2.b32 [%0], {%1, %2}, [%3];" ::"r"(to.place), "r"(w[0]), "r"(w[1]), "r"(to.barrier)
                 : "memory");
}
DEVICE void store(const Remote& to, const unsigned (&w)[4]) {
    asm volatile(STORE ".v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(to.place), "r"(w[0]), "r"(w[1]), "r"(w[2]),
                 "r"(w[3]), "r"(to.barrier)
                 : "memory");
}
#undef STORE

}  // namespace
