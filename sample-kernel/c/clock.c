/* The interval timer (8254): channel 2 measures the time stamp counter once, channel 0 interrupts. */

#include "kernel.h"

enum { CHANNEL_0 = 0x40, CHANNEL_2 = 0x42, COMMAND = 0x43, CONTROL = 0x61 };
enum { GATE = 1 << 0, SPEAKER = 1 << 1, OUTPUT = 1 << 5 };
enum { COUNT_DOWN_0 = 0x30, COUNT_DOWN_2 = 0xb0 };

#define TIMER_HZ UINT64_C(1193182)
/* 10 ms. */
#define MEASURED UINT64_C(11932)

static uint64_t measure_once(void)
{
    out8(CONTROL, (uint8_t)((in8(CONTROL) & ~SPEAKER) | GATE));
    out8(COMMAND, COUNT_DOWN_2);
    out8(CHANNEL_2, MEASURED & 0xff);
    out8(CHANNEL_2, MEASURED >> 8);
    uint64_t begin = clock_now();
    while (!(in8(CONTROL) & OUTPUT))
        ;
    return clock_now() - begin;
}

/* Ticks of the time stamp counter per second: of several measurements the shortest, because a host may take the vCPU away. */
uint64_t clock_measure(void)
{
    uint64_t shortest = UINT64_MAX;
    for (int run = 0; run < 5; run++) {
        uint64_t ticks = measure_once();
        if (ticks < shortest)
            shortest = ticks;
    }
    return shortest * TIMER_HZ / MEASURED;
}

/* Interrupts once, in so many ticks of the time stamp counter, at most 54 ms. */
void clock_start(uint64_t ticks, uint64_t clock_hz)
{
    uint64_t longest = clock_hz / 20;
    uint64_t count = (ticks < longest ? ticks : longest) * TIMER_HZ / clock_hz + 1;
    out8(COMMAND, COUNT_DOWN_0);
    out8(CHANNEL_0, count & 0xff);
    out8(CHANNEL_0, (uint8_t)(count >> 8));
}
