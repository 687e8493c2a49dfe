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
    double value;
};

/* All of them; the test that compares them with the manual page needs them, too. */
#define METRICS_OF_PROCESS 11
struct process_metrics {
    struct process_metric all[METRICS_OF_PROCESS];
};
struct process_metrics metrics_of_process(const struct admin_process *process);

#endif
