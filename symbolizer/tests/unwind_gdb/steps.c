// Many short functions of all shapes, to be stepped through one instruction at a time.
#include <alloca.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

typedef int lanes __attribute__((vector_size(32)));
volatile int sink;
static volatile int order[12] = {7, 3, 9, 1, 11, 5, 0, 8, 2, 10, 4, 6};

__attribute__((noinline)) static int tiny(int x) { return x * 3 + sink; }
__attribute__((noinline)) static int red_zone(int x) {
    volatile int kept[8];
    for (int i = 0; i < 3; i++) kept[i] = x + i;
    return kept[0] + kept[2];
}
__attribute__((noinline)) static int recursive(int n) {
    if (n < 2) return n + sink;
    int left = recursive(n - 1);
    return left + recursive(n - 2);
}
__attribute__((noinline)) static int all_registers(int a, int b, int c, int d, int e, int f, int g, int h) {
    int x = tiny(a + 1), y = tiny(b + 2), z = tiny(c + 3), u = tiny(d + 4), v = tiny(e + 5), w = tiny(f + 6);
    sink += a + b + c + d + e + f + g + h;
    return x * y + z * u + v * w + tiny(x + y + z + u + v + w + g * h);
}
__attribute__((noinline)) static int variable(int n) {
    char *p = alloca(n + 16);
    for (int i = 0; i < n; i++) p[i] = i;
    sink += p[n / 2];
    return tiny(p[n - 1]);
}
__attribute__((noinline)) static int realigned(int n) {
    lanes v[2] __attribute__((aligned(64)));
    for (int i = 0; i < 8; i++) ((int *)v)[i] = n + i;
    __asm__ volatile("" ::"r"(v) : "memory");
    int r = tiny(n);
    __asm__ volatile("" ::"r"(v) : "memory");
    return r + v[0][3];
}
__attribute__((noinline)) static int early(int n) {
    if (n < 0) return -1;
    if (n == 3) abort();
    int a = tiny(n), b = tiny(a);
    if (b > 1000000) return a;
    return a + red_zone(b);
}
__attribute__((noinline)) static int tail(int n) { return early(n + 1); }
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
__attribute__((noinline)) static int through_library(void) {
    int x[12];
    for (int i = 0; i < 12; i++) x[i] = order[i];
    qsort(x, 12, sizeof(int), compare);
    char text[32] = "", *end;
    strcpy(text, "12345");
    return x[3] + (int)strlen(text) + (int)strtol(text, &end, 10);
}
static void handler(int s) { sink += s + tiny(s); }
__attribute__((noinline)) static int indirect(int (*volatile f)(int), int n) { return f(n) + f(n + 1); }

__attribute__((noinline)) void work(void) {
    sink += all_registers(1, 2, 3, 4, 5, 6, 7, 8);
    sink += variable(9);
    sink += realigned(2);
    sink += recursive(4);
    sink += tail(5) + tail(-9);
    sink += indirect(tiny, 3) + indirect(red_zone, 4);
    raise(SIGUSR1);
    sink += through_library();
}

int main(void) {
    signal(SIGUSR1, handler);
    for (int i = 0; i < 3; i++) work();
    return 0;
}
