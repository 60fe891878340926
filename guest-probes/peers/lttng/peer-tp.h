/* One tracepoint with two integers, as the events of the others have. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER peer

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "peer-tp.h"

#if !defined(PEER_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define PEER_TP_H

#include <lttng/tracepoint.h>
#include <stdint.h>

LTTNG_UST_TRACEPOINT_EVENT(
    peer, event,
    LTTNG_UST_TP_ARGS(uint64_t, key, uint64_t, size),
    LTTNG_UST_TP_FIELDS(
        lttng_ust_field_integer(uint64_t, key, key)
        lttng_ust_field_integer(uint64_t, size, size)
    )
)

#endif

#include <lttng/tracepoint-event.h>
