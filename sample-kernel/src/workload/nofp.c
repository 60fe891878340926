/*
 * The part of the `nofp` workload without frame pointers: nofp_enter calls nofp_second and so on to nofp_sixth, which calls three
 * leaf functions with 60, 30 and 10 per cent of the time.
 *
 * The leaf functions hold the markers below in all callee-saved registers, rbp among them: a walk of frame pointers ends before
 * it has begun, and every register of a caller is to be had from the stack alone. Each function of the chain has another shape
 * of frame.
 */

typedef unsigned long u64;

/* A call must stay one: neither inlined nor specialised. */
#if defined(__has_attribute) && __has_attribute(noipa)
#define KEPT __attribute__((noinline, noipa))
#else
#define KEPT __attribute__((noinline))
#endif

enum { STEPS = 4000, WORDS = 40 };

/* Steps that each need the one before. The test of this workload knows the markers. */
static inline __attribute__((always_inline)) u64 unit(u64 state, u64 constant)
{
    register u64 rbx asm("rbx") = 0xb0b0000000000001;
    register u64 rbp asm("rbp") = 0xb0b0000000000002;
    register u64 r12 asm("r12") = 0xb0b0000000000003;
    register u64 r13 asm("r13") = 0xb0b0000000000004;
    register u64 r14 asm("r14") = 0xb0b0000000000005;
    register u64 r15 asm("r15") = 0xb0b0000000000006;
    for (int step = 0; step < STEPS; step++) {
        state = (state ^ state >> 29) * constant;
        state ^= state >> 32;
        asm volatile("" : "+r"(rbx), "+r"(rbp), "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15), "+r"(state));
    }
    return state;
}

KEPT u64 nofp_sixty(u64 state)
{
    return unit(state, 0x9e3779b97f4a7c15);
}

KEPT u64 nofp_thirty(u64 state)
{
    return unit(state, 0xbf58476d1ce4e5b9);
}

KEPT u64 nofp_ten(u64 state)
{
    return unit(state, 0x94d049bb133111eb);
}

/* Two registers to save, no other stack. */
KEPT u64 nofp_sixth(u64 state)
{
    u64 first = state;
    for (int i = 0; i < 6; i++)
        state = nofp_sixty(state);
    for (int i = 0; i < 3; i++)
        state = nofp_thirty(state);
    return nofp_ten(state) ^ first;
}

/* Arguments on the stack, so that the stack pointer moves between calls. */
KEPT u64 nofp_fifth(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h)
{
    return nofp_sixth(a ^ b ^ c ^ d) + (e ^ f ^ g ^ h);
}

/* All callee-saved registers in use across calls. */
KEPT u64 nofp_fourth(u64 state)
{
    u64 a = state * 3, b = state * 5, c = state * 7, d = state * 11, e = state * 13, f = state * 17;
    u64 sum = nofp_fifth(state, a, b, c, d, e, f, a ^ f);
    return nofp_fifth(sum, f, e, d, c, b, a, a ^ b) ^ a ^ b ^ c ^ d ^ e ^ f;
}

/* An array on the stack. */
KEPT u64 nofp_third(u64 state)
{
    volatile u64 room[WORDS];
    for (int i = 0; i < WORDS; i++)
        room[i] = state + (u64)i;
    return nofp_fourth(room[state % WORDS]) ^ room[(state >> 8) % WORDS];
}

/* A variable that wants more alignment than the stack has: the compiler computes the frame's address. */
KEPT u64 nofp_second(u64 state)
{
    _Alignas(64) volatile u64 line[8] = { 0 };
    line[state % 8] = state;
    return nofp_third(state) ^ line[(state >> 3) % 8];
}

/* Called from Rust. */
KEPT u64 nofp_enter(u64 state)
{
    volatile u64 room[3] = { state, 1, 2 };
    u64 once = nofp_second(state);
    return once + nofp_second(once ^ room[0]) + room[1];
}
