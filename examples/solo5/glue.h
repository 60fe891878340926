/* uniprof on Solo5: see glue.c. */

#ifndef UNIPROF_SOLO5_GLUE_H
#define UNIPROF_SOLO5_GLUE_H

#include <stddef.h>
#include <stdint.h>

#include <solo5.h>

/* Null, or why the probes are off. stack_bytes: how much of its stack a sample takes along, by which the host finds the callers of code that
 * keeps no frame pointers (OCaml's: 4096 are enough for most); 0 where all of it does. */
const char *uniprof_solo5_start(const struct solo5_start_info *info, const char *name, uint32_t stack_bytes);

#endif
