#include "admin/status.h"

#include "admin/json.h"
#include "base/clock.h"
#include "base/log.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

const char *status_key(const struct counter *counter, char *text)
{
    static const char *const ends[] = { "_total", "_seconds" };
    const char *begin = strchr(counter->name, '_') + 1;
    size_t length = strlen(begin);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t end = strlen(ends[i]);
        if (length > end && strcmp(begin + length - end, ends[i]) == 0)
            length -= end;
    }
    snprintf(text, STATUS_KEY_SIZE, "%.*s", (int)length, begin);
    return text;
}

/* Microseconds to milliseconds; -1 (no value) to NaN, which is printed as null. */
static double status_milliseconds(double microseconds)
{
    return microseconds < 0 ? (double)NAN : microseconds / 1e3;
}

static void status_print_times(struct json *json, const char *key, const struct histogram *histogram)
{
    json_open(json, key, '{');
    json_integer(json, "count", (int64_t)histogram->count);
    json_real(json, "p50", status_milliseconds((double)histogram_quantile(histogram, 0.5)));
    json_real(json, "p90", status_milliseconds((double)histogram_quantile(histogram, 0.9)));
    json_real(json, "p99", status_milliseconds((double)histogram_quantile(histogram, 0.99)));
    json_close(json, '}');
}

/* The reasons that have occurred. */
static void status_print_reasons(struct json *json, const char *key, const uint64_t *numbers)
{
    json_open(json, key, '{');
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
        if (numbers[reason] > 0)
            json_integer(json, reason_name((enum reason)reason), (int64_t)numbers[reason]);
    json_close(json, '}');
}

static void status_print_group(struct json *json, enum counter_group group, const void *values)
{
    size_t count;
    const struct counter *lines = counters_of(group, &count);
    for (size_t i = 0; i < count; i++) {
        char key[STATUS_KEY_SIZE];
        const void *value = (const char *)values + lines[i].offset;
        status_key(&lines[i], key);
        switch (lines[i].kind) {
        case COUNTER_TOTAL:
        case COUNTER_GAUGE:
            json_integer(json, key, (int64_t) * (const uint64_t *)value);
            break;
        case COUNTER_BY_REASON:
            status_print_reasons(json, key, value);
            break;
        case COUNTER_TIMES:
            status_print_times(json, key, value);
            break;
        }
    }
}

static void status_print_target(struct json *json, const struct admin_source *source, size_t listener,
                                size_t index)
{
    char name[ADMIN_NAME_SIZE];
    const struct service_target target = source->target(source->owner, listener, index);
    json_open(json, NULL, '{');
    json_text(json, "name", admin_target_name(source, listener, index, name));
    json_text(json, "state", target.state);
    json_text(json, "last_failure", target.failure);
    json_real(json, "last_failure_age",
              target.failed == 0 ? (double)NAN
                                 : status_milliseconds((double)(clock_now() - target.failed)) / 1e3);
    json_boolean(json, "backup", target.is_backup);
    json_integer(json, "weight", target.weight);
    status_print_group(json, GROUP_TARGET_GAUGES, &target.gauges);
    status_print_group(json, GROUP_TARGET, target.counters);
    json_close(json, '}');
}

static void status_print_rates(struct json *json, const struct history *history)
{
    const struct history_sample *last = history_last(history);
    json_open(json, "per_second", '{');
    json_real(json, "clients", (double)last->clients_rate);
    json_real(json, "requests", (double)last->requests_rate);
    json_real(json, "faults", (double)last->faults_rate);
    json_real(json, "received_bytes", (double)last->received_rate);
    json_real(json, "sent_bytes", (double)last->sent_rate);
    json_close(json, '}');
}

static void status_print_listener(struct json *json, const struct admin_source *source,
                                  const struct history_book *book, size_t listener)
{
    char text[ADMIN_NAME_SIZE];
    const struct admin_listener view = source->listener(source->owner, listener);
    const struct history *history = history_find(book, view.name);
    const struct history_times recent = history_recent(history, source, listener);
    json_open(json, NULL, '{');
    json_text(json, "name", view.name);
    json_text(json, "mode", view.mode);
    json_text(json, "protocol", view.protocol);
    if (view.targets_of != NULL)
        json_text(json, "targets_of", view.targets_of);
    json_text(json, "state", view.state);
    json_open(json, "addresses", '[');
    for (size_t i = 0; i < view.addresses; i++) {
        source->address(source->owner, listener, i, text, sizeof text);
        json_text(json, NULL, text);
    }
    json_close(json, ']');
    status_print_group(json, GROUP_LISTENER_GAUGES, &view.gauges);
    status_print_group(json, GROUP_LISTENER, view.counters);
    json_open(json, "recent", '{');
    status_print_times(json, "wait", &recent.wait);
    status_print_times(json, "service", &recent.service);
    json_close(json, '}');
    status_print_rates(json, history);
    json_open(json, "targets", '[');
    for (size_t i = 0; i < view.targets; i++)
        status_print_target(json, source, listener, i);
    json_close(json, ']');
    json_close(json, '}');
}

