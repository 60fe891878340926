/* Events, spans, counters, gauges and histograms of uniprof, for C11 with GNU extensions (gcc, clang). Included by uniprof.h.
 *
 *     UNIPROF_EVENT("net.drop", I(reason), U(bytes, frame->length), S(peer, name));
 *
 *     int get(uint64_t key)
 *     {
 *         UNIPROF_SPAN("kv.get", U(key));          // ends with the scope
 *         ...
 *     }
 *
 * Names are literals. An argument is X(value), named like the value is written, or X(name, value). X is
 *
 *     U unsigned   I signed   F double   B true or false   C character (UTF-32)   P pointer
 *     S text up to its NUL; 128 bytes are kept        Y(pointer, bytes) or Y(name, pointer, bytes)
 *
 * and is no macro: these letters stay free for other uses, as long as none of them is a macro of the kernel's own. At most 16 arguments.
 *
 * Nobody wants it: one load, one compare and one branch, and the arguments are not evaluated. `uniprof list` shows all sites and
 * `uniprof ctl` switches them on and off by name. Each leaves an entry in the section uniprof_sites; a linker script that lists every
 * section needs the line
 *
 *     uniprof_sites : ALIGN(8) { KEEP(*(uniprof_sites)) }
 *
 * in a writable segment, and the linker defines __start_uniprof_sites and __stop_uniprof_sites by itself. */

#ifndef UNIPROF_MACROS_H
#define UNIPROF_MACROS_H

/* Something happened. */
#define UNIPROF_EVENT(...)                                                                                     \
    do {                                                                                                       \
        UNIPROF__SITE(1, __VA_ARGS__);                                                                         \
        if (UNIPROF__ON)                                                                                       \
            uniprof_event(UNIPROF__ARGUMENTS(__VA_ARGS__));                                                    \
    } while (0)

/* The rest of this scope is a span. A declaration, not to be jumped over. */
#define UNIPROF_SPAN(...)                                                                                      \
    __attribute__((cleanup(uniprof__span_leaves), unused)) const struct uniprof_span UNIPROF__JOIN(            \
        uniprof_span_, __LINE__) = UNIPROF_SPAN_BEGIN(__VA_ARGS__)

/* A span that goes on until `uniprof_span_end`, on whichever thread: a `struct uniprof_span`. */
#define UNIPROF_SPAN_BEGIN(...)                                                                                \
    __extension__({                                                                                            \
        UNIPROF__SITE(2, __VA_ARGS__);                                                                         \
        struct uniprof_span uniprof__span = {0, 0};                                                            \
        if (UNIPROF__ON)                                                                                       \
            uniprof__span = uniprof_span_begin(UNIPROF__ARGUMENTS(__VA_ARGS__));                               \
        uniprof__span;                                                                                         \
    })

/* The new value of something that only grows: an unsigned integer. */
#define UNIPROF_COUNTER(name, number)                                                                          \
    do {                                                                                                       \
        UNIPROF__SITE(3, name, U(value, ~));                                                                   \
        if (UNIPROF__ON)                                                                                       \
            uniprof_counter(&uniprof__site.site, (uint64_t)(number));                                          \
    } while (0)

/* The new value of something that goes up and down: an integer. */
#define UNIPROF_GAUGE(name, number)                                                                            \
    do {                                                                                                       \
        UNIPROF__SITE(4, name, F(value, ~));                                                                   \
        if (UNIPROF__ON)                                                                                       \
            uniprof_gauge(&uniprof__site.site, (int64_t)(number));                                             \
    } while (0)

/* The same of a double. */
#define UNIPROF_GAUGE_DOUBLE(name, number)                                                                     \
    do {                                                                                                       \
        UNIPROF__SITE(4, name, F(value, ~));                                                                   \
        if (UNIPROF__ON)                                                                                       \
            uniprof_gauge_bits(&uniprof__site.site, UNIPROF__DOUBLE_BITS(number));                             \
    } while (0)

/* Counts a value, an unsigned integer, in a histogram; no record is written. */
#define UNIPROF_HISTOGRAM(name, number)                                                                        \
    do {                                                                                                       \
        UNIPROF__SITE(5, name, U(value, ~));                                                                   \
        if (UNIPROF__ON)                                                                                       \
            uniprof_histogram(uniprof__site.site.slot, (uint64_t)(number));                                    \
    } while (0)

