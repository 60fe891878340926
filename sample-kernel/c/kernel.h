/* What the files of the kernel know of each other. */

#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an interrupt leaves on the stack, upward from rsp: see trap.S. */
struct frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct thread {
    uint32_t id; /* 0: the idle loop */
    const char *name;
    unsigned char *low, *high;
    struct frame *frame; /* where it goes on, while it does not run */
};

/* console.c */
void console_init(void);
void print(const char *text);
void print_number(uint64_t number);

/* clock.c: an 8254 that counts down once, and the time stamp counter. */
uint64_t clock_measure(void);
void clock_start(uint64_t ticks, uint64_t clock_hz);

/* traps.c */
void traps_init(uint64_t clock_hz);

/* threads.c */
extern struct thread *current;
extern volatile uint32_t preemption_off;
void threads_init(void);
void thread_start(uint32_t id, const char *name, void (*entry)(void));
struct frame *threads_next(struct frame *interrupted);

/* probes.c */
void probes_init(const char *command_line, uint64_t clock_hz);
void probes_tick(const struct frame *frame, uint64_t clock_hz);
void probes_died(const struct frame *frame);

/* workload.c */
void workload_start(const char *command_line, uint64_t clock_hz);

/* main.c: the end of the machine. */
_Noreturn void stop(void);
_Noreturn void leave(uint8_t status);

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint64_t clock_now(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

#endif