static void status_print_process(struct json *json, const struct admin_process *process)
{
    int64_t now = clock_wall();
    json_text(json, "version", PACKAGE_VERSION);
    json_integer(json, "process", getpid());
    json_text(json, "state", process->is_draining ? "draining" : "running");
    json_moment(json, "time", now);
    json_moment(json, "started", process->started);
    json_integer(json, "uptime_seconds", (now - process->started) / 1000);
    json_real(json, "processor_seconds", admin_processor_seconds());
    json_integer(json, "resident_bytes", (int64_t)admin_resident_bytes());
    json_integer(json, "descriptors_available", (int64_t)process->descriptors);
    json_integer(json, "log_lines_dropped", (int64_t)log_dropped());
    json_open(json, "configuration", '{');
    json_text(json, "file", process->file == NULL ? "" : process->file);
    json_moment(json, "loaded", process->loaded);
    json_integer(json, "reloads", (int64_t)process->reloads);
    json_integer(json, "reloads_refused", (int64_t)process->reloads_refused);
    json_boolean(json, "last_refused", process->is_refused);
    json_close(json, '}');
}

static void status_print_errors(struct json *json)
{
    struct log_recent lines[LOG_RECENT_COUNT];
    size_t count = log_recent(lines);
    json_open(json, "errors", '[');
    for (size_t i = 0; i < count; i++) {
        json_open(json, NULL, '{');
        json_moment(json, "time", lines[i].time);
        json_text(json, "level", lines[i].kind == LOG_KIND_ERROR ? "error" : "warning");
        json_text(json, "source", lines[i].source);
        json_text(json, "message", lines[i].message);
        json_close(json, '}');
    }
    json_close(json, ']');
}

void status_print(const struct admin_source *source, const struct history_book *book, struct buffer *out)
{
    struct json json = { .out = out };
    const struct admin_process process = source->process(source->owner);
    json_open(&json, NULL, '{');
    status_print_process(&json, &process);
    json_open(&json, "listeners", '[');
    for (size_t i = 0; i < process.listeners; i++)
        status_print_listener(&json, source, book, i);
    json_close(&json, ']');
    status_print_errors(&json);
    json_close(&json, '}');
    buffer_append_text(out, "\n");
}

/* ---- The last ten minutes ---- */

/* One column of the samples. */
struct series {
    const char *key;
    size_t offset; /* of a float in the sample */
    bool is_time;
};

#define SERIES(member) offsetof(struct history_sample, member)

static const struct series all_series[] = {
    { "clients", SERIES(clients), false },
    { "clients_waiting", SERIES(waiting), false },
    { "in_flight", SERIES(in_flight), false },
    { "clients_per_second", SERIES(clients_rate), false },
    { "requests_per_second", SERIES(requests_rate), false },
    { "faults_per_second", SERIES(faults_rate), false },
    { "received_bytes_per_second", SERIES(received_rate), false },
    { "sent_bytes_per_second", SERIES(sent_rate), false },
    { "wait_p50", SERIES(wait_p50), true },
    { "wait_p99", SERIES(wait_p99), true },
    { "service_p50", SERIES(service_p50), true },
    { "service_p99", SERIES(service_p99), true },
};

static void status_print_series(struct json *json, const struct history *history, const struct series *series)
{
    json_open(json, series->key, '[');
    for (size_t place = 0; history != NULL && place < history_length(history); place++) {
        const void *sample = history_at(history, place);
        double value = (double)*(const float *)(const void *)((const char *)sample + series->offset);
        json_real(json, NULL, series->is_time ? status_milliseconds(value) : value);
    }
    json_close(json, ']');
}

void status_print_history(const struct admin_source *source, const struct history_book *book,
                          struct buffer *out)
{
    struct json json = { .out = out };
    const struct admin_process process = source->process(source->owner);
    json_open(&json, NULL, '{');
    json_integer(&json, "interval_seconds", HISTORY_SECONDS);
    json_integer(&json, "samples_kept", HISTORY_SAMPLES);
    json_open(&json, "listeners", '[');
    for (size_t i = 0; i < process.listeners; i++) {
        const struct admin_listener view = source->listener(source->owner, i);
        json_open(&json, NULL, '{');
        json_text(&json, "name", view.name);
        for (size_t k = 0; k < sizeof all_series / sizeof all_series[0]; k++)
            status_print_series(&json, history_find(book, view.name), &all_series[k]);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    buffer_append_text(out, "\n");
}
