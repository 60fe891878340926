/* uniprof on Solo5: see glue.c. */

#ifndef UNIPROF_SOLO5_GLUE_H
#define UNIPROF_SOLO5_GLUE_H

#include <stddef.h>
#include <stdint.h>

#include <solo5.h>

/* Null, or why the probes are off. */
const char *uniprof_solo5_start(const struct solo5_start_info *info, const char *name);

#endif
