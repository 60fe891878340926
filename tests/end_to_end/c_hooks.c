/* Every function of the C library once, in a Linux program with a region in its memory, which it writes to the file that is its argument. */

#define UNIPROF_PAGE_TABLES 0

#include <stdio.h>
#include <string.h>

#include <uniprof.h>

UNIPROF_STATIC_REGION(4 << 20);

static uint32_t thread = 1, lock_owner;
static int pins;
static struct uniprof_stack stack;

uint64_t uniprof_os_now(void) { return __builtin_ia32_rdtsc(); }
uint32_t uniprof_os_vcpu(void) { return 0; }
uint32_t uniprof_os_thread(void) { return thread; }
void uniprof_os_pin(void) { pins++; }
void uniprof_os_unpin(void) { pins--; }
struct uniprof_stack uniprof_os_stack(void) { return stack; }

static int refused(const char *why, const char *part)
{
    if (why && strstr(why, part))
        return 0;
    printf("init says %s, not %s\n", why ? why : "nothing", part);
    return 1;
}

static int start(void)
{
    struct uniprof_config config = uniprof_defaults(UNIPROF_REGION, sizeof UNIPROF_REGION, 0x100000);
    config.name = "hooks";
    int wrong = refused(uniprof_init(NULL), "no configuration") + refused(uniprof_init(&config), "clock_hz");
    config.clock_hz = 2600000000;
    config.connections = 64;
    config.region_bytes = 4096;
    wrong += refused(uniprof_init(&config), "too small");
    config.region_bytes = sizeof UNIPROF_REGION;
    uniprof_read_command_line(&config, "word uniprof.hz=0 uniprof.classes=all uniprof.heap=1 uniprof.bogus=7 uniprof.ring=64K "
                                       "uniprof.wall=never uniprof.events=*,-hidden.*");
    uniprof_read_command_line(NULL, NULL);
    if (config.sample_hz != 0 || config.ring_bytes != 65536 || config.heap_interval != 1 || strcmp(config.patterns, "*,-hidden.*"))
        wrong += printf("the command line is not understood\n");
    const char *off = uniprof_init(&config);
    if (off)
        wrong += printf("%s\n", off);
    return wrong + refused(uniprof_init(&config), "twice");
}

__attribute__((noinline)) static void allocate(char *blocks)
{
    for (int i = 0; i < 100; i++)
        uniprof_allocated(blocks + i * 4096, 4096);
    for (int i = 0; i < 50; i++)
        uniprof_freed(blocks + i * 4096, 4096);
}

static void wait_for_lock(void)
{
    struct uniprof_lock_waiting waiting = uniprof_lock_wait(UNIPROF_BLOCKS, &lock_owner, 2);
    uniprof_wait_begin(1, &(struct uniprof_waiting){.kind = UNIPROF_WAIT_LOCK, .owner = 2, .object = &lock_owner, .word = &lock_owner});
    uniprof_switch(1, 2, UNIPROF_BLOCKED);
    uniprof_saved(1, (uint64_t)(uintptr_t)wait_for_lock, stack.high - 64, 0);
    thread = 2;
    uniprof_lock_released(UNIPROF_BLOCKS, &lock_owner, uniprof_os_now());
    uniprof_woken(1);
    uniprof_switch(2, 1, UNIPROF_YIELDED);
    thread = 1;
    uniprof_wait_end(1);
    uniprof_lock_acquired(&waiting);
}

static void network(void)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3}, packet[60] = {0xff, 0xff};
    uniprof_interface(0, "eth0", mac, 1500);
    uniprof_packet(0, UNIPROF_IN, packet, sizeof packet, UNIPROF_ACCEPTED);
    uniprof_packet(0, UNIPROF_IN, packet, sizeof packet, UNIPROF_CHECKSUM);
    uniprof_packet(0, UNIPROF_OUT, NULL, 0, 99);
    struct uniprof_endpoint local = {{10, 0, 2, 15}, 80, 4}, remote = {{10, 0, 2, 2}, 40112, 4};
    struct uniprof_connection kept = uniprof_connection_open(6, &local, &remote, UNIPROF_SYN_RECEIVED);
    struct uniprof_connection ended = uniprof_connection_open(17, &local, &remote, UNIPROF_OPEN);
    uniprof_connection_state(&kept, UNIPROF_ESTABLISHED);
    uniprof_connection_served_by(&kept, 1);
    uniprof_connection_queues(&kept, 100, 200);
    uniprof_connection_moved(&kept, 1000, 2000);
    uniprof_connection_close(&ended);
    uniprof_connection_close(&ended);
    uniprof_connection_close(NULL);
}

int main(int argc, char **argv)
{
    static char blocks[100 * 4096];
    size_t here = (size_t)__builtin_frame_address(0);
    stack = (struct uniprof_stack){here - 65536, here + 256};
    /* Nothing, before init. */
    UNIPROF_EVENT("hooks.early", U(argc));
    uniprof_poll();
    uniprof_poll_with_registers(NULL);
    uniprof_allocated(blocks, 4096);
    uniprof_tick(0, 0, 0);
    uniprof_tick_with_registers(NULL);
    uniprof_span_end(NULL);
    uniprof_log(NULL);
    int wrong = start();

    uniprof_vcpu_online();
    uniprof_set_interrupt_cost(100);
    uniprof_thread_start(1, "one", stack.low, stack.high, (size_t)(uintptr_t)main);
    uniprof_thread_start(2, "two", 0, 0, 0);
    uniprof_switch(0, 1, UNIPROF_IDLE);
    allocate(blocks);
    wait_for_lock();
    network();
    uniprof_woken_by_interrupt(2);
    uniprof_interrupt_exit(33, uniprof_interrupt_enter());
    uniprof_idle_enter();
    uniprof_idle_exit();
    uniprof_poll_with_registers(NULL);
    uniprof_poll_with_registers(&(struct uniprof_registers){.rip = (uintptr_t)main, .rsp = here});
    if (!uniprof_recording(UNIPROF_CLASS_HEAP) || uniprof_recording(0))
        wrong += printf("it does not know what is recorded\n");
    UNIPROF_EVENT("hooks.types", F(half, 0.5), F(third, 1.0f / 4), S(none, (const char *)NULL), Y(raw, "\1\2\3", 3), I(low, INT64_MIN),
                  U(high, UINT64_MAX));
    UNIPROF_EVENT("hidden.event");
    struct uniprof_span span = UNIPROF_SPAN_BEGIN("hooks.handed", U(n, 7));
    thread = 2;
    uniprof_span_end(&span);
    thread = 1;
    UNIPROF_GAUGE_DOUBLE("hooks.level", -1.5);
    for (int i = 1; i <= 1000; i++)
        UNIPROF_HISTOGRAM("hooks.sizes", i);
    uniprof_log("a line");
    uniprof_thread_exit(2);
    if (uniprof_next_tick() == 0 || uniprof_next_tick() == UINT64_MAX)
        wrong += printf("no tick is ever due\n");
    uniprof_tick((uint64_t)(uintptr_t)main, here, here);
    UNIPROF_PANIC("the end");
    if (pins)
        wrong += printf("%d pins are left\n", pins);

    FILE *file = fopen(argv[1], "wb");
    wrong += !file || fwrite(UNIPROF_REGION, sizeof UNIPROF_REGION, 1, file) != 1 || fclose(file) != 0;
    return wrong != 0;
}