/* Memory for the region, in .bss, under the symbol UNIPROF_REGION: at file scope. */
#define UNIPROF_STATIC_REGION(bytes) __attribute__((aligned(4096))) unsigned char UNIPROF_REGION[bytes]

/* The caller stays on the stack: a call that ends a function could become a jump, and its caller would be sampled. */
#define uniprof_poll()                                                                                         \
    do {                                                                                                       \
        (uniprof_poll)();                                                                                      \
        __asm__ volatile("");                                                                                  \
    } while (0)

#if defined(__x86_64__)
/* Physical address of the page tables. Reading it is a privilege: whoever runs without defines this as 0 before including this file. */
#ifndef UNIPROF_PAGE_TABLES
#define UNIPROF_PAGE_TABLES                                                                                    \
    __extension__({                                                                                            \
        uint64_t uniprof__cr3;                                                                                 \
        __asm__ volatile("movq %%cr3, %0" : "=r"(uniprof__cr3));                                               \
        uniprof__cr3;                                                                                          \
    })
#endif

/* Leaves a record of a panic in the function that this is written in; the caller then stops the machine. */
#define UNIPROF_PANIC(text)                                                                                    \
    do {                                                                                                       \
        struct uniprof_crash uniprof__crash = {.reason = UNIPROF_CRASH_PANIC, .message = (text)};              \
        __asm__ volatile("leaq 0(%%rip), %0" : "=r"(uniprof__crash.rip));                                      \
        __asm__ volatile("movq %%rbx, %0" : "=m"(uniprof__crash.registers[1]));                                \
        __asm__ volatile("movq %%rbp, %0" : "=m"(uniprof__crash.registers[6]));                                \
        __asm__ volatile("movq %%rsp, %0" : "=m"(uniprof__crash.registers[7]));                                \
        __asm__ volatile("movq %%r12, %0" : "=m"(uniprof__crash.registers[12]));                               \
        __asm__ volatile("movq %%r13, %0" : "=m"(uniprof__crash.registers[13]));                               \
        __asm__ volatile("movq %%r14, %0" : "=m"(uniprof__crash.registers[14]));                               \
        __asm__ volatile("movq %%r15, %0" : "=m"(uniprof__crash.registers[15]));                               \
        uniprof__crash.cr3 = UNIPROF_PAGE_TABLES;                                                              \
        (void)uniprof_crash(&uniprof__crash);                                                                  \
    } while (0)
#endif

/* ---- What the macros above are made of. ---- */

/* The scope of a span ends: nothing for one of a site that was off. */
static inline __attribute__((always_inline, unused)) void uniprof__span_leaves(const struct uniprof_span *span)
{
    if (span->begin)
        uniprof_span_end(span);
}

/* The layout is docs/wire-format.md, "Sites". */
#define UNIPROF__SITE(kind, ...)                                                                               \
    UNIPROF__SITE_(kind, UNIPROF__COUNT(__VA_ARGS__, ~), UNIPROF__FIRST(__VA_ARGS__, ~),                       \
                   UNIPROF__TEXT(__VA_ARGS__))
#define UNIPROF__SITE_(kind, count, name, text) UNIPROF__SITE__(kind, count, name, text)
#define UNIPROF__SITE__(kind, count, name, text)                                                               \
    _Static_assert(sizeof(text) < 65000, "the text of a site is too long");                                    \
    static struct {                                                                                            \
        struct uniprof_site site;                                                                              \
        char uniprof__text[(sizeof(text) + 7) / 8 * 8];                                                        \
    } uniprof__site __attribute__((section("uniprof_sites"), used, aligned(8))) = {                            \
        {UINT64_C(0x5e18) | (uint64_t)sizeof uniprof__site << 16 | (uint64_t)(kind) << 32 |                    \
             (uint64_t)(count) << 40 | (uint64_t)(sizeof(name) - 1) << 48,                                     \
         0, __LINE__, 0, 0},                                                                                   \
        text}

#define UNIPROF__ON                                                                                            \
    __builtin_expect(__atomic_load_n(&uniprof__site.site.enabled, __ATOMIC_RELAXED) != 0, 0)

