/* uniprof for OCaml: what uniprof.ml calls. Sites are static, so each name that OCaml code uses has its macro here: one line each. */

#define UNIPROF_PAGE_TABLES 0

#include <uniprof.h>

#include <caml/mlvalues.h>

/* The end of each handler of the event loop. [@@noalloc]: no frame of OCaml's run-time system, so the OCaml function is the caller. */
value uniprof_ml_poll(value unit)
{
    uniprof_poll();
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

/* An event of the application. */
value uniprof_ml_request(value path, value bytes)
{
    UNIPROF_EVENT("app.request", S(path, String_val(path)), U(bytes, Long_val(bytes)));
    return Val_unit;
}

/* Spans outlive the call that begins them: OCaml keeps one as a block of two words that the collector does not look into. */
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
