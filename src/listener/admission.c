/* Who gets in: address lists, limits of how many there are, in all and from one address, and modules. */
#include "listener/listener_parts.h"

#include "base/log.h"

#include <search.h>
#include <stdlib.h>
#include <unistd.h>

/* How long refusals are counted before they are logged again. */
#define REFUSALS_PAUSE_SECONDS 1.0

/* Clients of one address. In the tree while there is at least one. */
struct address_count {
    struct address address;
    int64_t clients;
};

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

static int admission_compare(const void *a, const void *b)
{
    return address_compare_host(&((const struct address_count *)a)->address,
                                &((const struct address_count *)b)->address);
}

static bool admission_counts(const struct listener_settings *settings)
{
    return settings->max_connections_per_address >= 0;
}

static struct address_count *admission_find(const struct listener *listener, const struct address *client)
{
    struct address_count key = { .address = *client };
    struct address_count **found = tfind(&key, &listener->addresses, admission_compare);
    return found == NULL ? NULL : *found;
}

/* Counts one more client of its address, if there are fewer than `limit`. */
static enum reason admission_count_below(struct listener *listener, const struct address *client,
                                         int64_t limit)
{
    if (!admission_counts(listener->settings) || client->family == AF_UNIX)
        return REASON_NONE;
    struct address_count *count = admission_find(listener, client);
    if (count == NULL) {
        count = calloc(1, sizeof *count);
        if (count == NULL)
            return REASON_INTERNAL;
        count->address = *client;
        if (tsearch(count, &listener->addresses, admission_compare) == NULL) {
            free(count);
            return REASON_INTERNAL;
        }
    } else if (count->clients >= limit) {
        return REASON_OVER_LIMIT;
    }
    count->clients++;
    return REASON_NONE;
}

void admission_leave(struct listener *listener, const struct address *client)
{
    listener->clients--;
    if (!admission_counts(listener->settings) || client->family == AF_UNIX)
        return;
    struct address_count *count = admission_find(listener, client);
    if (count == NULL || --count->clients > 0) /* NULL: memory was short when it was counted anew */
        return;
    tdelete(count, &listener->addresses, admission_compare);
    free(count);
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

static enum reason admission_enter(struct listener *listener, const struct address *client)
{
    const struct listener_settings *settings = listener->settings;
    if (admission_blocks(listener, client))
        return REASON_BLOCKED;
    if (settings->max_connections >= 0 && listener->clients >= settings->max_connections)
        return REASON_OVER_LIMIT;
    enum reason reason = admission_count_below(listener, client, settings->max_connections_per_address);
    listener->clients += reason == REASON_NONE;
    return reason;
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
    admission_count_below(data, client, INT64_MAX);
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
    if (admission_counts(listener->settings) != admission_counts(before)) {
        tdestroy(listener->addresses, free);
        listener->addresses = NULL;
        admission_filter(listener, admission_count);
    }
    admission_filter(listener, admission_blocks);
}
