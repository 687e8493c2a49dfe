#include "admin/history.h"

#include <stdlib.h>
#include <string.h>

/* Samples in five minutes. */
#define HISTORY_TURN (300 / HISTORY_SECONDS)

/* Shared modes count failed requests; proxy mode knows of clients' ends only, of which these are in order. */
static uint64_t history_faults(const struct admin_listener *view, const struct counters *counters)
{
    static const enum reason in_order[] = { REASON_CLIENT_CLOSED, REASON_CLIENT_RESET, REASON_CLIENT_IDLE,
                                            REASON_TARGET_CLOSED, REASON_INACTIVITY,   REASON_DRAINED };
    if (strcmp(view->mode, "proxy") != 0)
        return counters->refused + counters_sum(counters->failures);
    uint64_t faults = counters_sum(counters->ends);
    for (size_t i = 0; i < sizeof in_order / sizeof in_order[0]; i++)
        faults -= counters->ends[in_order[i]];
    return faults;
}

static struct history_times history_times(const struct admin_source *source, size_t listener,
                                          const struct admin_listener *view)
{
    struct history_times times = { .wait = view->counters->wait };
    for (size_t i = 0; i < view->targets; i++)
        histogram_add(&times.service, &source->target(source->owner, listener, i).counters->service);
    return times;
}

/* Counters begin anew when a reload replaces their listener or target, hence the comparison. */
static float history_rate(uint64_t now, uint64_t before, double seconds)
{
    return now > before ? (float)((double)(now - before) / seconds) : 0;
}

static void history_quantiles(const struct histogram *now, const struct histogram *before, float *p50,
                              float *p99)
{
    struct histogram since = *now;
    histogram_subtract(&since, before);
    *p50 = (float)histogram_quantile(&since, 0.5);
    *p99 = (float)histogram_quantile(&since, 0.99);
}

static void history_take(struct history *history, const struct admin_listener *view,
                         const struct history_times *times, double seconds)
{
    const struct counters *now = view->counters;
    const struct counters *last = &history->last;
    struct history_sample *sample = &history->samples[history->count++ % HISTORY_SAMPLES];
    *sample = (struct history_sample){
        .clients = (float)view->gauges.clients,
        .waiting = (float)view->gauges.waiting,
        .in_flight = (float)view->gauges.in_flight,
        .clients_rate = history_rate(now->accepted, last->accepted, seconds),
        .requests_rate = history_rate(now->requests, last->requests, seconds),
        .faults_rate = history_rate(history_faults(view, now), history_faults(view, last), seconds),
        .received_rate = history_rate(now->bytes_from_clients, last->bytes_from_clients, seconds),
        .sent_rate = history_rate(now->bytes_to_clients, last->bytes_to_clients, seconds),
    };
    history_quantiles(&now->wait, &last->wait, &sample->wait_p50, &sample->wait_p99);
    history_quantiles(&times->service, &history->last_service, &sample->service_p50, &sample->service_p99);
    if (history->count % HISTORY_TURN != 0)
        return;
    history->before[0] = history->before[1];
    history->before[1] = *times;
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

static void history_forget(struct history *history)
{
    list_remove(&history->node);
    free(history);
}

void history_free(struct history_book *book)
{
    list_foreach(&book->histories, node) history_forget(list_entry(node, struct history, node));
}

static void history_sample_listener(struct history_book *book, const struct admin_source *source,
                                    size_t listener, double seconds)
{
    const struct admin_listener view = source->listener(source->owner, listener);
    struct history *history = history_open(book, view.name);
    if (history == NULL)
        return;
    const struct history_times times = history_times(source, listener, &view);
    if (seconds > 0)
        history_take(history, &view, &times, seconds);
    history->last = *view.counters;
    history->last_service = times.service;
    history->is_present = true;
}

void history_sample(struct history_book *book, const struct admin_source *source, int64_t now)
{
    const struct admin_process process = source->process(source->owner);
    double seconds = book->sampled == 0 ? 0 : (double)(now - book->sampled) / 1e6;
    list_foreach(&book->histories, node) list_entry(node, struct history, node)->is_present = false;
    for (size_t i = 0; i < process.listeners; i++)
        history_sample_listener(book, source, i, seconds);
    list_foreach(&book->histories, node) if (!list_entry(node, struct history, node)->is_present)
        history_forget(list_entry(node, struct history, node));
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

struct history_times history_recent(const struct history *history, const struct admin_source *source,
                                    size_t listener)
{
    const struct admin_listener view = source->listener(source->owner, listener);
    struct history_times times = history_times(source, listener, &view);
    if (history != NULL) {
        histogram_subtract(&times.wait, &history->before[0].wait);
        histogram_subtract(&times.service, &history->before[0].service);
    }
    return times;
}
