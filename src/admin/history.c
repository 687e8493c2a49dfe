#include "admin/history.h"

#include <stdlib.h>
#include <string.h>

/* Samples in five minutes. */
#define TURN (300 / HISTORY_SECONDS)

/* Ends in the normal course of things. */
static bool is_ordinary(enum reason reason)
{
    switch (reason) {
    case REASON_CLIENT_CLOSED:
    case REASON_CLIENT_RESET:
    case REASON_CLIENT_IDLE:
    case REASON_TARGET_CLOSED:
    case REASON_INACTIVITY:
    case REASON_DRAINED:
        return true;
    default:
        return false;
    }
}

/* Shared modes count failed requests; proxy mode knows of clients' ends only. */
static uint64_t count_faults(const struct admin_listener *view)
{
    const struct counters *counters = view->counters;
    uint64_t faults = 0;
    if (strcmp(view->mode, "proxy") != 0)
        return counters->refused + counters_sum(counters->failures);
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
        if (!is_ordinary((enum reason)reason))
            faults += counters->ends[reason];
    return faults;
}

static void add_service(const struct admin_source *source, size_t listener, size_t targets,
                        struct histogram *service)
{
    for (size_t i = 0; i < targets; i++) {
        struct service_target target;
        source->target(source->owner, listener, i, &target);
        histogram_add(service, &target.counters->service);
    }
}

static void take_sums(const struct admin_source *source, size_t listener, const struct admin_listener *view,
                      struct history_sums *sums)
{
    const struct counters *counters = view->counters;
    memset(sums, 0, sizeof *sums);
    sums->accepted = counters->accepted;
    sums->requests = counters->requests;
    sums->faults = count_faults(view);
    sums->received = counters->bytes_from_clients;
    sums->sent = counters->bytes_to_clients;
    sums->wait = counters->wait;
    add_service(source, listener, view->targets, &sums->service);
}

/* Counters begin anew when a reload replaces their listener or target, hence the comparison. */
static float rate(uint64_t now, uint64_t before, double seconds)
{
    return now > before ? (float)((double)(now - before) / seconds) : 0;
}

static void take_quantiles(const struct histogram *now, const struct histogram *before, float *p50,
                           float *p99)
{
    struct histogram since = *now;
    histogram_subtract(&since, before);
    *p50 = (float)histogram_quantile(&since, 0.5);
    *p99 = (float)histogram_quantile(&since, 0.99);
}

static void take_sample(struct history *history, const struct admin_listener *view,
                        const struct history_sums *sums, double seconds)
{
    const struct history_sums *last = &history->last;
    struct history_sample *sample = &history->samples[history->count++ % HISTORY_SAMPLES];
    *sample = (struct history_sample){
        .clients = (float)view->gauges.clients,
        .waiting = (float)view->gauges.waiting,
        .in_flight = (float)view->gauges.in_flight,
        .clients_rate = rate(sums->accepted, last->accepted, seconds),
        .requests_rate = rate(sums->requests, last->requests, seconds),
        .faults_rate = rate(sums->faults, last->faults, seconds),
        .received_rate = rate(sums->received, last->received, seconds),
        .sent_rate = rate(sums->sent, last->sent, seconds),
    };
    take_quantiles(&sums->wait, &last->wait, &sample->wait_p50, &sample->wait_p99);
    take_quantiles(&sums->service, &last->service, &sample->service_p50, &sample->service_p99);
    if (history->count % TURN != 0)
        return;
    history->wait_before[0] = history->wait_before[1];
    history->wait_before[1] = sums->wait;
    history->service_before[0] = history->service_before[1];
    history->service_before[1] = sums->service;
}

static struct history *history_open(struct history_book *book, const char *name)
{
    struct history *history = (struct history *)history_find(book, name);
    if (history != NULL)
        return history;
    history = calloc(1, sizeof *history);
    if (history == NULL)
        return NULL;
    snprintf(history->name, sizeof history->name, "%s", name);
    list_append(&book->histories, &history->node);
    return history;
}

void history_init(struct history_book *book)
{
    list_init(&book->histories);
    book->sampled = 0;
}

static void forget(struct history *history)
{
    list_remove(&history->node);
    free(history);
}

void history_free(struct history_book *book)
{
    list_foreach(&book->histories, node) forget(list_entry(node, struct history, node));
}

static void sample_listener(struct history_book *book, const struct admin_source *source, size_t listener,
                            double seconds)
{
    struct admin_listener view;
    struct history_sums sums;
    source->listener(source->owner, listener, &view);
    struct history *history = history_open(book, view.name);
    if (history == NULL)
        return;
    take_sums(source, listener, &view, &sums);
    if (seconds > 0)
        take_sample(history, &view, &sums, seconds);
    history->last = sums;
    history->is_present = true;
}

void history_sample(struct history_book *book, const struct admin_source *source, int64_t now)
{
    struct admin_process process;
    double seconds = book->sampled == 0 ? 0 : (double)(now - book->sampled) / 1e6;
    source->process(source->owner, &process);
    list_foreach(&book->histories, node) list_entry(node, struct history, node)->is_present = false;
    for (size_t i = 0; i < process.listeners; i++)
        sample_listener(book, source, i, seconds);
    list_foreach(&book->histories, node) if (!list_entry(node, struct history, node)->is_present)
        forget(list_entry(node, struct history, node));
    book->sampled = now;
}

const struct history *history_find(const struct history_book *book, const char *name)
{
    list_foreach(&book->histories, node)
    {
        const struct history *history = list_entry(node, const struct history, node);
        if (strcmp(history->name, name) == 0)
            return history;
    }
    return NULL;
}

size_t history_length(const struct history *history)
{
    return history->count < HISTORY_SAMPLES ? (size_t)history->count : HISTORY_SAMPLES;
}

const struct history_sample *history_at(const struct history *history, size_t index)
{
    return &history->samples[(history->count - history_length(history) + index) % HISTORY_SAMPLES];
}

const struct history_sample *history_last(const struct history *history)
{
    static const struct history_sample none;
    return history == NULL || history->count == 0 ? &none : history_at(history, history_length(history) - 1);
}

void history_recent(const struct history *history, const struct admin_source *source, size_t listener,
                    struct histogram *wait, struct histogram *service)
{
    struct admin_listener view;
    source->listener(source->owner, listener, &view);
    *wait = view.counters->wait;
    memset(service, 0, sizeof *service);
    add_service(source, listener, view.targets, service);
    if (history == NULL)
        return;
    histogram_subtract(wait, &history->wait_before[0]);
    histogram_subtract(service, &history->service_before[0]);
}
