/* A server without a network: two threads serve requests of which the cost is known. `parse` does three units of work for each that
 * `store` does. The last word of the command line may be `crash=null` or `crash=panic`. */

#include "kernel.h"

#include <uniprof.h>

enum { UNITS_PARSED = 3, UNITS_STORED = 1, TURNS = 30000, CRASH_AT = 500 };

/* Under emulation a loop that lies across two pages takes longer: both lie in one. */
#define MEASURED __attribute__((noinline, section(".text.measured")))

struct user {
    uint64_t number;
    const char *name;
};

static enum { NO_CRASH, NULL_POINTER, PANIC } wanted;
static uint64_t ticks_per_second, table[256];
static volatile uint64_t served;

MEASURED uint64_t parse(uint64_t x)
{
    for (uint32_t turn = 0; turn < UNITS_PARSED * TURNS; turn++)
        x = (x ^ x << 13) + (x >> 7) + turn;
    return x;
}

MEASURED uint64_t store(uint64_t x)
{
    for (uint32_t turn = 0; turn < UNITS_STORED * TURNS; turn++)
        x = (x ^ x << 13) + (x >> 7) + turn;
    table[x % 256] = x;
    return x;
}

__attribute__((noinline)) uint64_t find_user(const struct user *user)
{
    return user->number + 1;
}

__attribute__((noinline)) _Noreturn void give_up(void)
{
    UNIPROF_PANIC("the store is inconsistent");
    print("c-kernel: the store is inconsistent\n");
    out8(0x505, 1);
    stop();
}

static void serve(uint64_t number)
{
    uint64_t begin = clock_now();
    {
        UNIPROF_SPAN("request", U(number), S(by, current->name));
        uint64_t stored = store(parse(number));
        if (number % 100 == 0)
            UNIPROF_EVENT("request.hundredth", U(number), I(left, -(int64_t)(number % 7)), B(even, number % 200 == 0),
                          C(first, 'c'), P(at, &table[stored % 256]), S(peer, "10.0.2.2"), Y(raw, &stored, 4));
    }
    UNIPROF_COUNTER("requests", served);
    UNIPROF_GAUGE("depth", (int64_t)(number % 5) - 2);
    UNIPROF_HISTOGRAM("request.ticks", clock_now() - begin);
    if (wanted == NULL_POINTER && number > CRASH_AT)
        table[0] = find_user(0);
    if (wanted == PANIC && number > CRASH_AT)
        give_up();
}

static void run(void)
{
    for (;;)
        serve(__atomic_add_fetch(&served, 1, __ATOMIC_RELAXED));
}

static void reader(void) { run(); }
static void writer(void) { run(); }

static bool has_word(const char *line, const char *word)
{
    for (; *line; line++) {
        const char *a = line, *b = word;
        while (*b && *a == *b)
            a++, b++;
        if (!*b)
            return true;
    }
    return false;
}

void workload_start(const char *command_line, uint64_t clock_hz)
{
    ticks_per_second = clock_hz;
    wanted = has_word(command_line, "crash=null") ? NULL_POINTER : has_word(command_line, "crash=panic") ? PANIC : NO_CRASH;
    thread_start(1, "reader", reader);
    thread_start(2, "writer", writer);
}
