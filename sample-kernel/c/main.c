/* A kernel in C that the probes observe: it boots by PVH under QEMU, runs two threads, and has no Rust in it but the library. */

#include "kernel.h"

enum { START_INFO_MAGIC = 0x336ec578, EXIT_PORT = 0x501, EXIT_USAGE = 0x12, COMMAND_LINE_BYTES = 1024 };

struct start_info {
    uint32_t magic, version, flags, modules;
    uint64_t module_list, command_line;
};

static char command_line[COMMAND_LINE_BYTES];

_Noreturn void stop(void)
{
    for (;;)
        __asm__ volatile("cli\n\thlt");
}

/* QEMU's isa-debug-exit: its status is twice that plus one. */
_Noreturn void leave(uint8_t status)
{
    out8(EXIT_PORT, status);
    stop();
}

/* The compiler calls these two by itself. */
void *memset(void *to, int value, size_t bytes)
{
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(value) : "memory");
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    void *at = to;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(bytes) : : "memory");
    return to;
}

_Noreturn void kernel_main(const struct start_info *info)
{
    console_init();
    if (!info || info->magic != START_INFO_MAGIC) {
        print("c-kernel: started without PVH boot information\n");
        leave(EXIT_USAGE);
    }
    const char *given = (const char *)info->command_line;
    for (int i = 0; given && given[i] && i < COMMAND_LINE_BYTES - 1; i++)
        command_line[i] = given[i];
    uint64_t clock_hz = clock_measure();
    print("c-kernel: clock ");
    print_number(clock_hz / 1000000);
    print(" MHz\n");
    probes_init(command_line, clock_hz);
    workload_start(command_line, clock_hz);
    traps_init(clock_hz);
    for (;;)
        __asm__ volatile("sti\n\thlt");
}
