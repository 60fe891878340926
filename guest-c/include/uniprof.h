/* The probes of uniprof for kernels in C: see docs/porting.md.
 *
 * Everything may be called from threads and from interrupt handlers; everything but `uniprof_init`, the hooks of threads and of the
 * heap from NMIs, too. Nothing allocates, takes a lock, waits or uses SSE, x87 or the red zone. Before `uniprof_init`, and where that
 * failed, every call does nothing.
 *
 * This file is made from guest-c/src by cbindgen: `UNIPROF_BLESS=1 cargo test -p uniprof-tests c_header`. */

#ifndef UNIPROF_H
#define UNIPROF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes of `uniprof_config.patterns`, with the NUL.
#define UNIPROF_PATTERN_BYTES 257

// Why a kernel dies: its own panic.
#define UNIPROF_CRASH_PANIC 1

// An exception that nothing handles.
#define UNIPROF_CRASH_EXCEPTION 2

// No memory left.
#define UNIPROF_CRASH_OUT_OF_MEMORY 3

// Bits of classes, for `uniprof_config.classes` and `uniprof_recording`: CPU samples.
#define UNIPROF_CLASS_SAMPLES (1 << 0)

// Events.
#define UNIPROF_CLASS_EVENTS (1 << 1)

// Spans.
#define UNIPROF_CLASS_SPANS (1 << 2)

// Thread switches.
#define UNIPROF_CLASS_SWITCHES (1 << 3)

// Counters, gauges and histograms.
#define UNIPROF_CLASS_COUNTERS (1 << 4)

// Log lines.
#define UNIPROF_CLASS_LOGS (1 << 5)

// Thread starts and exits.
#define UNIPROF_CLASS_THREADS (1 << 6)

// Where threads wait, and who wakes them.
#define UNIPROF_CLASS_OFF_CPU (1 << 7)

// Waits for locks.
#define UNIPROF_CLASS_LOCKS (1 << 8)

// Interrupts.
#define UNIPROF_CLASS_IRQ (1 << 9)

// Sampled blocks of the heap.
#define UNIPROF_CLASS_HEAP (1 << 10)

// Packets, and states of connections.
#define UNIPROF_CLASS_NET (1 << 12)

// Most arguments of an event or a span.
#define UNIPROF_MOST_ARGS 16

// `uniprof_arg.bytes` of a scalar.
#define UNIPROF_SCALAR 18446744073709551615ull

// `uniprof_arg.bytes` of a NUL-terminated text.
#define UNIPROF_TEXT 18446744073709551614ull

// How others wait for a lock: they turn in a loop, which costs CPU time.
#define UNIPROF_SPINS 0

// They leave the CPU.
#define UNIPROF_BLOCKS 1

// Which way a packet goes: into the kernel.
#define UNIPROF_IN 0

// Out of it.
#define UNIPROF_OUT 1

// What becomes of a packet: it is taken, or sent.
#define UNIPROF_ACCEPTED 0

// It is dropped: there is no buffer for it.
#define UNIPROF_NO_BUFFER 1

// Its checksum is wrong.
#define UNIPROF_CHECKSUM 2

// It is malformed.
#define UNIPROF_MALFORMED 3

// Nobody listens there.
#define UNIPROF_NO_LISTENER 4

// The queue that it should go to is full.
#define UNIPROF_QUEUE_FULL 5

// It is another machine's.
#define UNIPROF_NOT_FOR_US 6

// Something else.
#define UNIPROF_OTHER 7

// States of a connection: those of TCP (RFC 9293).
#define UNIPROF_CLOSED 0

// A socket that waits for connections.
#define UNIPROF_LISTEN 1

// A SYN was sent.
#define UNIPROF_SYN_SENT 2

// A SYN came, and was answered.
#define UNIPROF_SYN_RECEIVED 3

// Established.
#define UNIPROF_ESTABLISHED 4

// This side has closed.
#define UNIPROF_FIN_WAIT_1 5

// This side has closed, and the other one knows.
#define UNIPROF_FIN_WAIT_2 6

// The other side has closed.
#define UNIPROF_CLOSE_WAIT 7

// Both have closed, and the other one does not know yet.
#define UNIPROF_CLOSING 8

// The other side had closed, and this one has.
#define UNIPROF_LAST_ACK 9

// It may still be spoken of.
#define UNIPROF_TIME_WAIT 10

// Of protocols without states.
#define UNIPROF_OPEN 11

// Why a thread leaves the CPU: its time slice ended.
#define UNIPROF_PREEMPTED 0

