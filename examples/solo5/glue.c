/* uniprof on Solo5 (x86_64): the platform functions, and the start. Solo5's guests have one vCPU, one stack and no interrupts: their event
 * loop calls uniprof_poll, and tells of its waits by uniprof_idle_enter and uniprof_idle_exit around solo5_yield. */

/* Not to be read where Solo5 runs without privileges (spt). */
#define UNIPROF_PAGE_TABLES 0

#include "glue.h"

#include <uniprof.h>

UNIPROF_STATIC_REGION(4 << 20);

static struct uniprof_stack stack;

uint64_t uniprof_os_now(void) { return __builtin_ia32_rdtsc(); }
uint32_t uniprof_os_vcpu(void) { return 0; }
uint32_t uniprof_os_thread(void) { return 1; }
void uniprof_os_pin(void) {}
void uniprof_os_unpin(void) {}
struct uniprof_stack uniprof_os_stack(void) { return stack; }

static uint64_t measure_clock(void)
{
    solo5_time_t begin = solo5_clock_monotonic(), end;
    uint64_t ticks = uniprof_os_now();
    do
        end = solo5_clock_monotonic();
    while (end - begin < 20000000);
    return (uniprof_os_now() - ticks) * 1000000 / ((end - begin) / 1000);
}

const char *uniprof_solo5_start(const struct solo5_start_info *info, const char *name, uint32_t stack_bytes)
{
    struct uniprof_config config = uniprof_defaults(UNIPROF_REGION, sizeof UNIPROF_REGION, (uintptr_t)UNIPROF_REGION);
    /* Solo5's stack begins at the end of memory, and what lies between is the application's to use. */
    stack.low = (size_t)info->heap_start;
    stack.high = (size_t)info->heap_start + info->heap_size;
    size_t here = (size_t)__builtin_frame_address(0);
    if (here >= stack.high)
        stack.low = stack.high, stack.high = (here + 4096) & ~(size_t)4095;
    config.name = name;
    config.snapshot_bytes = stack_bytes;
    config.clock_hz = measure_clock();
    config.wall_ns = solo5_clock_wall();
    uniprof_read_command_line(&config, info->cmdline);
    const char *off = uniprof_init(&config);
    if (!off) {
        uniprof_vcpu_online();
        uniprof_thread_start(1, "main", stack.low, stack.high, 0);
        uniprof_switch(0, 1, UNIPROF_IDLE);
    }
    return off;
}
