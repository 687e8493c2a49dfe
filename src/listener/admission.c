/* Who gets in: address lists, limits of how many there are and come, in all and from one address, and modules. */
#include "listener/listener_parts.h"

#include "base/log.h"

#include <unistd.h>

/* How long refusals are counted before they are logged again. */
#define REFUSALS_PAUSE_SECONDS 1.0

size_t listener_descriptors_each(const struct listener *listener)
{
    return listener->current->service->functions->descriptors_per_client;
}

size_t listener_clients(const struct listener *listener)
{
    return listener->header_waits + (size_t)listener->clients;
}

bool listener_is_empty(const struct listener *listener)
{
    return listener->bound.count == 0 && list_empty(&listener->closing) && listener_clients(listener) == 0;
}

void listener_check_emptied(struct listener *listener)
{
    if (listener->is_draining && listener_is_empty(listener))
        listener->emptied(listener->owner);
}

/* ---- Clients per address ---- */

/* Whether a client like this is counted with the others of its address. */
static bool admission_counts(const struct listener_settings *settings, const struct address *client)
{
    return client->family != AF_UNIX &&
           (settings->max_connections_per_address >= 0 || settings->connection_rate_per_address > 0);
}

static int64_t admission_now(const struct listener *listener)
{
    return listener->runtime->turn.now;
}

/* Counts one more client of its address. NULL when memory is short. */
static struct quota *admission_join(struct listener *listener, const struct address *client)
{
    return quotas_join(&listener->addresses, address_host(client), admission_now(listener));
}

void admission_leave(struct listener *listener, const struct address *client)
{
    listener->clients--;
    if (!admission_counts(listener->settings, client))
        return;
    struct quota *quota = quotas_find(&listener->addresses, address_host(client));
    if (quota != NULL && quota->clients > 0) /* else memory was short when it was counted anew */
        quotas_leave(&listener->addresses, quota, admission_now(listener));
}

/* ---- Refusals ---- */

/* Logs refusals that were counted during the pause. Returns whether there were any. */
static bool admission_log_unsaid(struct listener *listener)
{
    bool has_any = false;
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
        if (listener->unsaid[reason] == 0)
            continue;
        log_info(listener->settings->name, "%llu more clients refused: %s",
                 (unsigned long long)listener->unsaid[reason], reason_name((enum reason)reason));
        listener->unsaid[reason] = 0;
        has_any = true;
    }
    return has_any;
}

static void admission_pause_ended(struct ev_loop *, ev_timer *watcher, int)
{
    struct listener *listener = watcher->data;
    if (admission_log_unsaid(listener))
        listener_start_timer(listener, watcher, REFUSALS_PAUSE_SECONDS);
}

void admission_init(struct listener *listener)
{
    ev_init(&listener->unsaid_pause, admission_pause_ended);
    listener->unsaid_pause.data = listener;
    quotas_init(&listener->addresses, sizeof(struct quota));
}

void admission_free(struct listener *listener)
{
    quotas_free(&listener->addresses);
}

void admission_stop(struct listener *listener)
{
    admission_log_unsaid(listener);
    ev_timer_stop(listener->runtime->loop, &listener->unsaid_pause);
}

void admission_refuse(struct listener *listener, int descriptor, const struct address *client,
                      enum reason reason)
{
    char text[ADDRESS_TEXT_SIZE];
    close(descriptor);
    listener->counters.refused++;
    listener->counters.ends[reason]++;
    if (ev_is_active(&listener->unsaid_pause)) {
        listener->unsaid[reason]++;
    } else {
        log_info(listener->settings->name, "client %s refused: %s", address_print_client(client, text),
                 reason_name(reason));
        listener_start_timer(listener, &listener->unsaid_pause, REFUSALS_PAUSE_SECONDS);
    }
    if (reason == REASON_INTERNAL)
        shortage_note(&listener->runtime->shortage, listener->settings->name);
    descriptors_return(&listener->runtime->descriptors, listener_descriptors_each(listener));
}

/* ---- Getting in ---- */

