#include "events/events.h"

#include "events/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In shared modes: from how many of its first bytes a request's text is made, and its answer's error. */
#define TEXT_BYTES  ((size_t)16384)
#define ERROR_BYTES ((size_t)512)

static void events_release(struct events *events)
{
    if (--events->references > 0)
        return;
    for (size_t i = events->count; i > 0; i--)
        module_close(&events->modules[i - 1]);
    free(events->modules);
    free(events);
}

/* ---- A listener ---- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static const char *protocol_name(const struct listener_settings *settings)
{
    const struct protocol *protocol = settings->protocol.protocol;
    if (settings->protocol.follower != NULL)
        return protocol_follower_name(settings->protocol.follower);
    return protocol != NULL ? protocol->name : "raw";
}

static void listener_add(struct events_listener *listener, struct module *module)
{
    const struct proximux_module *functions = module->module;
    bool wants_exchanges =
        functions->request != NULL || functions->response != NULL || functions->failed != NULL;
    listener->modules[listener->count++] = module;
    listener->wants_exchanges = listener->wants_exchanges || wants_exchanges;
    listener->wants_requests = listener->wants_requests || functions->request != NULL;
    if (functions->request != NULL)
        listener->request_bytes = larger(listener->request_bytes, functions->request_bytes);
    if (functions->response != NULL)
        listener->response_bytes = larger(listener->response_bytes, functions->response_bytes);
}

static void listener_free(struct events_listener *listener)
{
    events_release(listener->events);
    free(listener->modules);
    free(listener);
}

/* NULL when memory is short. */
static struct events_listener *listener_create(struct events *events,
                                               const struct listener_settings *settings)
{
    struct events_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return NULL;
    listener->events = events;
    events->references++;
    listener->protocol = protocol_name(settings);
    listener->wants_exchanges = settings->request_log;
    listener->modules = calloc(events->count + 1, sizeof(struct module *));
    if (listener->modules == NULL) {
        listener_free(listener);
        return NULL;
    }
    for (size_t i = 0; i < events->count; i++)
        if (module_is_for(&events->modules[i], settings->name))
            listener_add(listener, &events->modules[i]);
    return listener;
}

size_t events_request_bytes(const struct listener_settings *settings)
{
    const struct events_listener *listener = settings->events;
    if (listener == NULL || !listener->wants_exchanges)
        return 0;
    return larger(listener->request_bytes, TEXT_BYTES);
}

size_t events_response_bytes(const struct listener_settings *settings)
{
    const struct events_listener *listener = settings->events;
    if (listener == NULL || !listener->wants_exchanges)
        return 0;
    return larger(listener->response_bytes, ERROR_BYTES);
}

/* ---- A configuration ---- */

/* Gives each listener what is wanted of it. */
static bool events_attach(struct events *events, const struct settings *settings)
{
    for (size_t i = 0; i < settings->listener_count; i++) {
        struct listener_settings *listener = settings->listeners[i];
        listener->events = listener_create(events, listener);
        listener->events_free = listener_free;
        if (listener->events == NULL)
            return false;
        if (listener->events->count > 0 || listener->request_log)
            continue;
        listener_free(listener->events);
        listener->events = NULL;
    }
    return true;
}

static struct events *events_create(const struct written_configuration *written)
{
    struct events *events = calloc(1, sizeof *events);
    if (events == NULL)
        return NULL;
    events->references = 1;
    events->modules = calloc(written->module_count + 1, sizeof *events->modules);
    if (events->modules == NULL) {
        free(events);
        return NULL;
    }
    for (size_t i = 0; i < written->module_count; i++) /* all of them: every error is told */
        module_load(&events->modules[events->count++], written, &written->modules[i]);
    return events;
}

void events_load(struct config *config)
{
    const struct written_configuration *written = config->written;
    if (written == NULL || written->is_unreadable)
        return;
    struct events *events = events_create(written);
    if (events == NULL)
        problem_memory(config->problems);
    if (events != NULL && config->problems->errors == 0) {
        config->settings->events = events;
        config->settings->events_free = events_release;
        if (!events_attach(events, config->settings))
            problem_memory(config->problems);
    } else if (events != NULL) {
        events_release(events);
    }
    config->errors = config->problems->errors;
    if (config->errors == 0)
        return;
    settings_release(config->settings);
    config->settings = NULL;
}

bool events_start(const struct settings *settings, char *error, size_t error_size)
{
    const struct events *events = settings->events;
    for (size_t i = 0; events != NULL && i < events->count; i++)
        if (!module_start(&events->modules[i], error, error_size))
            return false;
    return true;
}
