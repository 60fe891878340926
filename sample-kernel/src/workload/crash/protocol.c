/*
 * The part of the crash workloads' server that is C: a listener, and the way in which its requests reach Rust. It has frame pointers.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

enum protocol_state { PROTOCOL_CLOSED, PROTOCOL_LISTENING = 4, PROTOCOL_FAILED = -1 };

union protocol_value {
    u64 number;
    u8 bytes[8];
};

struct protocol_peer {
    u8 address[4];
    u16 port;
    u32 weight : 5;
    u32 secure : 1;
};

struct protocol_listener {
    const char *name;
    enum protocol_state state;
    struct protocol_peer peers[3];
    union protocol_value cookie;
    double load;
    u64 dispatched;
    int (*filter)(const struct protocol_peer *);
    struct protocol_listener *fallback;
};

static __attribute__((noinline)) int protocol_allow_all(const struct protocol_peer *peer)
{
    return peer->port != 0;
}

static struct protocol_listener protocol_fallback = {
    .name = "fallback",
    .state = PROTOCOL_CLOSED,
};

struct protocol_listener protocol_listener = {
    .name = "ledger-http",
    .state = PROTOCOL_LISTENING,
    .peers = {
        { { 10, 0, 2, 2 }, 8080, 7, 1 },
        { { 10, 0, 2, 3 }, 8081, 3, 0 },
        { { 127, 0, 0, 1 }, 9090, 1, 1 },
    },
    .cookie = { .number = 0x1122334455667788 },
    .load = 0.625,
    .filter = protocol_allow_all,
    .fallback = &protocol_fallback,
};

typedef u64 protocol_handler(const void *context);

__attribute__((noinline)) u64 protocol_dispatch(struct protocol_listener *listener, protocol_handler *handler,
                                                const void *context, u64 id)
{
    struct protocol_peer chosen = listener->peers[id % 3];
    volatile u64 tries = 1;
    u64 answer = 0;

    if (listener->filter(&chosen))
        answer = handler(context);
    listener->dispatched += tries;
    return answer ^ chosen.port;
}
