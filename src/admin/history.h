/* The last ten minutes of every listener: a sample every five seconds, in memory that does not grow. */
#ifndef ADMIN_HISTORY_H
#define ADMIN_HISTORY_H

#include "admin/view.h"
#include "base/list.h"

#define HISTORY_SECONDS 5
#define HISTORY_SAMPLES 120

/* One interval. Rates are per second; times, in microseconds, of what ended in it, -1 if nothing did. */
struct history_sample {
    float clients;
    float waiting;
    float in_flight;
    float clients_rate; /* accepted ones */
    float requests_rate;
    float faults_rate;   /* clients refused; requests that failed; in proxy mode, clients that ended badly */
    float received_rate; /* bytes, from clients */
    float sent_rate;
    float wait_p50;
    float wait_p99;
    float service_p50;
    float service_p99;
};

struct history_times {
    struct histogram wait;
    struct histogram service; /* of all targets */
};

/* Of one listener. Owned by its book. */
struct history {
    struct list_node node;
    char name[72];
    bool is_present; /* the listener had a part in the last sample */
    struct history_sample samples[HISTORY_SAMPLES];
    uint64_t count;       /* of samples ever taken; the last ones are in the ring */
    struct counters last; /* at the last sample, like `last_service` */
    struct histogram last_service;
    struct history_times before[2]; /* at the last two turns of five minutes, for those of the last minutes */
};

/* Owned by admin. */
struct history_book {
    struct list histories; /* struct history */
    int64_t sampled;       /* microseconds; when the last sample was taken, 0: never */
};

void history_init(struct history_book *book);
void history_free(struct history_book *book);

/* Takes a sample of every listener and frees the history of listeners that are gone. When memory is short a
 * listener is left out. `now` in microseconds. */
void history_sample(struct history_book *book, const struct admin_source *source, int64_t now);

/* The history of the listener of that name; NULL: there is none yet. */
const struct history *history_find(const struct history_book *book, const char *name);

/* The number of samples; the sample at an index, 0 for the oldest. */
size_t history_length(const struct history *history);
const struct history_sample *history_at(const struct history *history, size_t index);

/* The latest sample; all zeros if there is none. `history` may be NULL. */
const struct history_sample *history_last(const struct history *history);

/* Times of what has ended in the last five to ten minutes; since the start if `history` is NULL. */
struct history_times history_recent(const struct history *history, const struct admin_source *source,
                                    size_t listener);

#endif
