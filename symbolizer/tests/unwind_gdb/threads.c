// Threads that stop in all kinds of frames: recursion, many arguments, alloca, a realigned stack, callbacks through the C
// library, signal handlers on the same and on another stack, a fault.
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int lanes __attribute__((vector_size(32)));
volatile int sink;
atomic_int parked;
enum { THREADS = 5 };

__attribute__((noinline)) static void all_parked(void) { sink++; }
__attribute__((noinline)) static void park(void) {
    parked++;
    for (;;) pause();
}
__attribute__((noinline)) static int deep(int n) {
    volatile char b[40];
    b[n % 40] = n;
    if (n == 0) park();
    int r = deep(n - 1) + b[n % 40];
    sink += r;
    return r;
}
__attribute__((noinline)) static int many(int n, int a, int b, int c, int d, int e, int f, int g) {
    int r = deep(n + a) * b + c * d + e + f * g;
    sink += r + a + b + c + d + e + f + g;
    return r;
}
__attribute__((noinline)) static int variable(int n) {
    char *p = alloca(n * 8 + 16);
    memset(p, n, n);
    sink += p[3];
    int r = many(n, 1, 2, 3, 4, 5, 6, 7) + p[1];
    sink += p[2];
    return r;
}
__attribute__((noinline)) static int realigned(int n) {
    lanes v[4] __attribute__((aligned(64)));
    memset(v, n, sizeof v);
    __asm__ volatile("" ::"r"(v) : "memory");
    int r = variable(n);
    __asm__ volatile("" ::"r"(v) : "memory");
    return r + v[1][2];
}
static int compare(const void *a, const void *b) {
    if (*(const int *)a == 25 && *(const int *)b == 24) realigned(6);
    return *(const int *)a - *(const int *)b;
}
__attribute__((noinline)) static void sorting(void) {
    int x[50];
    for (int i = 0; i < 50; i++) x[i] = 50 - i;
    qsort(x, 50, sizeof(int), compare);
}
static void handler(int s) {
    sink += s;
    sorting();
}
__attribute__((noinline)) static void raising(int s) {
    raise(s);
    sink++;
}
__attribute__((noinline)) static void faulting(void) {
    *(volatile int *)8 = 3;
    sink++;
}
__attribute__((noinline)) static void jumping_nowhere(void) {
    void (*volatile none)(void) = 0;
    none();
    sink++;
}
static void *plain(void *p) {
    sorting();
    return p;
}
static void *signalled(void *p) {
    raising(SIGUSR1);
    return p;
}
static void *faulted(void *p) {
    faulting();
    return p;
}
static void *lost(void *p) {
    jumping_nowhere();
    return p;
}
static void *elsewhere(void *p) {
    stack_t other = {.ss_sp = malloc(65536), .ss_size = 65536};
    sigaltstack(&other, 0);
    raising(SIGUSR2);
    return p;
}
int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, 0);
    sigaction(SIGSEGV, &action, 0);
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR2, &action, 0);
    void *(*start[THREADS])(void *) = {plain, signalled, faulted, elsewhere, lost};
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&thread[i], 0, start[i], 0);
    while (parked < THREADS) usleep(1000);
    usleep(20000);
    all_parked();
    return 0;
}
