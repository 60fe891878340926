/* Interrupts and exceptions: the tables, and what each does. */

#include "kernel.h"

enum { PIC_1 = 0x20, PIC_2 = 0xa0, END_OF_INTERRUPT = 0x20 };
enum { FIRST_INTERRUPT = 32, TIMER = FIRST_INTERRUPT, VECTORS = 48 };
enum { PVPANIC = 0x505, PANICKED = 1 };

struct gate {
    uint16_t low, selector;
    uint8_t stack, flags;
    uint16_t middle;
    uint32_t high, reserved;
};

extern const unsigned char trap_stubs[];
extern uint64_t page_table[512];
static struct gate gates[VECTORS];
static uint64_t ticks_per_second;

void traps_init(uint64_t clock_hz)
{
    ticks_per_second = clock_hz;
    for (int vector = 0; vector < VECTORS; vector++) {
        uint64_t stub = (uint64_t)trap_stubs + 16 * (uint64_t)vector;
        gates[vector] = (struct gate){(uint16_t)stub, 8, 0, 0x8e, (uint16_t)(stub >> 16), (uint32_t)(stub >> 32), 0};
    }
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } pointer = {sizeof gates - 1, (uint64_t)gates};
    __asm__ volatile("lidt %0" : : "m"(pointer));

    /* The legacy interrupt controllers behind the exceptions, all lines but the timer's masked. */
    static const uint8_t set_up[][2] = {{PIC_1, 0x11},     {PIC_2, 0x11},     {PIC_1 + 1, FIRST_INTERRUPT},
                                        {PIC_2 + 1, 40},   {PIC_1 + 1, 4},    {PIC_2 + 1, 2},
                                        {PIC_1 + 1, 1},    {PIC_2 + 1, 1},    {PIC_1 + 1, 0xfe},
                                        {PIC_2 + 1, 0xff}};
    for (size_t i = 0; i < sizeof set_up / sizeof set_up[0]; i++)
        out8(set_up[i][0], set_up[i][1]);

    /* Null pointers fault from here on: what the loader left in page 0 has been read. */
    page_table[0] = 0;
    __asm__ volatile("invlpg (%0)" : : "r"(0L) : "memory");
    clock_start(0, clock_hz);
}

static _Noreturn void exception(const struct frame *frame)
{
    probes_died(frame);
    print("c-kernel: exception ");
    print_number(frame->vector);
    print("\n");
    out8(PVPANIC, PANICKED);
    stop();
}

/* From trap.S, interrupts off: returns where to go on. */
struct frame *trap(struct frame *frame)
{
    if (frame->vector < FIRST_INTERRUPT)
        exception(frame);
    if (frame->vector == TIMER) {
        probes_tick(frame, ticks_per_second);
        out8(PIC_1, END_OF_INTERRUPT);
    }
    return threads_next(frame);
}
