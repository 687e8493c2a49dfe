/* A module for tests: writes down all that it is told, a line an event. `deny` turns every client away. */
#include <proximux/module.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum key { KEY_OUTPUT, KEY_DENY, KEY_FAIL, KEY_LEVEL, KEY_COUNT, KEY_TOKEN };

static const char *const levels[] = { "low", "high", NULL };

static const struct proximux_key keys[] = {
    [KEY_OUTPUT] = { .name = "output", .type = PROXIMUX_STRING, .required = true },
    [KEY_DENY] = { .name = "deny", .type = PROXIMUX_BOOLEAN, .fallback = "false" },
    [KEY_FAIL] = { .name = "fail", .type = PROXIMUX_STRING },
    [KEY_LEVEL] = { .name = "level", .type = PROXIMUX_CHOICE, .fallback = "low", .choices = levels },
    [KEY_COUNT] = { .name = "count", .type = PROXIMUX_INTEGER, .fallback = "3", .minimum = 1, .maximum = 9 },
    [KEY_TOKEN] = { .name = "access_token", .type = PROXIMUX_STRING },
    { .name = NULL },
};

struct recorder {
    const struct proximux_host *host;
    const struct proximux_value *values;
    struct proximux_file *file;
};

static void record(const struct recorder *recorder, const char *text)
{
    recorder->host->write(recorder->file, text, strlen(text));
}

static bool check(const struct proximux_value *values, char *error, size_t error_size)
{
    if (values[KEY_DENY].number == 0 || values[KEY_COUNT].number == 3)
        return true;
    snprintf(error, error_size, "count does not go with deny");
    return false;
}

static bool start(const struct proximux_host *host, const struct proximux_value *values, void **instance,
                  char *error, size_t error_size)
{
    char text[200];
    struct recorder *recorder = malloc(sizeof *recorder);
    if (recorder == NULL)
        return false;
    *recorder = (struct recorder){ host, values, host->open(values[KEY_OUTPUT].string, error, error_size) };
    if (recorder->file == NULL || values[KEY_FAIL].is_set) {
        if (values[KEY_FAIL].is_set)
            snprintf(error, error_size, "%s", values[KEY_FAIL].string);
        host->close(recorder->file);
        free(recorder);
        return false;
    }
    snprintf(text, sizeof text, "start %s %d\n", values[KEY_LEVEL].string, (int)values[KEY_COUNT].number);
    record(recorder, text);
    *instance = recorder;
    return true;
}

static void stop(void *instance)
{
    struct recorder *recorder = instance;
    record(recorder, "stop\n");
    recorder->host->close(recorder->file);
    free(recorder);
}

/* What is kept with each client: a count of its exchanges, and a proof that it is the client's own. */
struct memory {
    uint64_t client;
    unsigned requests;
    unsigned ends;
};

static bool connected(void *instance, struct proximux_client *client)
{
    const struct recorder *recorder = instance;
    char text[300];
    struct memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return false;
    bool denied = recorder->values[KEY_DENY].number != 0;
    memory->client = client->number;
    snprintf(text, sizeof text, "connected %s %s %s%s\n", client->listener, client->mode, client->protocol,
             denied ? " denied" : "");
    record(recorder, text);
    if (denied)
        free(memory);
    else
        client->data = memory;
    return !denied;
}

static void write_event(const struct recorder *recorder, const struct proximux_client *client,
                        const char *event, const struct proximux_exchange *exchange)
{
    char text[2000];
    const struct memory *memory = client->data;
    snprintf(text, sizeof text, "%s %d %s|%.*s|%.*s|%d %d|%s%s|%s\n", event, (int)exchange->number,
             exchange->kind, (int)exchange->text_length, exchange->text, (int)exchange->length,
             exchange->bytes != NULL ? exchange->bytes : "", (int)exchange->request_size,
             (int)exchange->response_size, exchange->error, exchange->reason,
             memory != NULL && memory->client == client->number && exchange->wait >= 0 &&
                     exchange->service >= 0
                 ? "right"
                 : "wrong");
    for (char *c = text; c[1] != '\0'; c++)
        if (*c == '\n' || *c == '\r')
            *c = '~';
    record(recorder, text);
}

static void request(void *instance, struct proximux_client *client, const struct proximux_exchange *exchange)
{
    ((struct memory *)client->data)->requests++;
    write_event(instance, client, "request", exchange);
}

static void response(void *instance, struct proximux_client *client, const struct proximux_exchange *exchange)
{
    ((struct memory *)client->data)->ends++;
    write_event(instance, client, "response", exchange);
}

static void failed(void *instance, struct proximux_client *client, const struct proximux_exchange *exchange)
{
    ((struct memory *)client->data)->ends++;
    write_event(instance, client, "failed", exchange);
}

static void closed(void *instance, struct proximux_client *client, const struct proximux_closing *closing)
{
    char text[200];
    struct memory *memory = client->data;
    snprintf(text, sizeof text, "closed %s %d %d %s\n", closing->reason, (int)closing->bytes_from_client,
             (int)closing->bytes_to_client,
             memory->requests == memory->ends && closing->duration >= 0 ? "right" : "wrong");
    record(instance, text);
    free(memory);
}

PROXIMUX_EXPORT const struct proximux_module proximux_module = {
    .version = PROXIMUX_MODULE_VERSION,
    .name = "recorder",
    .keys = keys,
    .request_bytes = 12,
    .response_bytes = 8,
    .check = check,
    .start = start,
    .stop = stop,
    .connected = connected,
    .request = request,
    .response = response,
    .failed = failed,
    .closed = closed,
};
