/* An OCaml unikernel on Solo5 begins here: nolibc, the probes, OCaml. For MirageOS there is mirage.c in its place. */

#include "glue.h"

#define CAML_NAME_SPACE
#include <caml/callback.h>
#include <caml/mlvalues.h>

/* nolibc, which comes with ocaml-solo5, declares it nowhere. */
void _nolibc_init(uintptr_t heap_start, size_t heap_size);

void uniprof_ml_watch_collections(void);

static void say(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    solo5_console_write(text, length);
}

int solo5_app_main(const struct solo5_start_info *info)
{
    static char *arguments[] = {"unikernel", NULL};
    _nolibc_init(info->heap_start, info->heap_size);
    const char *off = uniprof_solo5_start(info, "ocaml", 4096);
    say("uniprof ");
    say(off ? off : "on");
    say("\n");
    uniprof_ml_watch_collections();
    caml_startup(arguments);
    return 0;
}

/* Waits for the host's events, for so many milliseconds at most: what MirageOS has in its main loop. */
value unikernel_wait(value milliseconds)
{
    solo5_handle_set_t ready = 0;
    solo5_yield(solo5_clock_monotonic() + (solo5_time_t)Long_val(milliseconds) * 1000000, &ready);
    return Val_unit;
}
