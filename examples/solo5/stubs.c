/* uniprof for OCaml 4 (4.13 was tried): what uniprof.ml calls. Sites are static, so each name that OCaml code uses has its macro here: one
 * line each. */

#define UNIPROF_PAGE_TABLES 0

#include <stdlib.h>

#include <uniprof.h>

/* For OCaml's own state, and the hooks of its collector. */
#define CAML_INTERNALS
#define CAML_NAME_SPACE
#include <caml/misc.h>
#include <caml/mlvalues.h>
#include <caml/version.h>

#if OCAML_VERSION >= 50000
#error "OCaml 5 runs on stacks of its own, and keeps what is needed here elsewhere"
#endif

/* A sample begins in the OCaml code that has called, which keeps nothing in registers that unwinding needs but the stack pointer. */
__attribute__((noinline)) value uniprof_ml_poll(value unit)
{
    struct uniprof_registers caller = {0};
    caller.rip = (uint64_t)__builtin_return_address(0);
    /* Above the frame pointer that this function has saved, and its return address. */
    caller.rsp = (uint64_t)__builtin_frame_address(0) + 16;
    uniprof_poll_with_registers(&caller);
    return unit;
}

value uniprof_ml_idle_enter(value unit)
{
    uniprof_idle_enter();
    return unit;
}

value uniprof_ml_idle_exit(value unit)
{
    uniprof_idle_exit();
    return unit;
}

value uniprof_ml_log(value line)
{
    uniprof_log(String_val(line));
    return Val_unit;
}

/* The program ends, for this reason: here, while its stack is what it was. */
value uniprof_ml_crash(value reason)
{
    UNIPROF_PANIC(String_val(reason));
    abort();
}

/* An event of the application. */
value uniprof_ml_request(value path, value bytes)
{
    UNIPROF_EVENT("app.request", S(path, String_val(path)), U(bytes, Long_val(bytes)));
    return Val_unit;
}

/* Spans outlive the call that begins them: OCaml keeps one as a block of bytes that the collector does not look into. */
_Static_assert(sizeof(struct uniprof_span) == 16, "uniprof.ml makes blocks of 16 bytes");

value uniprof_ml_span_begin(value span, value number)
{
    *(struct uniprof_span *)Bytes_val(span) = UNIPROF_SPAN_BEGIN("app.work", U(number, Long_val(number)));
    return Val_unit;
}

value uniprof_ml_span_end(value span)
{
    uniprof_span_end((const struct uniprof_span *)Bytes_val(span));
    return Val_unit;
}

/* OCaml's collections are spans, and safepoints at both ends: what the program did until then is told of as the program's, where it
 * allocates, and what the collector does as the collector's. A program that allocates so has its samples without a call of its own. */
static struct uniprof_span minor, slice;

static void poll_of_program(void)
{
    /* Where OCaml code was left, for C code or for the collector, which starts from there itself. */
    struct uniprof_registers registers = {0};
    if (Caml_state->bottom_of_stack) {
        registers.rip = Caml_state->last_return_address;
        registers.rsp = (uint64_t)Caml_state->bottom_of_stack;
    }
    uniprof_poll_with_registers(&registers);
}

static void minor_collection_begins(void)
{
    poll_of_program();
    minor = UNIPROF_SPAN_BEGIN("ocaml.minor");
}

static void minor_collection(void)
{
    uniprof_span_end(&minor);
    uniprof_poll();
}

static void major_slice_begins(void)
{
    poll_of_program();
    slice = UNIPROF_SPAN_BEGIN("ocaml.slice");
}

static void major_slice(void)
{
    uniprof_span_end(&slice);
    uniprof_poll();
}

/* To be called before caml_startup. */
void uniprof_ml_watch_collections(void)
{
    caml_minor_gc_begin_hook = minor_collection_begins;
    caml_minor_gc_end_hook = minor_collection;
    caml_major_slice_begin_hook = major_slice_begins;
    caml_major_slice_end_hook = major_slice;
}
