#include "admin/metrics.h"

#include "admin/json.h"
#include "base/log.h"

#include <inttypes.h>

/* Bounds of times: powers of two from 64 microseconds to 67 seconds, for which the counts are exact. */
#define BOUND_FIRST 6
#define BOUND_LAST  26

/* What a sample belongs to. */
struct labels {
    const char *listener;
    const char *target; /* NULL: the listener itself */
};

struct process_metrics metrics_of_process(const struct admin_process *process)
{
    return (struct process_metrics){ {
        { "proximux_build_info", "gauge", "Always 1; the version is a label", 1 },
        { "process_start_time_seconds", "gauge", "When the process started, since 1970",
          (double)process->started / 1e3 },
        { "process_cpu_seconds_total", "counter", "Processor time, user and system",
          admin_processor_seconds() },
        { "process_resident_memory_bytes", "gauge", "Memory that is resident", admin_resident_bytes() },
        { "proximux_draining", "gauge", "1 while the process is about to end", process->is_draining },
        { "proximux_descriptors_available", "gauge",
          "File descriptors that are left for clients and their connections", (double)process->descriptors },
        { "proximux_log_lines_dropped_total", "counter", "Lines of the log that its output did not take",
          (double)log_dropped() },
        { "proximux_configuration_loaded_timestamp_seconds", "gauge",
          "When the configuration in effect was taken on, since 1970", (double)process->loaded / 1e3 },
        { "proximux_reloads_total", "counter", "Reloads that were carried out", (double)process->reloads },
        { "proximux_reloads_refused_total", "counter",
          "Reloads that changed nothing because something was wrong", (double)process->reloads_refused },
        { "proximux_reload_last_refused", "gauge", "1 if the last reload was refused", process->is_refused },
    } };
}

static void metrics_print_head(struct buffer *out, const char *prefix, const char *name, const char *type,
                               const char *help)
{
    buffer_print(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, help, prefix, name, type);
}

static void metrics_print_process(const struct admin_process *process, struct buffer *out)
{
    const struct process_metrics metrics = metrics_of_process(process);
    for (size_t i = 0; i < METRICS_OF_PROCESS; i++) {
        const struct process_metric *metric = &metrics.all[i];
        metrics_print_head(out, "", metric->name, metric->type, metric->help);
        buffer_print(out, "%s%s %.15g\n", metric->name, i == 0 ? "{version=\"" PACKAGE_VERSION "\"}" : "",
                     metric->value);
    }
}

/* The beginning of a sample, up to and without the brace that ends the labels. Prometheus escapes the value of a
 * label as JSON does a string, and reads nothing at all if one is not UTF-8. */
static void metrics_print_name(struct buffer *out, const char *name, const char *suffix,
                               const struct labels *labels)
{
    buffer_print(out, METRICS_PREFIX "%s%s{listener=", name, suffix);
    json_print_text(out, labels->listener);
    if (labels->target == NULL)
        return;
    buffer_append_text(out, ",target=");
    json_print_text(out, labels->target);
}

static void metrics_print_times(struct buffer *out, const char *name, const struct labels *labels,
                                const struct histogram *histogram)
{
    for (unsigned exponent = BOUND_FIRST; exponent <= BOUND_LAST; exponent++) {
        metrics_print_name(out, name, "_bucket", labels);
        buffer_print(out, ",le=\"%.9g\"} %" PRIu64 "\n", (double)((uint64_t)1 << exponent) / 1e6,
                     histogram_count_to(histogram, exponent));
    }
    metrics_print_name(out, name, "_bucket", labels);
    buffer_print(out, ",le=\"+Inf\"} %" PRIu64 "\n", histogram->count);
    metrics_print_name(out, name, "_sum", labels);
    buffer_print(out, "} %.6f\n", (double)histogram->sum / 1e6);
    metrics_print_name(out, name, "_count", labels);
    buffer_print(out, "} %" PRIu64 "\n", histogram->count);
}

static void metrics_print_samples(struct buffer *out, const struct counter *counter,
                                  const struct labels *labels, const void *values)
{
    const void *value = (const char *)values + counter->offset;
    const uint64_t *numbers = value;
    switch (counter->kind) {
    case COUNTER_TOTAL:
    case COUNTER_GAUGE:
        metrics_print_name(out, counter->name, "", labels);
        buffer_print(out, "} %" PRIu64 "\n", *numbers);
        break;
    case COUNTER_BY_REASON:
        for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
            metrics_print_name(out, counter->name, "", labels);
            buffer_print(out, ",reason=\"%s\"} %" PRIu64 "\n", reason_name((enum reason)reason),
                         numbers[reason]);
        }
        break;
    case COUNTER_TIMES:
        metrics_print_times(out, counter->name, labels, value);
        break;
    }
}

/* A line of the table for one listener, or for its targets. */
static void metrics_print_listener(const struct admin_source *source, size_t listener,
                                   enum counter_group group, const struct counter *counter,
                                   struct buffer *out)
{
    const struct admin_listener view = source->listener(source->owner, listener);
    char name[ADMIN_NAME_SIZE];
    struct labels labels = { view.name, NULL };
    if (group == GROUP_LISTENER || group == GROUP_LISTENER_GAUGES) {
        const void *values = group == GROUP_LISTENER ? (const void *)view.counters : &view.gauges;
        metrics_print_samples(out, counter, &labels, values);
        return;
    }
    for (size_t i = 0; i < view.targets; i++) {
        const struct service_target target = source->target(source->owner, listener, i);
        const void *values = group == GROUP_TARGET ? (const void *)target.counters : &target.gauges;
        labels.target = admin_target_name(source, listener, i, name);
        metrics_print_samples(out, counter, &labels, values);
    }
}

void metrics_print(const struct admin_source *source, struct buffer *out)
{
    static const char *const types[] = {
        [COUNTER_TOTAL] = "counter",
        [COUNTER_BY_REASON] = "counter",
        [COUNTER_GAUGE] = "gauge",
        [COUNTER_TIMES] = "histogram",
    };
    const struct admin_process process = source->process(source->owner);
    metrics_print_process(&process, out);
    for (enum counter_group group = 0; group < GROUP_COUNT; group++) {
        size_t count;
        const struct counter *lines = counters_of(group, &count);
        for (size_t i = 0; i < count; i++) { /* samples of one name have to stand together */
            metrics_print_head(out, METRICS_PREFIX, lines[i].name, types[lines[i].kind], lines[i].help);
            for (size_t k = 0; k < process.listeners; k++)
                metrics_print_listener(source, k, group, &lines[i], out);
        }
    }
}
