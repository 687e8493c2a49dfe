#include "events/events.h"

#include "base/log.h"
#include "events/events_module.h"
#include "protocol/describe.h"
#include "protocol/observe/observer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In shared modes: from how many of its first bytes a request's text is made, and its answer's error. */
#define TEXT_BYTES  ((size_t)16384)
#define ERROR_BYTES ((size_t)512)

/* Bytes of a text that fit a line of the request log, escaped. */
#define LOG_TEXT_MAX 2048

/* Owns its modules. */
struct events {
    int references;
    size_t count;
    struct module modules[];
};

struct events_listener {
    int references;
    struct events *events;
    struct listener_settings *settings;
    bool wants_exchanges;
    bool wants_requests; /* a module has `request` */
    size_t request_bytes;
    size_t response_bytes;
    size_t parameter_bytes;
    size_t count;
    struct module *modules[]; /* those of `events` that are for this listener */
};

struct events_client {
    struct events_listener *listener;
    const struct turn *turn;
    struct proximux_client public; /* its `data` belongs to the module that is called */
    struct observer *observer;     /* proxy mode, if a module wants exchanges */
    char *target;                  /* proxy mode; NULL: none yet */
    int64_t accepted;              /* microseconds */
    int64_t connected;             /* likewise, proxy mode */
    enum reason reason;            /* of the end of outstanding exchanges */
    char address[ADDRESS_TEXT_SIZE];
    char log_address[ADDRESS_TEXT_SIZE];
    void *data[]; /* one a module */
};