static bool admission_blocks(void *data, const struct address *client)
{
    const struct listener_settings *settings = ((const struct listener *)data)->settings;
    if (client->family == AF_UNIX)
        return false; /* no address that a list could hold; file permissions are its gate */
    if (settings->blocklist != NULL && access_list_contains(settings->blocklist, client))
        return true;
    return settings->allowlist != NULL && !access_list_contains(settings->allowlist, client);
}

/* Whether the limits for each address let it in, which counts it. */
static enum reason admission_enter_address(struct listener *listener, const struct address *client)
{
    const struct listener_settings *settings = listener->settings;
    int64_t most = settings->max_connections_per_address, rate = settings->connection_rate_per_address;
    int64_t now = admission_now(listener);
    enum reason reason = REASON_NONE;
    if (!admission_counts(settings, client))
        return REASON_NONE;
    struct quota *quota = admission_join(listener, client);
    if (quota == NULL)
        return REASON_INTERNAL;
    if (most >= 0 && quota->clients > most)
        reason = REASON_OVER_LIMIT;
    else if (rate_tokens(&quota->rate, rate, now) == 0)
        reason = REASON_OVER_RATE;
    else
        rate_take(&quota->rate, rate, now);
    if (reason != REASON_NONE)
        quotas_leave(&listener->addresses, quota, now);
    return reason;
}

static enum reason admission_enter(struct listener *listener, const struct address *client)
{
    const struct listener_settings *settings = listener->settings;
    int64_t now = admission_now(listener);
    if (admission_blocks(listener, client))
        return REASON_BLOCKED;
    if (settings->max_connections >= 0 && listener->clients >= settings->max_connections)
        return REASON_OVER_LIMIT;
    if (rate_tokens(&listener->rate, settings->connection_rate, now) == 0)
        return REASON_OVER_RATE;
    enum reason reason = admission_enter_address(listener, client);
    if (reason != REASON_NONE)
        return reason;
    rate_take(&listener->rate, settings->connection_rate, now);
    listener->clients++;
    return REASON_NONE;
}

static void admission_set_options(const struct listener *listener, int descriptor)
{
    const struct keep_alive_settings *keep_alive = &listener->settings->client_keep_alive;
    socket_no_delay(descriptor);
    if (keep_alive->enabled)
        socket_keep_alive(descriptor, keep_alive->idle, keep_alive->interval, keep_alive->count);
}

void admission_admit(struct listener *listener, int descriptor, const struct address *sender,
                     const struct address *client, const struct address *destination)
{
    struct service *service = listener->current->service;
    struct events_client *events = NULL;
    enum reason reason = admission_enter(listener, client);
    if (reason != REASON_NONE) {
        admission_refuse(listener, descriptor, client, reason);
        return;
    }
    if (sender->family != AF_UNIX)
        admission_set_options(listener, descriptor);
    if (listener->events != NULL) {
        events = events_client_open(listener->events, &listener->runtime->turn, ++listener->runtime->clients,
                                    client, &reason);
        if (events == NULL) {
            admission_leave(listener, client);
            admission_refuse(listener, descriptor, client, reason);
            return;
        }
    }
    listener->counters.accepted++;
    service->functions->accept(service, &(struct service_client){ descriptor, client, destination, events });
}

/* ---- Other settings ---- */

/* A filter that counts clients, and ends none. */
static bool admission_count(void *data, const struct address *client)
{
    struct listener *listener = data;
    if (admission_counts(listener->settings, client))
        admission_join(listener, client);
    return false;
}

static void admission_filter(struct listener *listener, service_filter *filter)
{
    list_foreach(&listener->generations, node)
    {
        struct service *service = list_entry(node, struct generation, node)->service;
        service->functions->filter(service, filter, listener);
    }
}

void admission_change(struct listener *listener, const struct listener_settings *before)
{
    static const struct address any = { .family = AF_INET };
    if (admission_counts(listener->settings, &any) != admission_counts(before, &any)) {
        quotas_free(&listener->addresses);
        admission_filter(listener, admission_count);
    }
    admission_filter(listener, admission_blocks);
}
