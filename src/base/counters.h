/* What listeners and their targets count over their life. Each row names a field, what is in it, its metric and what
 * that tells; the structs, the metrics, the status and the test that compares them with the manual follow from it. */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include "base/histogram.h"
#include "base/reason.h"

#include <stddef.h>
#include <stdint.h>

/* The present state of a listener. */
#define LISTENER_GAUGES(EACH, type)                                                                          \
    EACH(type, GAUGE, clients, "listener_clients", "Clients that are being served")                          \
    EACH(type, GAUGE, waiting, "listener_clients_waiting", "Clients that wait for a target connection")      \
    EACH(type, GAUGE, in_flight, "listener_in_flight",                                                       \
         "Requests at target connections; in proxy mode, clients at theirs")                                 \
    EACH(type, GAUGE, ready, "listener_ready", "1 unless it is starting or draining, or has no usable target")

/* Of a listener: accepted + refused = clients that have ended + present ones; requests = answered + failures. In
 * proxy mode a wait does not include the time to connect. */
#define LISTENER_COUNTERS(EACH, type)                                                                        \
    EACH(type, TOTAL, accepted, "listener_clients_accepted_total", "Clients that were let in")               \
    EACH(type, TOTAL, refused, "listener_clients_refused_total", "Clients that were turned away")            \
    EACH(type, BY_REASON, ends, "listener_clients_ended_total",                                              \
         "Clients that have gone or were turned away, by reason")                                            \
    EACH(type, TOTAL, bytes_from_clients, "listener_received_bytes_total", "Bytes that came from clients")   \
    EACH(type, TOTAL, bytes_to_clients, "listener_sent_bytes_total", "Bytes that were written to clients")   \
    EACH(type, TOTAL, requests, "listener_requests_total",                                                   \
         "Requests that have ended, answered or failed (shared modes)")                                      \
    EACH(type, TOTAL, answered, "listener_requests_answered_total",                                          \
         "Requests that were answered (shared modes)")                                                       \
    EACH(type, BY_REASON, failures, "listener_requests_failed_total",                                        \
         "Requests that were not answered, by reason (shared modes)")                                        \
    EACH(type, TIMES, wait, "listener_wait_seconds",                                                         \
         "Time in the queue for a target connection: of requests; in proxy mode, of clients")

/* The present state of a target. */
#define TARGET_GAUGES(EACH, type)                                                                            \
    EACH(type, GAUGE, usable, "target_usable",                                                               \
         "1 while the target gets work: it is up, untried or busy, and not left out for being sick; where "  \
         "it is "                                                                                            \
         "checked, its checks say that it works")                                                            \
    EACH(type, GAUGE, sick, "target_sick",                                                                   \
         "1 while the target is sick: it can be connected to, but does not work")                            \
    EACH(type, GAUGE, connections, "target_connections", "Connections to the target, attempts among them")   \
    EACH(type, GAUGE, in_flight, "target_in_flight", "Requests at its connections; in proxy mode, clients")

/* Of a target: in shared modes, requests that were sent are counted by how they ended. */
#define TARGET_COUNTERS(EACH, type)                                                                          \
    EACH(type, TOTAL, opened, "target_connections_opened_total", "Connections that were made")               \
    EACH(type, BY_REASON, connect_failures, "target_connections_failed_total",                               \
         "Attempts to connect that failed, and connections that were useless, by reason")                    \
    EACH(type, BY_REASON, closed, "target_connections_closed_total",                                         \
         "Connections that have ended, by reason (shared modes)")                                            \
    EACH(type, TOTAL, downs, "target_downs_total", "How often the target went down")                         \
    EACH(type, TOTAL, sicknesses, "target_sicknesses_total", "How often the target became sick")             \
    EACH(type, TOTAL, checks_passed, "target_checks_passed_total", "Checks that the target has passed")      \
    EACH(type, TOTAL, checks_failed, "target_checks_failed_total", "Checks that the target has failed")      \
    EACH(type, TOTAL, bytes_sent, "target_sent_bytes_total", "Bytes that were written to the target")        \
    EACH(type, TOTAL, bytes_received, "target_received_bytes_total", "Bytes that came from the target")      \
    EACH(type, TOTAL, answered, "target_requests_answered_total",                                            \
         "Requests that the target has answered (shared modes)")                                             \
    EACH(type, BY_REASON, failures, "target_requests_failed_total",                                          \
         "Requests that were sent to the target and not answered, by reason (shared modes)")                 \
    EACH(type, TOTAL, discarded, "target_messages_discarded_total",                                          \
         "Messages of the target that answered no request, such as late answers, and were thrown away")      \
    EACH(type, TIMES, connect, "target_connect_seconds", "Time to connect, looking the name up included")    \
    EACH(type, TIMES, service, "target_service_seconds",                                                     \
         "Time from sending a request to the end of its answer (shared modes)")

#define COUNTER_FIELD_TOTAL(field)     uint64_t field;
#define COUNTER_FIELD_GAUGE(field)     uint64_t field;
#define COUNTER_FIELD_BY_REASON(field) uint64_t field[REASON_COUNT];
#define COUNTER_FIELD_TIMES(field)     struct histogram field;

#define COUNTER_FIELD(type, kind, field, name, help) COUNTER_FIELD_##kind(field)
struct listener_gauges {
    LISTENER_GAUGES(COUNTER_FIELD, )
};
struct counters {
    LISTENER_COUNTERS(COUNTER_FIELD, )
};
struct target_gauges {
    TARGET_GAUGES(COUNTER_FIELD, )
};
struct target_counters {
    TARGET_COUNTERS(COUNTER_FIELD, )
};
#undef COUNTER_FIELD

enum counter_kind {
    COUNTER_TOTAL,     /* uint64_t that only grows */
    COUNTER_BY_REASON, /* REASON_COUNT of these */
    COUNTER_GAUGE,     /* uint64_t */
    COUNTER_TIMES,     /* struct histogram */
};

/* A row, for those who print all. */
struct counter {
    const char *name; /* as in metrics, without what they all begin with */
    enum counter_kind kind;
    const char *help;
    size_t offset; /* in the struct */
};

enum counter_group { GROUP_LISTENER_GAUGES, GROUP_LISTENER, GROUP_TARGET_GAUGES, GROUP_TARGET, GROUP_COUNT };

/* The rows of one of these structs. */
const struct counter *counters_of(enum counter_group group, size_t *count);

/* The sum over all reasons. */
uint64_t counters_sum(const uint64_t *by_reason);

#endif