struct events *events_load(struct config *config)
{
    const struct parsed_configuration *parsed = config->parsed;
    if (parsed == NULL || parsed->is_unreadable)
        return NULL;
    struct events *events = calloc(1, sizeof *events + parsed->module_count * sizeof(struct module));
    if (events == NULL) {
        problem_memory(config->problems);
    } else {
        events->references = 1;
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
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (!module_is_equal(&a->modules[i], &b->modules[i]))
            return false;
    return a->count == b->count;
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
    listener->wants_exchanges |= wants_exchanges;
    listener->wants_requests |= functions->request != NULL;
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
    struct events_listener *listener = calloc(1, sizeof *listener + events->count * sizeof(struct module *));
    *result = NULL;
    if (listener == NULL)
        return false;
    listener->references = 1;
    listener->events = events_reference(events);
    listener->settings = listener_settings_reference(settings);
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

void events_listener_release(struct events_listener *listener)
{
    if (listener == NULL || --listener->references > 0)
        return;
    events_release(listener->events);
    listener_settings_release(listener->settings);
    free(listener);
}

size_t events_request_bytes(const struct events_listener *listener)
{
    return listener != NULL && listener->wants_exchanges ? events_larger(listener->request_bytes, TEXT_BYTES)
                                                         : 0;
}

size_t events_response_bytes(const struct events_listener *listener)
{
    return listener != NULL && listener->wants_exchanges
               ? events_larger(listener->response_bytes, ERROR_BYTES)
               : 0;
}

/* ---- Exchanges ---- */

enum exchange_event { EXCHANGE_REQUEST, EXCHANGE_RESPONSE, EXCHANGE_FAILED };

/* One line an exchange. The text comes last, because the end of a long line is cut off. */
static void request_log_write(const struct proximux_client *client, const struct proximux_exchange *exchange)
{
    char text[LOG_TEXT_MAX + 1];
    size_t length = exchange->text_length < LOG_TEXT_MAX ? exchange->text_length : LOG_TEXT_MAX;
    if (!log_enabled(LOG_KIND_INFO))
        return;
    for (size_t i = 0; i < length; i++) /* a zero would end it */
        text[i] = exchange->text[i] != '\0' ? exchange->text[i] : ' ';
    text[length] = '\0';
    const char *outcome = exchange->reason[0] != '\0'  ? exchange->reason
                          : exchange->error[0] != '\0' ? "answered with an error"
                                                       : "answered";
    log_info(
        client->listener,
        "request %llu of client %llu from %s to %s: %s%s%s, %llu bytes, answer %llu bytes, waited %.3f ms, "
        "served %.3f ms: %s%s%s%s",
        (unsigned long long)exchange->number, (unsigned long long)client->number, client->log_address,
        exchange->target[0] != '\0' ? exchange->target : "no target", outcome,
        exchange->error[0] != '\0' ? " " : "", exchange->error, (unsigned long long)exchange->request_size,
        (unsigned long long)exchange->response_size, (double)exchange->wait / 1000.0,
        (double)exchange->service / 1000.0, exchange->kind, exchange->kind[0] != '\0' ? " " : "", text,
        exchange->text_is_cut || length < exchange->text_length ? "..." : "");
}

static struct proximux_client *client_for(struct events_client *client, size_t i)
{
    client->public.data = client->data[i];
    return &client->public;
}

/* Calls all modules. Each gets as many of `bytes` as it has asked for. */
static void client_call_all(struct events_client *client, struct proximux_exchange *exchange,
                            struct slice bytes, enum exchange_event event)
{
    const struct events_listener *listener = client->listener;
    for (size_t i = 0; i < listener->count; i++) {
        const struct proximux_module *module = listener->modules[i]->module;
        size_t wanted = event == EXCHANGE_REQUEST    ? module->request_bytes
                        : event == EXCHANGE_RESPONSE ? module->response_bytes
                                                     : 0;
        void (*call)(void *, struct proximux_client *, const struct proximux_exchange *) =
            event == EXCHANGE_REQUEST    ? module->request
            : event == EXCHANGE_RESPONSE ? module->response
                                         : module->failed;
        if (call == NULL)
            continue;
        exchange->length = wanted < bytes.length ? wanted : bytes.length;
        exchange->bytes = wanted > 0 ? bytes.bytes : NULL;
        call(listener->modules[i]->instance, client_for(client, i), exchange);
        client->data[i] = client->public.data;
    }
    if (event != EXCHANGE_REQUEST && listener->settings->request_log)
        request_log_write(&client->public, exchange);
}

/* ---- Proxy mode ---- */

static void client_observed(struct events_client *client, const struct observation *observation,
                            enum exchange_event event)
{
    char error[OBSERVE_ERROR_MAX + 1] = "";
    if (observation->error.length > 0)
        memcpy(error, observation->error.bytes, observation->error.length);
    /* The wait of a request that came before its client had a connection ends with the connection. */
    int64_t now = client->turn->now;
    int64_t sent = client->target == NULL ? now : client->connected;
    if (sent < observation->requested)
        sent = observation->requested;
    struct proximux_exchange exchange = {
        .number = observation->number,
        .target = client->target != NULL ? client->target : "",
        .text = observation->text.bytes,
        .text_length = observation->text.length,
        .text_is_cut = observation->is_truncated,
        .kind = observation->kind,
        .parameters = observation->parameters.bytes,
        .parameters_length = observation->parameters.length,
        .parameters_are_cut = observation->parameters_are_cut,
        .request_size = observation->request_bytes,
        .response_size = observation->response_bytes,
        .wait = sent - observation->requested,
        .service = now - sent,
        .error = error,
        .reason = event == EXCHANGE_FAILED ? reason_name(client->reason) : "",
    };
    client_call_all(client, &exchange,
                    event == EXCHANGE_REQUEST ? observation->request : observation->response, event);
}

static void client_observed_request(void *owner, const struct observation *observation)
{
    const struct events_client *client = owner;
    if (client->listener->wants_requests)
        client_observed(owner, observation, EXCHANGE_REQUEST);
}

static void client_observed_response(void *owner, const struct observation *observation)
{
    client_observed(owner, observation, EXCHANGE_RESPONSE);
}

static void client_observed_failure(void *owner, const struct observation *observation)
{
    client_observed(owner, observation, EXCHANGE_FAILED);
}

static void client_lost_track(void *owner, const char *why)
{
    const struct events_client *client = owner;
    log_debug(client->public.listener, "exchanges of client %llu from %s are not followed any more: %s",
              (unsigned long long)client->public.number, client->log_address, why);
}

void events_client_connected(struct events_client *client, const char *target)
{
    free(client->target);
    client->target = strdup(target); /* NULL, as for a client without a target, when memory is short */
    client->connected = client->turn->now;
}

bool events_client_follows(const struct events_client *client)
{
    return client->observer != NULL;
}

void events_client_bytes(struct events_client *client, const char *bytes, size_t length)
{
    if (client->observer != NULL)
        observer_client_bytes(client->observer, bytes, length, client->turn->now);
}

void events_target_bytes(struct events_client *client, const char *bytes, size_t length)
{
    if (client->observer != NULL)
        observer_target_bytes(client->observer, bytes, length, client->turn->now);
}

void events_target_ended(struct events_client *client)
{
    if (client->observer != NULL)
        observer_target_end(client->observer, client->turn->now);
}

/* ---- Shared modes ---- */

static void client_exchange(struct events_client *client, const struct events_exchange *exchange,
                            enum exchange_event event)
{
    const struct protocol_settings *settings = &client->listener->settings->protocol;
    struct buffer text = { 0 };
    struct buffer error = { 0 };
    describe_request(settings, exchange->request, &text);
    size_t length = text.length;
    buffer_append(&text, "", 1);
    if (event == EXCHANGE_RESPONSE && settings->protocol->describe_error != NULL)
        settings->protocol->describe_error(settings, exchange->response, &error);
    buffer_append(&error, "", 1);
    struct proximux_exchange public = {
        .number = exchange->number,
        .target = exchange->target != NULL ? exchange->target : "",
        .text = buffer_bytes(&text),
        .text_length = length,
        .text_is_cut = describe_is_cut(settings, exchange->request, exchange->request_bytes),
        .kind = "",
        .parameters = "",
        .request_size = exchange->request_bytes,
        .response_size = exchange->response_bytes,
        .wait = exchange->wait,
        .service = exchange->service,
        .error = buffer_bytes(&error),
        .reason = event == EXCHANGE_FAILED ? reason_name(exchange->reason) : "",
    };
    if (!text.failed && !error.failed)
        client_call_all(client, &public, event == EXCHANGE_REQUEST ? exchange->request : exchange->response,
                        event);
    buffer_free(&text);
    buffer_free(&error);
}

void events_exchange_requested(struct events_client *client, const struct events_exchange *exchange)
{
    if (client->listener->wants_requests)
        client_exchange(client, exchange, EXCHANGE_REQUEST);
}

void events_exchange_ended(struct events_client *client, const struct events_exchange *exchange)
{
    if (client->listener->wants_exchanges)
        client_exchange(client, exchange, exchange->answered ? EXCHANGE_RESPONSE : EXCHANGE_FAILED);
}

/* ---- From connected to closed ---- */

static void client_free(struct events_client *client)
{
    observer_destroy(client->observer);
    events_listener_release(client->listener);
    free(client->target);
    free(client);
}

/* Calls `closed` of the first `count` modules. */
static void client_call_closed(struct events_client *client, size_t count,
                               const struct proximux_closing *closing)
{
    for (size_t i = 0; i < count; i++) {
        const struct module *module = client->listener->modules[i];
        if (module->module->closed != NULL)
            module->module->closed(module->instance, client_for(client, i), closing);
    }
}

/* Whether all modules accept the client. If one does not, `closed` of those before it is called. */
static bool client_is_let_in(struct events_client *client)
{
    const struct proximux_closing closing = { .reason = reason_name(REASON_MODULE) };
    for (size_t i = 0; i < client->listener->count; i++) {
        const struct module *module = client->listener->modules[i];
        if (module->module->connected == NULL)
            continue;
        if (!module->module->connected(module->instance, client_for(client, i))) {
            client_call_closed(client, i, &closing);
            return false;
        }
        client->data[i] = client->public.data;
    }
    return true;
}

static bool client_observe(struct events_client *client)
{
    static const struct observer_hooks hooks = { client_observed_request, client_observed_response,
                                                 client_observed_failure, client_lost_track };
    const struct events_listener *listener = client->listener;
    const struct observer_settings settings = {
        .protocol = &listener->settings->protocol,
        .request_limit = listener->request_bytes,
        .response_limit = listener->response_bytes,
        .parameter_limit = listener->parameter_bytes,
    };
    if (listener->settings->mode != MODE_PROXY || !listener->wants_exchanges)
        return true;
    client->observer = observer_create(&settings, &hooks, client);
    return client->observer != NULL;
}

struct events_client *events_client_open(struct events_listener *listener, const struct turn *turn,
                                         uint64_t number, const struct address *address, enum reason *reason)
{
    struct events_client *client = calloc(1, sizeof *client + listener->count * sizeof(void *));
    *reason = REASON_INTERNAL;
    if (client == NULL)
        return NULL;
    client->listener = listener;
    listener->references++;
    client->reason = REASON_PROTOCOL_ERROR; /* of exchanges that can't be followed any more */
    client->turn = turn;
    client->accepted = turn->now;
    client->public = (struct proximux_client){
        .number = number,
        .listener = listener->settings->name,
        .mode = settings_mode_name(listener->settings->mode),
        .protocol = listener->settings->protocol.protocol->name,
        .address = address_print(address, client->address),
        .log_address = address_print_client(address, client->log_address),
    };
    if (client_observe(client)) {
        *reason = REASON_MODULE;
        if (client_is_let_in(client))
            return client;
    }
    client_free(client);
    return NULL;
}

uint64_t events_client_number(const struct events_client *client)
{
    return client->public.number;
}

void events_client_close(struct events_client *client, enum reason reason, uint64_t bytes_from_client,
                         uint64_t bytes_to_client)
{
    const struct proximux_closing closing = {
        .reason = reason_name(reason),
        .bytes_from_client = bytes_from_client,
        .bytes_to_client = bytes_to_client,
        .duration = client->turn->now - client->accepted,
    };
    client->reason = reason;
    if (client->observer != NULL)
        observer_end(client->observer);
    client_call_closed(client, client->listener->count, &closing);
    client_free(client);
}
