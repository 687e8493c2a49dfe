#include "server/listeners.h"

#include "base/log.h"

#include <stdlib.h>

size_t listeners_clients(const struct listeners *listeners)
{
    size_t clients = 0;
    for (size_t i = 0; i < listeners->count; i++)
        clients += listener_clients(listeners->running[i]);
    for (size_t i = 0; i < listeners->leaving_count; i++)
        clients += listener_clients(listeners->leaving[i]);
    return clients;
}

bool listeners_are_empty(const struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        if (!listener_is_empty(listeners->running[i]))
            return false;
    for (size_t i = 0; i < listeners->leaving_count; i++)
        if (!listener_is_empty(listeners->leaving[i]))
            return false;
    return true;
}

void listeners_drain(struct listeners *listeners, void (*begin)(struct listener *listener))
{
    for (size_t i = 0; i < listeners->count; i++)
        begin(listeners->running[i]);
    for (size_t i = 0; i < listeners->leaving_count; i++)
        listener_drain(listeners->leaving[i]);
}

void listeners_close(struct listeners *listeners, enum reason reason)
{
    for (size_t i = 0; i < listeners->count; i++)
        listener_close(listeners->running[i], reason);
    for (size_t i = 0; i < listeners->leaving_count; i++)
        listener_close(listeners->leaving[i], reason);
}

static void log_totals(const struct listener *listener)
{
    const struct counters *counters = listener_get_counters(listener);
    log_info(listener_get_settings(listener)->name,
             "served %llu clients, refused %llu, %llu bytes from clients, %llu bytes to clients",
             (unsigned long long)counters->accepted, (unsigned long long)counters->refused,
             (unsigned long long)counters->bytes_from_clients,
             (unsigned long long)counters->bytes_to_clients);
    if (listener_get_settings(listener)->mode != MODE_PROXY)
        log_info(listener_get_settings(listener)->name, "%llu requests ended, %llu of them with their answer",
                 (unsigned long long)counters->requests, (unsigned long long)counters->answered);
}

void listeners_sweep(struct listeners *listeners)
{
    size_t left = 0;
    for (size_t i = 0; i < listeners->leaving_count; i++) {
        struct listener *listener = listeners->leaving[i];
        if (!listener_is_empty(listener)) {
            listeners->leaving[left++] = listener;
            continue;
        }
        log_totals(listener);
        listener_destroy(listener);
    }
    listeners->leaving_count = left;
}

void listeners_log_totals(const struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->leaving_count; i++)
        log_totals(listeners->leaving[i]);
    for (size_t i = 0; i < listeners->count; i++)
        log_totals(listeners->running[i]);
}

void listeners_destroy(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        listener_destroy(listeners->running[i]);
    for (size_t i = 0; i < listeners->leaving_count; i++)
        listener_destroy(listeners->leaving[i]);
    free(listeners->running);
    free(listeners->leaving);
    *listeners = (struct listeners){ 0 };
}