// It yielded.
#define UNIPROF_YIELDED 1

// It waits for a lock, a thread, a message.
#define UNIPROF_BLOCKED 2

// It sleeps until a time.
#define UNIPROF_SLEEPING 3

// It ended.
#define UNIPROF_EXITED 4

// The CPU had been idle.
#define UNIPROF_IDLE 5

// What a thread waits for: a lock that another thread holds.
#define UNIPROF_WAIT_LOCK 1

// The end of another thread.
#define UNIPROF_WAIT_JOIN 2

// A time.
#define UNIPROF_WAIT_SLEEP 3

// A condition that somebody makes true: a queue with something in it, a message, a signal.
#define UNIPROF_WAIT_EVENT 4

// Something else.
#define UNIPROF_WAIT_OTHER 5

// What `uniprof_init` needs to know. Made by `uniprof_defaults`.
struct uniprof_config {
  // The guest's name for itself; the first 64 bytes count.
  const char *name;
  // Ticks per second of `uniprof_os_now`.
  uint64_t clock_hz;
  // How many vCPUs will run, at most 64.
  uint32_t vcpus;
  // Bytes of each of the two rings of a vCPU: a power of two. Halved until the region holds all rings.
  uint32_t ring_bytes;
  // Samples per second and vCPU while no collector asks for more; 0 for none.
  uint32_t sample_hz;
  // Bytes of stack that a sample takes along while no collector asks for more: for code without frame pointers. 0: none.
  uint32_t snapshot_bytes;
  // Classes that are on while no collector asks for more: UNIPROF_CLASS_SAMPLES and so on.
  uint64_t classes;
  // Mean of the allocated bytes from one sample of the heap to the next; 0: the heap is not watched.
  uint64_t heap_interval;
  // Connections that the region has room for, of kernels that tell of their network; 0: none, and no packets are counted.
  uint32_t connections;
  // Wall clock in nanoseconds since the Unix epoch; 0 where the kernel has none.
  uint64_t wall_ns;
  // The region: mapped, readable and writable for ever, at a multiple of 4096; nothing else writes it.
  void *region;
  // Its bytes.
  size_t region_bytes;
  // Its guest-physical address, by which hosts know that they have found the original and no copy.
  uint64_t region_physical;
  // The kernel's own image: address of the first byte and after the last, and where it runs less where it was linked.
  size_t image_start;
  // See image_start.
  size_t image_end;
  // See image_start.
  uint64_t image_bias;
  // The descriptor of the note NT_GNU_BUILD_ID, at most 32 bytes; null where the linker wrote none.
  const uint8_t *build_id;
  // Its bytes.
  size_t build_id_bytes;
  // Patterns over the names of sites that are on or, with a `-`, off while no collector asks for more: `http.*,-http.raw`.
  char patterns[UNIPROF_PATTERN_BYTES];
};

// What a kernel knows when it dies. What it does not know stays 0.
struct uniprof_crash {
  // UNIPROF_CRASH_PANIC and so on.
  uint32_t reason;
  // Exception vector, where the reason is one.
  uint32_t vector;
  // Instruction pointer.
  uint64_t rip;
  // Flags.
  uint64_t rflags;
  // Faulting address of a page fault.
  uint64_t cr2;
  // Physical address of the page tables in use.
  uint64_t cr3;
  // Error code of the exception.
  uint64_t error_code;
  // rax rbx rcx rdx rsi rdi rbp rsp r8 ... r15.
  uint64_t registers[16];
  // What the kernel says; the first 256 bytes count.
  const char *message;
};

// The beginning of an entry in the section `uniprof_sites`: the macros make them. Its text follows.
struct uniprof_site {
  // Magic number, bytes, kind, number of arguments, bytes of the name.
  uint64_t first;
  // Whether it is on. The probes write it.
  uint32_t enabled;
  // Line in the source file.
  uint32_t line;
  // 1 + the number of its histogram. The probes write it.
  uint32_t slot;
  // 0.
  uint32_t reserved;
};

// An argument of an event or a span.
struct uniprof_arg {
  // The scalar, or the address of text or bytes.
  uint64_t value;
  // UNIPROF_SCALAR, UNIPROF_TEXT, or how many bytes.
  uint64_t bytes;
};

// A span that goes on, on whichever thread; all 0 for one of a site that is off. May be copied; `uniprof_span_end` ends it.
struct uniprof_span {
  // Site and thread.
  uint64_t shape;
  // When it began.
  uint64_t begin;
};

