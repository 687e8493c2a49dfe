/* All figures in the text format of Prometheus. */
#ifndef ADMIN_METRICS_H
#define ADMIN_METRICS_H

#include "admin/view.h"
#include "base/buffer.h"

/* The prefix of every name from the table in base/counters.c. */
#define METRICS_PREFIX "proximux_"

/* Appends all figures to `out`, which has failed when memory was short. */
void metrics_print(const struct admin_source *source, struct buffer *out);

/* A metric of the process as a whole. */
struct process_metric {
    const char *name; /* as it is printed */
    const char *type; /* "counter" or "gauge" */
    const char *help;
};

/* The metrics of the process, for the test that compares them with the manual page. */
const struct process_metric *metrics_of_process(size_t *count);

#endif
