#include "admin/metrics.h"

#include "admin/json.h"
#include "admin/process.h"
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

/* In the order of process_metrics. */
enum process_figure {
    FIGURE_BUILD,
    FIGURE_STARTED,
    FIGURE_PROCESSOR,
    FIGURE_MEMORY,
    FIGURE_DRAINING,
    FIGURE_DESCRIPTORS,
    FIGURE_LOG_DROPPED,
    FIGURE_LOADED,
    FIGURE_RELOADS,
    FIGURE_REFUSED,
    FIGURE_LAST_REFUSED,
    FIGURE_COUNT,
};

static const struct process_metric process_metrics[FIGURE_COUNT] = {
    [FIGURE_BUILD] = { "proximux_build_info", "gauge", "Always 1; the version is a label" },
    [FIGURE_STARTED] = { "process_start_time_seconds", "gauge", "When the process started, since 1970" },
    [FIGURE_PROCESSOR] = { "process_cpu_seconds_total", "counter", "Processor time, user and system" },
    [FIGURE_MEMORY] = { "process_resident_memory_bytes", "gauge", "Memory that is resident" },
    [FIGURE_DRAINING] = { "proximux_draining", "gauge", "1 while the process is about to end" },
    [FIGURE_DESCRIPTORS] = { "proximux_descriptors_available", "gauge",
                             "File descriptors that are left for clients and their connections" },
    [FIGURE_LOG_DROPPED] = { "proximux_log_lines_dropped_total", "counter",
                             "Lines of the log that its output did not take" },
    [FIGURE_LOADED] = { "proximux_configuration_loaded_timestamp_seconds", "gauge",
                        "When the configuration in effect was taken on, since 1970" },
    [FIGURE_RELOADS] = { "proximux_reloads_total", "counter", "Reloads that were carried out" },
    [FIGURE_REFUSED] = { "proximux_reloads_refused_total", "counter",
                         "Reloads that changed nothing because something was wrong" },
    [FIGURE_LAST_REFUSED] = { "proximux_reload_last_refused", "gauge", "1 if the last reload was refused" },
};

const struct process_metric *metrics_of_process(size_t *count)
{
    *count = FIGURE_COUNT;
    return process_metrics;
}

static void metrics_print_head(struct buffer *out, const char *prefix, const char *name, const char *type,
                               const char *help)
{
    buffer_print(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, help, prefix, name, type);
}

static void metrics_print_process(const struct admin_source *source, struct buffer *out)
{
    struct admin_process process;
    source->process(source->owner, &process);
    const double values[FIGURE_COUNT] = {
        [FIGURE_BUILD] = 1,
        [FIGURE_STARTED] = (double)process.started / 1e3,
        [FIGURE_PROCESSOR] = process_seconds(),
        [FIGURE_MEMORY] = process_memory(),
        [FIGURE_DRAINING] = process.is_draining,
        [FIGURE_DESCRIPTORS] = (double)process.descriptors,
        [FIGURE_LOG_DROPPED] = (double)log_dropped(),
        [FIGURE_LOADED] = (double)process.loaded / 1e3,
        [FIGURE_RELOADS] = (double)process.reloads,
        [FIGURE_REFUSED] = (double)process.reloads_refused,
        [FIGURE_LAST_REFUSED] = process.is_refused,
    };
    for (size_t i = 0; i < FIGURE_COUNT; i++) {
        const struct process_metric *metric = &process_metrics[i];
        metrics_print_head(out, "", metric->name, metric->type, metric->help);
        buffer_print(out, "%s%s %.15g\n", metric->name,
                     i == FIGURE_BUILD ? "{version=\"" PACKAGE_VERSION "\"}" : "", values[i]);
    }
}

/* Prometheus escapes the value of a label as JSON does a string, and reads nothing at all if one is not UTF-8. */
static void metrics_print_label(struct buffer *out, const char *name, const char *value)
{
    buffer_print(out, "%s=", name);
    json_print_text(out, value);
}

/* The beginning of a sample, up to and without the brace that ends the labels. */
static void metrics_print_name(struct buffer *out, const char *name, const char *suffix,
                               const struct labels *labels)
{
    buffer_print(out, METRICS_PREFIX "%s%s{", name, suffix);
    metrics_print_label(out, "listener", labels->listener);
    if (labels->target == NULL)
        return;
    buffer_append_text(out, ",");
    metrics_print_label(out, "target", labels->target);
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

static void metrics_print_targets(const struct admin_source *source, size_t listener,
                                  const struct admin_listener *view, enum counter_group group,
                                  const struct counter *counter, struct buffer *out)
{
    char name[ADMIN_NAME_SIZE];
    for (size_t i = 0; i < view->targets; i++) {
        struct service_target target;
        source->target(source->owner, listener, i, &target);
        struct labels labels = { view->name, admin_target_name(source, listener, i, name) };
        metrics_print_samples(out, counter, &labels,
                              group == GROUP_TARGET ? (const void *)target.counters
                                                    : (const void *)&target.gauges);
    }
}

/* A line of the table for all listeners or targets: samples of one name have to stand together. */
static void metrics_print_counter(const struct admin_source *source, size_t listeners,
                                  enum counter_group group, const struct counter *counter, struct buffer *out)
{
    static const char *const types[] = {
        [COUNTER_TOTAL] = "counter",
        [COUNTER_BY_REASON] = "counter",
        [COUNTER_GAUGE] = "gauge",
        [COUNTER_TIMES] = "histogram",
    };
    metrics_print_head(out, METRICS_PREFIX, counter->name, types[counter->kind], counter->help);
    for (size_t i = 0; i < listeners; i++) {
        struct admin_listener view;
        source->listener(source->owner, i, &view);
        struct labels labels = { view.name, NULL };
        if (group == GROUP_LISTENER)
            metrics_print_samples(out, counter, &labels, view.counters);
        else if (group == GROUP_LISTENER_GAUGES)
            metrics_print_samples(out, counter, &labels, &view.gauges);
        else
            metrics_print_targets(source, i, &view, group, counter, out);
    }
}

void metrics_print(const struct admin_source *source, struct buffer *out)
{
    struct admin_process process;
    source->process(source->owner, &process);
    metrics_print_process(source, out);
    for (int group = 0; group < GROUP_COUNT; group++) {
        size_t count;
        const struct counter *lines = counters_of((enum counter_group)group, &count);
        for (size_t i = 0; i < count; i++)
            metrics_print_counter(source, process.listeners, (enum counter_group)group, &lines[i], out);
    }
}