/* Site, arguments and their number. One more than there are, because C has no empty arrays. */
#define UNIPROF__ARGUMENTS(...)                                                                                \
    &uniprof__site.site, (const struct uniprof_arg[]){UNIPROF__VALUES(__VA_ARGS__){0, 0}},                     \
        UNIPROF__COUNT(__VA_ARGS__, ~)

#define UNIPROF__JOIN(a, b) UNIPROF__JOIN_(a, b)
#define UNIPROF__JOIN_(a, b) a##b
#define UNIPROF__FIRST(first, ...) first
#define UNIPROF__NAME(...) UNIPROF__NAME_(__VA_ARGS__, ~)
#define UNIPROF__NAME_(first, ...) #first

/* How many follow the first one. */
#define UNIPROF__COUNT(...)                                                                                    \
    UNIPROF__COUNT_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, ~)
#define UNIPROF__COUNT_(name, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, end, count, ...) count

/* The text of a site: its name, its file, and for each argument the letter of its type and its name. */
#define UNIPROF__TEXT(...)                                                                                     \
    UNIPROF__JOIN(UNIPROF__MAP_, UNIPROF__COUNT(__VA_ARGS__, ~))                                               \
    (UNIPROF__TEXT_OF, UNIPROF__TEXT_OF_NAME, __VA_ARGS__)
#define UNIPROF__TEXT_OF_NAME(name) name __FILE__ "\0"
#define UNIPROF__TEXT_OF(arg) UNIPROF__TEXT_OF_##arg
#define UNIPROF__TEXT_OF_U(...) "u" UNIPROF__NAME(__VA_ARGS__) "\0"
#define UNIPROF__TEXT_OF_I(...) "i" UNIPROF__NAME(__VA_ARGS__) "\0"
#define UNIPROF__TEXT_OF_F(...) "f" UNIPROF__NAME(__VA_ARGS__) "\0"
#define UNIPROF__TEXT_OF_B(...) "b" UNIPROF__NAME(__VA_ARGS__) "\0"
#define UNIPROF__TEXT_OF_C(...) "c" UNIPROF__NAME(__VA_ARGS__) "\0"
#define UNIPROF__TEXT_OF_P(...) "p" UNIPROF__NAME(__VA_ARGS__) "\0"
#define UNIPROF__TEXT_OF_S(...) "s" UNIPROF__NAME(__VA_ARGS__) "\0"
#define UNIPROF__TEXT_OF_Y(...) "y" UNIPROF__NAME(__VA_ARGS__) "\0"

/* The values, each with a comma. */
#define UNIPROF__VALUES(...)                                                                                   \
    UNIPROF__JOIN(UNIPROF__MAP_, UNIPROF__COUNT(__VA_ARGS__, ~))                                               \
    (UNIPROF__VALUE_OF, UNIPROF__NOTHING, __VA_ARGS__)
#define UNIPROF__NOTHING(name)
#define UNIPROF__VALUE_OF(arg) UNIPROF__VALUE_OF_##arg,
#define UNIPROF__VALUE_OF_U(...) {(uint64_t)(UNIPROF__VALUE(__VA_ARGS__)), UNIPROF_SCALAR}
#define UNIPROF__VALUE_OF_I(...) {(uint64_t)(int64_t)(UNIPROF__VALUE(__VA_ARGS__)), UNIPROF_SCALAR}
#define UNIPROF__VALUE_OF_F(...) {UNIPROF__DOUBLE_BITS(UNIPROF__VALUE(__VA_ARGS__)), UNIPROF_SCALAR}
#define UNIPROF__VALUE_OF_B(...) {(UNIPROF__VALUE(__VA_ARGS__)) ? 1 : 0, UNIPROF_SCALAR}
#define UNIPROF__VALUE_OF_C(...) {(uint32_t)(UNIPROF__VALUE(__VA_ARGS__)), UNIPROF_SCALAR}
#define UNIPROF__VALUE_OF_P(...) {(uint64_t)(uintptr_t)(UNIPROF__VALUE(__VA_ARGS__)), UNIPROF_SCALAR}
#define UNIPROF__VALUE_OF_S(...)                                                                               \
    {(uint64_t)(uintptr_t)(const char *)(UNIPROF__VALUE(__VA_ARGS__)), UNIPROF_TEXT}