// A wait for a lock that goes on.
struct uniprof_lock_waiting {
  // 0 where nobody wants to know.
  uint64_t begin;
  // The lock.
  const void *lock;
  // UNIPROF_SPINS or UNIPROF_BLOCKS.
  uint32_t kind;
  // Who held it then; 0: unknown.
  uint32_t owner;
};

// A connection under way. May be moved, and is not to be copied.
struct uniprof_connection {
  // Where it is told of; 0: nowhere.
  uint64_t place;
  // Its number, which no other one has; 0 where nothing is told.
  uint64_t id;
};

// One end of a connection.
struct uniprof_endpoint {
  // In network order: 4 bytes of IPv4, or 16 of IPv6.
  uint8_t address[16];
  // In the processor's own order.
  uint16_t port;
  // 4 or 6.
  uint8_t version;
};

// Address range of a stack: from its lowest byte to the one after its last; both 0 where it is unknown.
struct uniprof_stack {
  // Lowest address.
  size_t low;
  // Address after the last byte.
  size_t high;
};

// What a thread waits for. What a kernel does not know stays 0.
struct uniprof_waiting {
  // UNIPROF_WAIT_LOCK and so on.
  uint32_t kind;
  // The thread that is waited on: a lock's owner, the thread to be joined.
  uint32_t owner;
  // The lock, the queue or the like.
  const void *object;
  // A 32-bit word. Of a lock: its owner's number, 0 while it is free. Otherwise 0 for as long as there is a reason to wait.
  const uint32_t *word;
  // The clock's time at which the wait ends by itself.
  uint64_t until;
};

