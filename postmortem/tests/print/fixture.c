/* A program that stops with values of all kinds, for gdb and `print` to be asked about. */
#include <stdint.h>
#include <string.h>

enum colour { RED, GREEN = 5, BLUE };
enum flags { READ = 1, WRITE = 2, EXECUTE = 4 };

struct point {
    int x;
    long y;
};

union number {
    uint32_t bits;
    float real;
};

struct packet {
    unsigned version : 4;
    unsigned length : 12;
    int delta : 5;
    char name[16];
    struct {
        short inner;
    };
    struct point *at;
    enum colour colour;
    unsigned flags;
    double ratio;
    union number number;
    int (*handler)(int);
    struct packet *next;
};

int twice(int x) { return x * 2; }

static struct point origin = {-1, 1L << 33};
struct packet last = {9, 1000, -7, "last", {3}, 0, BLUE, 0, 0.25, {0x3f800000}, 0, 0};
struct packet listener = {4, 300, -5, "eth0", {-2}, &origin, GREEN, 3, 1.5, {0x40000000}, twice, &last};
int matrix[2][3] = {{1, 2, 3}, {4, 5, 6}};
const char *greeting = "hi\tthere";
static unsigned char raw[4] = {1, 2, 3, 255};
enum flags mode = READ | EXECUTE;
_Bool ready = 1;
char letter = 'Q';
long double wide = 2.5L;
void *nowhere = 0;

__attribute__((noinline)) void pause_here(void) { __asm__ volatile("" ::: "memory"); }

__attribute__((noinline)) int inspect(struct packet *packet, int number, const char *text, unsigned long big) {
    static int calls = 7;
    int squares[4];
    char copy[8];
    for (int i = 0; i < 4; i++)
        squares[i] = i * i;
    strncpy(copy, text, sizeof copy);
    struct point here = {number, (long)big};
    double half = number / 2.0;
    calls++;
    {
        int number = 99;
        pause_here();
        squares[0] += number;
    }
    return squares[0] + here.x + copy[0] + (int)half + packet->delta + raw[0] + calls;
}

int main(void) {
    return inspect(&listener, 21, "abc", 1UL << 40) & 0;
}
