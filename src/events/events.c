#include "events/events.h"

#include "events/events_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In shared modes: from how many of its first bytes a request's text is made, and its answer's error. */
#define TEXT_BYTES  ((size_t)16384)
#define ERROR_BYTES ((size_t)512)

struct events *events_load(struct config *config)
{
    const struct parsed_configuration *parsed = config->parsed;
    if (parsed == NULL || parsed->is_unreadable)
        return NULL;
    struct events *events = calloc(1, sizeof *events);
    if (events != NULL) {
        events->references = 1;
        events->modules = calloc(parsed->module_count + 1, sizeof *events->modules);
    }
    if (events == NULL || events->modules == NULL) {
        problem_memory(config->problems);
    } else {
        for (size_t i = 0; i < parsed->module_count; i++) /* all, so that every error is reported */
            module_load(&events->modules[events->count++], parsed, &parsed->modules[i]);
    }
    config->errors = config->problems->errors;
    if (config->errors == 0)
        return events;
    events_release(events);
    return NULL;
}

bool events_start(struct events *events, char *error, size_t error_size)
{
    for (size_t i = 0; i < events->count; i++)
        if (!module_start(&events->modules[i], error, error_size))
            return false; /* the last release stops those that were started */
    return true;
}

bool events_are_equal(const struct events *a, const struct events *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = module_is_equal(&a->modules[i], &b->modules[i]);
    return equal;
}

struct events *events_reference(struct events *events)
{
    events->references++;
    return events;
}

void events_release(struct events *events)
{
    if (events == NULL || --events->references > 0)
        return;
    for (size_t i = events->count; i > 0; i--)
        module_close(&events->modules[i - 1]);
    free(events->modules);
    free(events);
}

/* ---- A listener ---- */

static size_t events_larger(size_t a, size_t b)
{
    return a > b ? a : b;
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
        listener->request_bytes = events_larger(listener->request_bytes, functions->request_bytes);
    if (functions->response != NULL)
        listener->response_bytes = events_larger(listener->response_bytes, functions->response_bytes);
    if (wants_exchanges)
        listener->parameter_bytes = events_larger(listener->parameter_bytes, functions->parameter_bytes);
}

bool events_listener_create(struct events *events, struct listener_settings *settings,
                            struct events_listener **result)
{
    struct events_listener *listener = calloc(1, sizeof *listener);
    *result = NULL;
    if (listener == NULL)
        return false;
    listener->references = 1;
    listener->events = events_reference(events);
    listener->settings = listener_settings_reference(settings);
    listener->protocol = settings->protocol.protocol->name;
    listener->modules = calloc(events->count + 1, sizeof(struct module *));
    if (listener->modules == NULL) {
        events_listener_release(listener);
        return false;
    }
    for (size_t i = 0; i < events->count; i++)
        if (module_is_for(&events->modules[i], settings->name))
            listener_add(listener, &events->modules[i]);
    listener->wants_exchanges = listener->wants_exchanges || settings->request_log;
    if (listener->count > 0 || settings->request_log)
        *result = listener;
    else
        events_listener_release(listener);
    return true;
}

struct events_listener *events_listener_reference(struct events_listener *listener)
{
    if (listener != NULL)
        listener->references++;
    return listener;
}

void events_listener_release(struct events_listener *listener)
{
    if (listener == NULL || --listener->references > 0)
        return;
    events_release(listener->events);
    listener_settings_release(listener->settings);
    free(listener->modules);
    free(listener);
}

size_t events_request_bytes(const struct events_listener *listener)
{
    if (listener == NULL || !listener->wants_exchanges)
        return 0;
    return events_larger(listener->request_bytes, TEXT_BYTES);
}

size_t events_response_bytes(const struct events_listener *listener)
{
    if (listener == NULL || !listener->wants_exchanges)
        return 0;
    return events_larger(listener->response_bytes, ERROR_BYTES);
}