// Registers at an interrupt: all that unwinding needs.
struct uniprof_registers {
  // Instruction.
  uint64_t rip;
  // Stack pointer.
  uint64_t rsp;
  // Frame pointer, or anything at all.
  uint64_t rbp;
  // Callee-saved, as are the following.
  uint64_t rbx;
  // Callee-saved.
  uint64_t r12;
  // Callee-saved.
  uint64_t r13;
  // Callee-saved.
  uint64_t r14;
  // Callee-saved.
  uint64_t r15;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Takes what `uniprof` asks for from the kernel's command line: words like `uniprof.hz=99`, wherever they stand. Words that it does
// not know, and values that make no sense, are passed over. Where the region lies is the kernel's to decide: `uniprof.placement=` is
// one of the words that are passed over.
// The caller promises: `line` is null or a NUL-terminated text.
void uniprof_read_command_line(struct uniprof_config *config, const char *line);

// One vCPU, rings of 1 MiB or what fits, 10 Hz, the light classes, stacks by frame pointers, a sample of the heap every 512 KiB.
// `name` and `clock_hz` are still to be filled in.
struct uniprof_config uniprof_defaults(void *region, size_t bytes, uint64_t physical);

// Initialises the region and switches the probes on. Null if they are; else a sentence that says why not, for the kernel's log: it
// goes on without. Call it once, on one vCPU, before anything else here has an effect.
// The caller promises: Nothing but the probes writes the region, and what `config` points to is what it says.
const char *uniprof_init(const struct uniprof_config *config);

// Leaves a record of the calling vCPU's end, unless an earlier one is there: the first is the cause. Whether it did. See also
// `UNIPROF_PANIC`.
// The caller promises: `crash` and its message are what they say.
bool uniprof_crash(const struct uniprof_crash *crash);

// See `UNIPROF_EVENT`.
// The caller promises: From the macro.
void uniprof_event(const struct uniprof_site *site, const struct uniprof_arg *args, uint32_t count);

// See `UNIPROF_SPAN`.
// The caller promises: From the macro.
struct uniprof_span uniprof_span_begin(const struct uniprof_site *site, const struct uniprof_arg *args, uint32_t count);

// Ends a span, on the thread that began it or on another. `UNIPROF_SPAN` does it by itself.
// The caller promises: `span` is null or what `UNIPROF_SPAN_BEGIN` gave.
void uniprof_span_end(const struct uniprof_span *span);

// See `UNIPROF_COUNTER`.
void uniprof_counter(const struct uniprof_site *site, uint64_t value);

// See `UNIPROF_GAUGE`.
void uniprof_gauge(const struct uniprof_site *site, int64_t value);

// See `UNIPROF_GAUGE_DOUBLE`: the bits of a `double`, because the library has no floating-point registers.
void uniprof_gauge_bits(const struct uniprof_site *site, uint64_t bits);

// See `UNIPROF_HISTOGRAM`.
void uniprof_histogram(uint32_t slot, uint64_t value);

// Whether somebody wants records of one of these classes now: for what a kernel would otherwise do for nobody.
bool uniprof_recording(uint64_t classes);

// Records one line, without its newline, as far as it is UTF-8; the first 1,024 bytes count.
// The caller promises: `line` is null or a NUL-terminated text.
void uniprof_log(const char *line);

// Tells that a block has been allocated, after it was. Not from NMIs.
void uniprof_allocated(const void *block, size_t bytes);

// Tells that a block is given back, before it is, with the bytes that it was allocated with. Not from NMIs.
void uniprof_freed(const void *block, size_t bytes);

// The handler of an interrupt begins: the time, to be given to `uniprof_interrupt_exit`.
uint64_t uniprof_interrupt_enter(void);

// The handler of an interrupt is through that began at `begin`, on the interrupted vCPU, before it switches threads. `vector` is its
// number, as the processor counts.
void uniprof_interrupt_exit(uint32_t vector, uint64_t begin);

// Tells that a lock, held by `owner` (0: unknown), is not free, and that the running thread begins to wait. `kind` is UNIPROF_SPINS or
// UNIPROF_BLOCKS. Not to be called for a lock that is free.
struct uniprof_lock_waiting uniprof_lock_wait(uint32_t kind, const void *lock, uint32_t owner);

// Tells that the lock has been taken.
// The caller promises: `waiting` is what `uniprof_lock_wait` gave.
void uniprof_lock_acquired(const struct uniprof_lock_waiting *waiting);

// Tells that the running thread releases a lock that others wait for, while it still holds it, since `since` (of the clock; 0: unknown).
// Not to be called where nobody waits.
void uniprof_lock_released(uint32_t kind, const void *lock, uint64_t since);

// Tells of an interface: its number (from 0), name (the first 32 bytes count), MAC address (6 bytes; null where packets begin with an IP
// header) and MTU.
// The caller promises: Both pointers are what they say.
void uniprof_interface(uint8_t index, const char *name, const uint8_t *mac, uint32_t mtu);

// Tells of a packet and of what becomes of it, once, when that is known: UNIPROF_IN or UNIPROF_OUT, and UNIPROF_ACCEPTED and so on. Counts
// it, and records its first bytes if somebody wants that.
// The caller promises: `packet` is null or points to so many bytes.
void uniprof_packet(uint8_t interface, uint8_t direction, const uint8_t *packet, size_t bytes, uint8_t verdict);

// Tells of a connection, or of a socket that listens (then `remote` is all 0): its protocol as in IP headers (6 TCP, 17 UDP) and its
// state, UNIPROF_ESTABLISHED and so on.
// The caller promises: Both ends are what they say.
struct uniprof_connection uniprof_connection_open(uint8_t protocol, const struct uniprof_endpoint *local, const struct uniprof_endpoint *remote, uint8_t state);

// Its state is another one: UNIPROF_ESTABLISHED and so on.
// The caller promises: `connection` is null or what `uniprof_connection_open` gave.
void uniprof_connection_state(const struct uniprof_connection *connection, uint8_t state);

// The thread that serves it; 0: none.
// The caller promises: `connection` is null or what `uniprof_connection_open` gave.
void uniprof_connection_served_by(const struct uniprof_connection *connection, uint32_t thread);

// Bytes that wait to be read, and bytes that wait to be sent or acknowledged.
// The caller promises: `connection` is null or what `uniprof_connection_open` gave.
void uniprof_connection_queues(const struct uniprof_connection *connection, uint32_t to_read, uint32_t to_send);

// It has brought so many bytes more, and taken so many.
// The caller promises: `connection` is null or what `uniprof_connection_open` gave.
void uniprof_connection_moved(const struct uniprof_connection *connection, uint64_t received, uint64_t sent);

// It has ended. What it was kept in then tells of no connection.
// The caller promises: `connection` is null or what `uniprof_connection_open` gave.
void uniprof_connection_close(struct uniprof_connection *connection);

// The kernel provides this: the vCPU's clock, in ticks of `uniprof_config.clock_hz`, which never goes back on one vCPU. On x86_64
// it is `rdtsc`: hosts compare it with the time stamp counter. Called once or twice for each record.
extern uint64_t uniprof_os_now(void);

// The kernel provides this: the number of the calling vCPU, from 0, below `uniprof_config.vcpus` (those beyond run unobserved).
// Called for each record.
extern uint32_t uniprof_os_vcpu(void);

// The kernel provides this: from here to `uniprof_os_unpin` the calling thread is neither switched out nor moved to another vCPU.
// Interrupts may go on; a handler that would switch threads defers that. Pins nest. A kernel that never switches threads from
// interrupts does nothing here; one without a counter of such may switch interrupts off, if it keeps what they were.
extern void uniprof_os_pin(void);

// The kernel provides this: ends what `uniprof_os_pin` began. The last may make up for a deferred switch.
extern void uniprof_os_unpin(void);

// The kernel provides this: the stack of the running thread, all of which can be read. In an interrupt: of the interrupted one.
// Called for each sample, and for records that have a stack.
extern struct uniprof_stack uniprof_os_stack(void);

// The kernel provides this: the number of the running thread; 0 where there is none (idle, boot). Called for each record.
extern uint32_t uniprof_os_thread(void);

// Tells of a new thread: its number (not 0), name (the first 64 bytes count), stack and entry function. Not from interrupt handlers.
// The caller promises: `name` is null or a NUL-terminated text, and the stack can be read for as long as the thread lives.
void uniprof_thread_start(uint32_t thread, const char *name, size_t stack_low, size_t stack_high, size_t entry);

// Tells that the running thread has ended; its last `uniprof_switch` is still to come. Not from interrupt handlers.
void uniprof_thread_exit(uint32_t thread);

// Tells of a switch on the calling vCPU: `from` leaves for `reason` (UNIPROF_PREEMPTED and so on), `to` comes; 0 stands for the idle
// loop. From the scheduler, on the stack of `from`, with interrupts off.
void uniprof_switch(uint32_t from, uint32_t to, uint32_t reason);

// Tells where a thread that does not run goes on: of the one that was left, after the switch away from it; of a new one, before its
// first. From the scheduler, with interrupts off. Unwinding starts from these three.
void uniprof_saved(uint32_t thread, uint64_t rip, uint64_t rsp, uint64_t rbp);

// Tells that the running thread begins to wait, before it switches away. With interrupts off, or pinned.
// The caller promises: `waiting` points to what it says.
void uniprof_wait_begin(uint32_t thread, const struct uniprof_waiting *waiting);

// Tells that the running thread has what it waited for.
void uniprof_wait_end(uint32_t thread);

// Tells that the running thread has made another one ready to run, before that one can get the CPU.
void uniprof_woken(uint32_t thread);

// Tells that an interrupt handler has made a thread ready to run.
void uniprof_woken_by_interrupt(uint32_t thread);

// Takes a sample, its callers found by frame pointers. Call it from the timer interrupt when the time that `uniprof_next_tick` gave has
// passed, with the interrupted instruction, stack and frame pointer. A kernel whose timer has a fixed rate calls it at each
// interrupt, and `uniprof_next_tick` after it all the same.
// The caller promises: From the handler that interrupted the vCPU; ticks don't nest.
void uniprof_tick(uint64_t rip, uint64_t rsp, uint64_t rbp);

// `uniprof_tick` with every register that unwinding needs, so that a collector may ask for stack snapshots
// (`record --call-graph dwarf`): for code without frame pointers.
// The caller promises: As `uniprof_tick`.
void uniprof_tick_with_registers(const struct uniprof_registers *registers);

// Clock ticks until the next `uniprof_tick` is due, at most 25 ms; UINT64_MAX where a tick would do nothing.
uint64_t uniprof_next_tick(void);

// Shows a sign of life, looks at what hosts ask for, and on a vCPU without a timer interrupt (one where `uniprof_next_tick` was never
// called) takes samples: for event loops and idle loops, at least 40 times a second.
//
// A sample's stack begins at the caller, which has the time since the call before: a handler that shall be seen calls this at its end.
void uniprof_poll(void);

// `uniprof_poll` of code that did not call it: a sample's stack begins at these registers, which that code has, or goes on with. For the
// run-time systems of languages: a collector tells, before it begins, where the program stopped. What is not known is 0.
// The caller promises: `registers` is null or points to registers.
void uniprof_poll_with_registers(const struct uniprof_registers *registers);

// Tells that the calling vCPU has come up: its time counts from here, else from its first tick.
void uniprof_vcpu_online(void);

// Call it before the idle loop halts the CPU, with interrupts off: time up to `uniprof_idle_exit` is idle, and never sampled.
void uniprof_idle_enter(void);

// Call it when the idle loop goes on, with interrupts off, or from the interrupt that makes a thread ready to run.
void uniprof_idle_exit(void);

// States what entering and leaving the sampling interrupt costs, in clock ticks, so that the profiler's own cost has that, too.
void uniprof_set_interrupt_cost(uint64_t ticks);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* UNIPROF_H */

#include "uniprof_macros.h"
