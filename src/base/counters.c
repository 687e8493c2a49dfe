#include "base/counters.h"

#define LINE(type, member, what, word, text)                                                                 \
    {                                                                                                        \
        .name = word, .kind = what, .help = text, .offset = offsetof(struct type, member)                    \
    }

static const struct counter listener_gauges[] = {
    LINE(listener_gauges, clients, COUNTER_GAUGE, "listener_clients", "Clients that are being served"),
    LINE(listener_gauges, waiting, COUNTER_GAUGE, "listener_clients_waiting",
         "Clients that wait for a target connection"),
    LINE(listener_gauges, in_flight, COUNTER_GAUGE, "listener_in_flight",
         "Requests at target connections; in proxy mode, clients at theirs"),
    LINE(listener_gauges, ready, COUNTER_GAUGE, "listener_ready",
         "1 unless it is starting or draining, or has no usable target"),
};

static const struct counter listener_counters[] = {
    LINE(counters, accepted, COUNTER_TOTAL, "listener_clients_accepted_total", "Clients that were let in"),
    LINE(counters, refused, COUNTER_TOTAL, "listener_clients_refused_total", "Clients that were turned away"),
    LINE(counters, ends, COUNTER_BY_REASON, "listener_clients_ended_total",
         "Clients that have gone or were turned away, by reason"),
    LINE(counters, bytes_from_clients, COUNTER_TOTAL, "listener_received_bytes_total",
         "Bytes that came from clients"),
    LINE(counters, bytes_to_clients, COUNTER_TOTAL, "listener_sent_bytes_total",
         "Bytes that were written to clients"),
    LINE(counters, requests, COUNTER_TOTAL, "listener_requests_total",
         "Requests that have ended, answered or failed (shared modes)"),
    LINE(counters, answered, COUNTER_TOTAL, "listener_requests_answered_total",
         "Requests that were answered (shared modes)"),
    LINE(counters, failures, COUNTER_BY_REASON, "listener_requests_failed_total",
         "Requests that were not answered, by reason (shared modes)"),
    LINE(counters, wait, COUNTER_TIMES, "listener_wait_seconds",
         "Time in the queue for a target connection: of requests; in proxy mode, of clients"),
};

static const struct counter target_gauges[] = {
    LINE(target_gauges, usable, COUNTER_GAUGE, "target_usable", "1 while the target is up, or untried"),
    LINE(target_gauges, connections, COUNTER_GAUGE, "target_connections",
         "Connections to the target, attempts among them"),
    LINE(target_gauges, in_flight, COUNTER_GAUGE, "target_in_flight",
         "Requests at its connections; in proxy mode, clients"),
};

static const struct counter target_counters[] = {
    LINE(target_counters, opened, COUNTER_TOTAL, "target_connections_opened_total",
         "Connections that were made"),
    LINE(target_counters, connect_failures, COUNTER_BY_REASON, "target_connections_failed_total",
         "Attempts to connect that failed, and connections that were useless, by reason"),
    LINE(target_counters, closed, COUNTER_BY_REASON, "target_connections_closed_total",
         "Connections that have ended, by reason (shared modes)"),
    LINE(target_counters, downs, COUNTER_TOTAL, "target_downs_total", "How often the target went down"),
    LINE(target_counters, bytes_sent, COUNTER_TOTAL, "target_sent_bytes_total",
         "Bytes that were written to the target"),
    LINE(target_counters, bytes_received, COUNTER_TOTAL, "target_received_bytes_total",
         "Bytes that came from the target"),
    LINE(target_counters, answered, COUNTER_TOTAL, "target_requests_answered_total",
         "Requests that the target has answered (shared modes)"),
    LINE(target_counters, failures, COUNTER_BY_REASON, "target_requests_failed_total",
         "Requests that were sent to the target and not answered, by reason (shared modes)"),
    LINE(target_counters, discarded, COUNTER_TOTAL, "target_messages_discarded_total",
         "Messages of the target that answered no request, such as late answers, and were thrown away"),
    LINE(target_counters, connect, COUNTER_TIMES, "target_connect_seconds",
         "Time to connect, looking the name up included"),
    LINE(target_counters, service, COUNTER_TIMES, "target_service_seconds",
         "Time from sending a request to the end of its answer (shared modes)"),
};

#define GROUP(lines)                                                                                         \
    {                                                                                                        \
        lines, sizeof(lines) / sizeof(lines)[0]                                                              \
    }

const struct counter *counters_of(enum counter_group group, size_t *count)
{
    static const struct {
        const struct counter *lines;
        size_t count;
    } groups[GROUP_COUNT] = {
        [GROUP_LISTENER_GAUGES] = GROUP(listener_gauges),
        [GROUP_LISTENER] = GROUP(listener_counters),
        [GROUP_TARGET_GAUGES] = GROUP(target_gauges),
        [GROUP_TARGET] = GROUP(target_counters),
    };
    *count = groups[group].count;
    return groups[group].lines;
}

uint64_t counters_sum(const uint64_t *by_reason)
{
    uint64_t sum = 0;
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
        sum += by_reason[reason];
    return sum;
}
