/* Threads that take turns at each tick. */

#include "kernel.h"

#include <uniprof.h>

enum { THREADS = 2, STACK_BYTES = 16384 };

extern unsigned char boot_stack[], boot_stack_high[];
static struct thread idle = {0, "idle", boot_stack, boot_stack_high, 0};
static struct thread threads[THREADS];
static uint32_t started;
static unsigned char stacks[THREADS][STACK_BYTES] __attribute__((aligned(16)));

struct thread *current = &idle;
volatile uint32_t preemption_off;

void thread_start(uint32_t id, const char *name, void (*entry)(void))
{
    struct thread *thread = &threads[started];
    *thread = (struct thread){id, name, stacks[started], stacks[started] + STACK_BYTES, 0};
    /* As if the entry function had been called by nobody, and interrupted at once. The stack is all zero: a return address of 0. */
    uint64_t *top = (uint64_t *)thread->high - 1;
    thread->frame = (struct frame *)top - 1;
    *thread->frame = (struct frame){
        .rip = (uint64_t)entry, .cs = 8, .rflags = 0x202, .rsp = (uint64_t)top, .ss = 0x10};
    uniprof_thread_start(id, name, (size_t)thread->low, (size_t)thread->high, (size_t)entry);
    uniprof_saved(id, (uint64_t)entry, (uint64_t)top, 0);
    started++;
}

/* The next thread's frame, or the interrupted one while it may not be switched out. Interrupts are off. */
struct frame *threads_next(struct frame *interrupted)
{
    if (preemption_off || started == 0)
        return interrupted;
    struct thread *from = current;
    struct thread *to = &threads[from->id % started];
    if (to == from)
        return interrupted;
    from->frame = interrupted;
    uniprof_switch(from->id, to->id, from->id ? UNIPROF_PREEMPTED : UNIPROF_IDLE);
    current = to;
    uniprof_saved(from->id, interrupted->rip, interrupted->rsp, interrupted->rbp);
    return to->frame;
}
