/* uniprof on Unikraft (x86_64, KVM platform): the platform functions, a tick, and the threads.
 *
 * Unikraft's own timer only interrupts while it idles. So the tick is the real-time clock's periodic interrupt, which nothing else uses: 1024
 * times a second, of which the probes take those that are due. */

#include <uk/config.h>
#include <uk/event.h>
#include <uk/init.h>
#include <uk/intctlr.h>
#include <uk/plat/common/bootinfo.h>
#include <uk/plat/config.h>
#include <uk/plat/time.h>
#include <uk/sched.h>
#include <uk/thread.h>

#include <uniprof.h>

#define RTC_IRQ 8
#define RTC_1024_HZ 6

UNIPROF_STATIC_REGION(CONFIG_LIBUNIPROF_REGION_MIB << 20);

static struct __regs *interrupted;
static uint64_t next_tick;

uint64_t uniprof_os_now(void)
{
	return __builtin_ia32_rdtsc();
}

uint32_t uniprof_os_vcpu(void)
{
	return 0;
}

/* Threads take turns where they want to: nothing to keep off. */
void uniprof_os_pin(void)
{
}

void uniprof_os_unpin(void)
{
}

static uint32_t number_of(const struct uk_thread *thread)
{
	return (uint32_t)((uintptr_t)thread >> 4);
}

uint32_t uniprof_os_thread(void)
{
	return number_of(uk_thread_current());
}

/* A thread's own stack, if it has the usual length. Of others (the one that booted, auxiliary ones) only where they are is known; all memory
 * is mapped one to one, so what lies above can be read. */
struct uniprof_stack uniprof_os_stack(void)
{
	size_t sp = interrupted ? interrupted->rsp : (size_t)__builtin_frame_address(0);
	const struct uk_thread *thread = uk_thread_current();
	size_t low = thread ? (size_t)thread->_mem.stack : 0;

	if (low && sp - low < __STACK_SIZE)
		return (struct uniprof_stack){ low, low + __STACK_SIZE };
	return (struct uniprof_stack){ sp & ~(size_t)0xf, (sp & STACK_MASK_TOP) + __STACK_SIZE };
}

static uint8_t rtc(uint8_t reg)
{
	uint8_t value;

	__asm__ volatile("outb %0, $0x70" : : "a"(reg));
	__asm__ volatile("inb $0x71, %0" : "=a"(value));
	return value;
}

static void rtc_set(uint8_t reg, uint8_t value)
{
	__asm__ volatile("outb %0, $0x70" : : "a"(reg));
	__asm__ volatile("outb %0, $0x71" : : "a"(value));
}

/* Any interrupt, with what it interrupted. */
static int on_interrupt(void *argument)
{
	struct uk_intctlr_event_irq_data *irq = argument;
	struct __regs *r = irq->regs;

	if (irq->irq != RTC_IRQ)
		return UK_EVENT_NOT_HANDLED;
	rtc(0x0c); /* the next one may come */
	if (uniprof_os_now() >= next_tick) {
		interrupted = r;
		uniprof_tick_with_registers(&(struct uniprof_registers){
			r->rip, r->rsp, r->rbp, r->rbx, r->r12, r->r13, r->r14, r->r15 });
		next_tick = uniprof_os_now() + uniprof_next_tick();
		interrupted = NULL;
	}
	return UK_EVENT_HANDLED;
}
UK_EVENT_HANDLER(UK_INTCTLR_EVENT_IRQ, on_interrupt);

static int no_handler(void *argument __unused)
{
	return 1;
}

static int thread_begins(struct uk_thread *child, struct uk_thread *parent __unused)
{
	size_t low = (size_t)child->_mem.stack;

	uniprof_thread_start(number_of(child), child->name ? child->name : "unnamed", low, low ? low + __STACK_SIZE : 0, 0);
	return 0;
}

static void thread_ends(struct uk_thread *child)
{
	uniprof_thread_exit(number_of(child));
}
UK_THREAD_INIT(thread_begins, thread_ends);

static uint64_t measure_clock(void)
{
	__nsec begin = ukplat_monotonic_clock(), end;
	uint64_t ticks = uniprof_os_now();

	do
		end = ukplat_monotonic_clock();
	while (end - begin < 20 * 1000 * 1000);
	return (uniprof_os_now() - ticks) * 1000000 / ((end - begin) / 1000);
}

static int start(struct uk_init_ctx *context __unused)
{
	struct uniprof_config config =
		uniprof_defaults(UNIPROF_REGION, sizeof(UNIPROF_REGION), (uintptr_t)UNIPROF_REGION);
	const struct uk_thread *idle;
	const char *off;

	config.name = CONFIG_UK_NAME;
	config.clock_hz = measure_clock();
	config.wall_ns = ukplat_wall_clock();
	/* Unikraft keeps no frame pointers: the host finds the callers in the stack. */
	config.snapshot_bytes = 4096;
	uniprof_read_command_line(&config, (const char *)ukplat_bootinfo_get()->cmdline);
	off = uniprof_init(&config);
	if (off) {
		uk_pr_err("uniprof %s\n", off);
		return 0;
	}
	if (uk_thread_current())
		uniprof_thread_start(number_of(uk_thread_current()), "main", 0, 0, 0);
	/* Of this one no event tells. */
	idle = uk_sched_current() ? uk_sched_idle_thread(uk_sched_current(), 0) : NULL;
	if (idle)
		uniprof_thread_start(number_of(idle), "idle", (size_t)idle->_mem.stack,
				     (size_t)idle->_mem.stack + __STACK_SIZE, 0);
	if (uk_intctlr_irq_register(RTC_IRQ, no_handler, NULL) < 0)
		return 0;
	rtc_set(0x8a, (rtc(0x8a) & 0xf0) | RTC_1024_HZ);
	rtc_set(0x8b, rtc(0x8b) | 0x40);
	rtc(0x0c);
	return 0;
}
uk_late_initcall(start, 0x0);
