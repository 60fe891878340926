/* The port: all that the probes ask of this kernel, and what it tells them of itself. */

#include "kernel.h"

#include <uniprof.h>

UNIPROF_STATIC_REGION(8 << 20);

uint64_t uniprof_os_now(void) { return clock_now(); }
uint32_t uniprof_os_vcpu(void) { return 0; }
uint32_t uniprof_os_thread(void) { return current->id; }
void uniprof_os_pin(void) { preemption_off++; }
void uniprof_os_unpin(void) { preemption_off--; }
struct uniprof_stack uniprof_os_stack(void)
{
    return (struct uniprof_stack){(size_t)current->low, (size_t)current->high};
}

void probes_init(const char *command_line, uint64_t clock_hz)
{
    struct uniprof_config config = uniprof_defaults(UNIPROF_REGION, sizeof UNIPROF_REGION, (uint64_t)UNIPROF_REGION);
    config.name = "c-kernel";
    config.clock_hz = clock_hz;
    uniprof_read_command_line(&config, command_line);
    const char *off = uniprof_init(&config);
    print("c-kernel: probes ");
    print(off ? off : "on");
    print("\n");
}

/* The timer's interrupt. */
void probes_tick(const struct frame *f, uint64_t clock_hz)
{
    uint64_t begin = uniprof_interrupt_enter();
    uniprof_tick_with_registers(
        &(struct uniprof_registers){f->rip, f->rsp, f->rbp, f->rbx, f->r12, f->r13, f->r14, f->r15});
    clock_start(uniprof_next_tick(), clock_hz);
    uniprof_interrupt_exit((uint32_t)f->vector, begin);
}

/* An exception that nothing handles. */
void probes_died(const struct frame *f)
{
    struct uniprof_crash crash = {
        .reason = UNIPROF_CRASH_EXCEPTION,
        .vector = (uint32_t)f->vector,
        .rip = f->rip,
        .rflags = f->rflags,
        .error_code = f->error,
        .registers = {f->rax, f->rbx, f->rcx, f->rdx, f->rsi, f->rdi, f->rbp, f->rsp, f->r8, f->r9, f->r10,
                      f->r11, f->r12, f->r13, f->r14, f->r15},
        .message = "an exception that nothing handles",
    };
    __asm__ volatile("movq %%cr2, %0" : "=r"(crash.cr2));
    __asm__ volatile("movq %%cr3, %0" : "=r"(crash.cr3));
    uniprof_crash(&crash);
}
