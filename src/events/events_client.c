/* One client: calls the modules of its listener, in their order, for everything that happens to it. */
#include "base/log.h"
#include "events/events_state.h"
#include "protocol/describe.h"
#include "protocol/observe/observer.h"

#include <stdlib.h>
#include <string.h>

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

/* Which function of a module an exchange is for. */
enum exchange_event { EXCHANGE_REQUEST, EXCHANGE_RESPONSE, EXCHANGE_FAILED };

static struct proximux_client *client_for(struct events_client *client, size_t i)
{
    client->public.data = client->data[i];
    return &client->public;
}

/* ---- Exchanges ---- */

static void client_call(const struct module *module, struct proximux_client *client,
                        const struct proximux_exchange *exchange, enum exchange_event event)
{
    const struct proximux_module *functions = module->module;
    if (event == EXCHANGE_REQUEST && functions->request != NULL)
        functions->request(module->instance, client, exchange);
    else if (event == EXCHANGE_RESPONSE && functions->response != NULL)
        functions->response(module->instance, client, exchange);
    else if (event == EXCHANGE_FAILED && functions->failed != NULL)
        functions->failed(module->instance, client, exchange);
}

/* Calls all modules. Each gets as many of `bytes` as it has asked for. */
static void client_call_all(struct events_client *client, struct proximux_exchange *exchange,
                            struct slice bytes, enum exchange_event event)
{
    const struct events_listener *listener = client->listener;
    for (size_t i = 0; i < listener->count; i++) {
        const struct module *module = listener->modules[i];
        size_t wanted = event == EXCHANGE_REQUEST    ? module->module->request_bytes
                        : event == EXCHANGE_RESPONSE ? module->module->response_bytes
                                                     : 0;
        exchange->length = wanted < bytes.length ? wanted : bytes.length;
        exchange->bytes = wanted > 0 ? bytes.bytes : NULL;
        client_call(module, client_for(client, i), exchange, event);
        client->data[i] = client->public.data;
    }
    if (event != EXCHANGE_REQUEST && listener->settings->request_log)
        request_log_write(&client->public, exchange);
}

/* ---- Proxy mode ---- */

static struct proximux_exchange client_observed(const struct events_client *client,
                                                const struct observation *observation)
{
    return (struct proximux_exchange){
        .number = observation->number,
        .target = client->target != NULL ? client->target : "",
        .text = observation->text.bytes,
        .text_length = observation->text.length,
        .text_is_cut = observation->is_cut,
        .kind = observation->kind,
        .parameters = observation->parameters.bytes,
        .parameters_length = observation->parameters.length,
        .parameters_are_cut = observation->parameters_are_cut,
        .request_size = observation->request_bytes,
        .response_size = observation->response_bytes,
        .error = "",
        .reason = "",
    };
}

static void client_observed_request(void *owner, const struct observation *observation)
{
    struct events_client *client = owner;
    if (!client->listener->wants_requests)
        return;
    struct proximux_exchange exchange = client_observed(client, observation);
    client_call_all(client, &exchange, observation->request, EXCHANGE_REQUEST);
}

/* The wait of a request that came before its client had a connection ends with the connection. */
static void client_set_times(const struct events_client *client, const struct observation *observation,
                             struct proximux_exchange *exchange)
{
    int64_t now = client->turn->now;
    int64_t sent = client->target == NULL ? now : client->connected;
    if (sent < observation->asked)
        sent = observation->asked;
    exchange->wait = sent - observation->asked;
    exchange->service = now - sent;
}

static void client_observed_response(void *owner, const struct observation *observation)
{
    struct events_client *client = owner;
    char error[OBSERVE_ERROR_MAX + 1];
    struct proximux_exchange exchange = client_observed(client, observation);
    client_set_times(client, observation, &exchange);
    memcpy(error, observation->error.bytes, observation->error.length);
    error[observation->error.length] = '\0';
    exchange.error = error;
    client_call_all(client, &exchange, observation->response, EXCHANGE_RESPONSE);
}

static void client_observed_failure(void *owner, const struct observation *observation)
{
    struct events_client *client = owner;
    struct proximux_exchange exchange = client_observed(client, observation);
    client_set_times(client, observation, &exchange);
    exchange.reason = reason_name(client->reason);
    client_call_all(client, &exchange, (struct slice){ NULL, 0 }, EXCHANGE_FAILED);
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

/* Fills `public` in for the modules; it points into `text` and `error`. False when memory is short. */
static bool events_client_describe(const struct events_client *client, const struct events_exchange *exchange,
                                   struct buffer *text, struct buffer *error,
                                   struct proximux_exchange *public)
{
    const struct protocol_settings *settings = &client->listener->settings->protocol;
    describe_request(settings, exchange->request, text);
    size_t length = text->length;
    buffer_append(text, "", 1);
    if (exchange->answered && settings->protocol->describe_error != NULL)
        settings->protocol->describe_error(settings, exchange->response, error);
    buffer_append(error, "", 1);
    *public = (struct proximux_exchange){
        .number = exchange->number,
        .target = exchange->target != NULL ? exchange->target : "",
        .text = text->memory + text->start,
        .text_length = length,
        .text_is_cut = describe_is_cut(settings, exchange->request, exchange->request_bytes),
        .kind = "",
        .parameters = "",
        .request_size = exchange->request_bytes,
        .response_size = exchange->response_bytes,
        .wait = exchange->wait,
        .service = exchange->service,
        .error = error->memory + error->start,
        .reason = exchange->answered ? "" : reason_name(exchange->reason),
    };
    return !text->failed && !error->failed;
}

static void client_exchange(struct events_client *client, const struct events_exchange *exchange,
                            struct slice bytes, enum exchange_event event)
{
    struct buffer text = { 0 };
    struct buffer error = { 0 };
    struct proximux_exchange public;
    if (events_client_describe(client, exchange, &text, &error, &public))
        client_call_all(client, &public, bytes, event);
    buffer_free(&text);
    buffer_free(&error);
}

void events_exchange_asked(struct events_client *client, const struct events_exchange *exchange)
{
    struct events_exchange request = *exchange;
    if (!client->listener->wants_requests)
        return;
    request.answered = true; /* it has no reason yet */
    request.response = SLICE("");
    client_exchange(client, &request, exchange->request, EXCHANGE_REQUEST);
}

void events_exchange_ended(struct events_client *client, const struct events_exchange *exchange)
{
    if (client->listener->wants_exchanges)
        client_exchange(client, exchange, exchange->response,
                        exchange->answered ? EXCHANGE_RESPONSE : EXCHANGE_FAILED);
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
        bool is_let_in = module->module->connected == NULL ||
                         module->module->connected(module->instance, client_for(client, i));
        client->data[i] = client->public.data;
        if (is_let_in)
            continue;
        client_call_closed(client, i, &closing);
        return false;
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
    client->listener = events_listener_reference(listener);
    client->reason = REASON_PROTOCOL_ERROR; /* of exchanges that can't be followed any more */
    client->turn = turn;
    client->accepted = turn->now;
    client->public = (struct proximux_client){
        .number = number,
        .listener = listener->settings->name,
        .mode = settings_mode_name(listener->settings->mode),
        .protocol = listener->protocol,
        .address = address_print(address, client->address),
        .log_address = address_print_client(address, client->log_address),
    };
    if (!client_observe(client)) {
        client_free(client);
        return NULL;
    }
    if (!client_is_let_in(client)) {
        *reason = REASON_MODULE;
        client_free(client);
        return NULL;
    }
    return client;
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
