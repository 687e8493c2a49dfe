/* All figures in the text format of Prometheus. */
#ifndef ADMIN_METRICS_H
#define ADMIN_METRICS_H

#include "admin/view.h"
#include "base/buffer.h"

/* What every name of the table in base/counters.c begins with here. */
#define METRICS_PREFIX "proximux_"

/* Appends them. Memory that is short shows in `out`. */
void metrics_print(const struct admin_source *source, struct buffer *out);

/* A metric of the process as a whole. */
struct process_metric {
    const char *name; /* as it is printed */
    const char *type; /* "counter" or "gauge" */
    const char *help;
};

/* These, for the test that compares the manual page with them. */
const struct process_metric *metrics_of_process(size_t *count);

#endif
