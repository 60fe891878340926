#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "peer-tp.h"

int peer_is_on(void) { return lttng_ust_tracepoint_enabled(peer, event) ? 1 : 0; }

/* The loop is in C, so that a call from Rust is no part of what is measured. */
void peer_events(uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        lttng_ust_tracepoint(peer, event, i, 9);
}
