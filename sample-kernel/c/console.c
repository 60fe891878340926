/* The console: a 16550 at the first standard port. */

#include "kernel.h"

enum { DATA = 0x3f8, LINE_CONTROL = DATA + 3, LINE_STATUS = DATA + 5, TRANSMITTER_EMPTY = 1 << 5 };

void console_init(void)
{
    out8(DATA + 1, 0);
    out8(LINE_CONTROL, 0x80);
    out8(DATA, 1);
    out8(DATA + 1, 0);
    out8(LINE_CONTROL, 0x03);
    out8(DATA + 2, 0x07);
    out8(DATA + 4, 0x03);
}

void print(const char *text)
{
    for (; *text; text++) {
        /* A port without a device never reports an empty transmitter. */
        for (int patience = 100000; patience && !(in8(LINE_STATUS) & TRANSMITTER_EMPTY); patience--)
            ;
        out8(DATA, (uint8_t)*text);
    }
}

void print_number(uint64_t number)
{
    char digits[21] = {0};
    int at = 20;
    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    print(digits + at);
}
