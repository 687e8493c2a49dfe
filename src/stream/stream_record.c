/* What the log, the counters and modules get to know of each request. */
#include "base/log.h"
#include "stream/stream_parts.h"

static void stream_record_failure(const struct stream_client *client, const struct mux_ending *ending)
{
    const struct pool_connection *connection = ending->connection;
    log_debug(client->service->settings->name,
              "request of client %llu to %s failed: %s, %llu bytes, waited %lld ms, then %lld ms",
              (unsigned long long)client->number,
              connection != NULL ? connection->target->settings->name : "no target",
              reason_name(ending->reason), (unsigned long long)ending->request_bytes,
              (long long)(ending->wait / 1000), (long long)(ending->service / 1000));
}

/* A request that was answered here has not waited, and had no target. */
static void stream_record_counts(struct counters *counters, const struct mux_ending *ending)
{
    const struct pool_connection *connection = ending->connection;
    counters->requests++;
    if (ending->answered)
        counters->answered++;
    else
        counters->failures[ending->reason]++;
    if (connection != NULL || ending->wait > 0)
        histogram_record(&counters->wait, ending->wait);
    if (connection == NULL)
        return;
    struct target_counters *of_target = connection->target->counters;
    if (ending->answered) {
        of_target->answered++;
        histogram_record(&of_target->service, ending->service);
    } else {
        of_target->failures[ending->reason]++;
    }
}

void stream_record_request(void *, const struct mux_requested *request)
{
    const struct stream_client *client = request->client;
    if (client->events == NULL)
        return;
    const struct events_exchange exchange = {
        .number = request->number,
        .request = request->request_head,
        .request_bytes = request->request_bytes,
    };
    events_exchange_requested(client->events, &exchange);
}

static void stream_record_event(const struct stream_client *client, const struct pool_connection *connection,
                                const struct mux_ending *ending)
{
    const struct events_exchange exchange = {
        .number = ending->number,
        .target = connection != NULL ? connection->target->settings->name : NULL,
        .request = ending->request_head,
        .response = ending->answer_head,
        .request_bytes = ending->request_bytes,
        .response_bytes = ending->given_bytes,
        .answered = ending->answered,
        .reason = ending->reason,
        .wait = ending->wait,
        .service = ending->service,
    };
    events_exchange_ended(client->events, &exchange);
}

void stream_record_end(void *, const struct mux_ending *ending)
{
    struct stream_client *client = ending->client;
    const struct stream_service *service = client->service;
    struct pool_connection *connection = ending->connection;
    client->requests++;
    stream_record_counts(service->owner.counters, ending);
    if (client->events != NULL && ending->number > 0) /* 0: its bytes were not kept, after a reload */
        stream_record_event(client, connection, ending);
    if (ending->answered)
        return;
    if (ending->reason == REASON_INTERNAL)
        shortage_note(&service->hub->runtime->shortage, service->settings->name);
    if (log_enabled(LOG_KIND_DEBUG))
        stream_record_failure(client, ending);
}