#define UNIPROF__VALUE_OF_Y(...) UNIPROF__BYTES(__VA_ARGS__)

/* The value of (value) or of (name, value). */
#define UNIPROF__VALUE(...) UNIPROF__THIRD(__VA_ARGS__, UNIPROF__SECOND_, UNIPROF__FIRST_, ~)(__VA_ARGS__)
#define UNIPROF__THIRD(a, b, c, ...) c
#define UNIPROF__FIRST_(value) value
#define UNIPROF__SECOND_(name, value) value

/* Of (pointer, bytes) or of (name, pointer, bytes). */
#define UNIPROF__BYTES(...)                                                                                    \
    UNIPROF__FOURTH(__VA_ARGS__, UNIPROF__BYTES_3, UNIPROF__BYTES_2, ~, ~)(__VA_ARGS__)
#define UNIPROF__FOURTH(a, b, c, d, ...) d
#define UNIPROF__BYTES_2(pointer, bytes) {(uint64_t)(uintptr_t)(const void *)(pointer), (uint64_t)(bytes)}
#define UNIPROF__BYTES_3(name, pointer, bytes) UNIPROF__BYTES_2(pointer, bytes)

#define UNIPROF__DOUBLE_BITS(value)                                                                            \
    ((union {                                                                                                  \
         double number;                                                                                        \
         uint64_t bits;                                                                                        \
     }){.number = (value)})                                                                                    \
        .bits

/* m(of each argument), after n(of the name). */
#define UNIPROF__MAP_0(m, n, name) n(name)
#define UNIPROF__MAP_1(m, n, name, a1) n(name) m(a1)
#define UNIPROF__MAP_2(m, n, name, a1, a2) n(name) m(a1) m(a2)
#define UNIPROF__MAP_3(m, n, name, a1, a2, a3) n(name) m(a1) m(a2) m(a3)
#define UNIPROF__MAP_4(m, n, name, a1, a2, a3, a4) n(name) m(a1) m(a2) m(a3) m(a4)
#define UNIPROF__MAP_5(m, n, name, a1, a2, a3, a4, a5) n(name) m(a1) m(a2) m(a3) m(a4) m(a5)
#define UNIPROF__MAP_6(m, n, name, a1, a2, a3, a4, a5, a6) n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6)
#define UNIPROF__MAP_7(m, n, name, a1, a2, a3, a4, a5, a6, a7) n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6) m(a7)
#define UNIPROF__MAP_8(m, n, name, a1, a2, a3, a4, a5, a6, a7, a8)                                             \
    n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6) m(a7) m(a8)
#define UNIPROF__MAP_9(m, n, name, a1, a2, a3, a4, a5, a6, a7, a8, a9)                                         \
    n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6) m(a7) m(a8) m(a9)
#define UNIPROF__MAP_10(m, n, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10)                                   \
    n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6) m(a7) m(a8) m(a9) m(a10)
#define UNIPROF__MAP_11(m, n, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11)                              \
    n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6) m(a7) m(a8) m(a9) m(a10) m(a11)
#define UNIPROF__MAP_12(m, n, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12)                         \
    n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6) m(a7) m(a8) m(a9) m(a10) m(a11) m(a12)
#define UNIPROF__MAP_13(m, n, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13)                    \
    n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6) m(a7) m(a8) m(a9) m(a10) m(a11) m(a12) m(a13)
#define UNIPROF__MAP_14(m, n, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14)               \
    n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6) m(a7) m(a8) m(a9) m(a10) m(a11) m(a12) m(a13) m(a14)
#define UNIPROF__MAP_15(m, n, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15)          \
    n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6) m(a7) m(a8) m(a9) m(a10) m(a11) m(a12) m(a13) m(a14) m(a15)
#define UNIPROF__MAP_16(m, n, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16)     \
    n(name) m(a1) m(a2) m(a3) m(a4) m(a5) m(a6) m(a7) m(a8) m(a9) m(a10) m(a11) m(a12) m(a13) m(a14) m(a15) m(a16)

#endif
