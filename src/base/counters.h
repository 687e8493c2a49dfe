/* What listeners and their targets count over their life, and the table that names it all. The metrics, the
 * status and the test that compares them with the manual page read that table. */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include "base/histogram.h"
#include "base/reason.h"

#include <stddef.h>
#include <stdint.h>

/* Of a listener. accepted + refused = clients that have ended + present ones; requests = answered + failures. */
struct counters {
    uint64_t accepted; /* clients that came in, refused ones not among them */
    uint64_t refused;
    uint64_t bytes_from_clients;
    uint64_t bytes_to_clients;
    uint64_t ends[REASON_COUNT]; /* of clients, by reason; refused clients too */
    /* Shared modes: requests are those that have ended, by their answer or by a reason. */
    uint64_t requests;
    uint64_t answered;
    uint64_t failures[REASON_COUNT];
    struct histogram wait; /* until a target connection was there; proxy: less the time to connect */
};

/* Of a target. */
struct target_counters {
    uint64_t opened; /* connections */
    uint64_t connect_failures[REASON_COUNT];
    uint64_t closed[REASON_COUNT]; /* shared modes: connections that have ended */
    uint64_t downs;
    uint64_t bytes_sent;
    uint64_t bytes_received;
    /* Shared modes: requests that were sent, by how they ended. */
    uint64_t answered;
    uint64_t failures[REASON_COUNT];
    uint64_t discarded; /* messages that answered nothing */
    struct histogram connect;
    struct histogram service; /* from the first byte sent to the last one of the answer */
};

/* The present state of a listener, and of a target. */
struct listener_gauges {
    uint64_t clients;
    uint64_t waiting;
    uint64_t in_flight;
    uint64_t ready;
};

struct target_gauges {
    uint64_t usable;
    uint64_t connections;
    uint64_t in_flight;
};

enum counter_kind {
    COUNTER_TOTAL,     /* uint64_t that only grows */
    COUNTER_BY_REASON, /* REASON_COUNT of these */
    COUNTER_GAUGE,     /* uint64_t */
    COUNTER_TIMES,     /* struct histogram */
};

/* A line of the table. */
struct counter {
    const char *name; /* as in metrics, without what they all begin with */
    enum counter_kind kind;
    const char *help;
    size_t offset; /* in the struct */
};

/* The structs above, in the order of the table. */
enum counter_group { GROUP_LISTENER_GAUGES, GROUP_LISTENER, GROUP_TARGET_GAUGES, GROUP_TARGET, GROUP_COUNT };

/* The lines of the table for one of these structs. */
const struct counter *counters_of(enum counter_group group, size_t *count);

/* The sum over all reasons. */
uint64_t counters_sum(const uint64_t *by_reason);

#endif
