/* querylog: a line for each exchange, with what was asked and how long it took. See proximux-querylog(8). */
#include "querylog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The largest max_length, for a query and for its parameters. */
#define LENGTH_MAX 8192

enum key { KEY_OUTPUT, KEY_FORMAT, KEY_SLOW, KEY_MAX_LENGTH, KEY_REDACT };

enum format { FORMAT_TEXT, FORMAT_JSON };

static const char *const formats[] = { "text", "json", NULL };

static const struct proximux_key keys[] = {
    [KEY_OUTPUT] = { "output", PROXIMUX_STRING, false, "log", 0, 0, NULL },
    [KEY_FORMAT] = { "format", PROXIMUX_CHOICE, false, "text", 0, 0, formats },
    [KEY_SLOW] = { "slow", PROXIMUX_INTEGER, false, "0", 0, INT32_MAX, NULL },
    [KEY_MAX_LENGTH] = { "max_length", PROXIMUX_INTEGER, false, "1024", 16, LENGTH_MAX, NULL },
    [KEY_REDACT] = { "redact", PROXIMUX_BOOLEAN, false, "false", 0, 0, NULL },
    { .name = NULL },
};

/* The longest line. A query may be written with six characters a byte, and so may its parameters: what does
 * not fit is cut off, with room left for what stands behind it, an error above all. */
#define LINE_SIZE ((size_t)63000)
#define LINE_REST ((size_t)4096)
#define TEXT_SIZE ((size_t)65536)

/* The length of a message that the log shows in full. */
#define LOG_ROOM ((size_t)3900)

struct querylog {
    const struct proximux_host *host;
    struct proximux_file *file; /* NULL: the log */
    bool is_json;
    bool redacts;
    int64_t slow; /* microseconds */
    size_t max_length;
    char line[LINE_SIZE + 1];
    char text[TEXT_SIZE + 1];
};

static bool querylog_check(const struct proximux_value *values, char *error, size_t error_size)
{
    const char *output = values[KEY_OUTPUT].string;
    if (strcmp(output, "log") == 0 || output[0] == '/')
        return true;
    snprintf(error, error_size, "output: \"%s\" is neither \"log\" nor an absolute path", output);
    return false;
}

static bool querylog_start(const struct proximux_host *host, const struct proximux_value *values,
                           void **instance, char *error, size_t error_size)
{
    struct querylog *log = calloc(1, sizeof *log);
    if (log == NULL) {
        snprintf(error, error_size, "memory is short");
        return false;
    }
    log->host = host;
    log->is_json = values[KEY_FORMAT].number == FORMAT_JSON;
    log->redacts = values[KEY_REDACT].number != 0;
    log->slow = values[KEY_SLOW].number * 1000;
    log->max_length = (size_t)values[KEY_MAX_LENGTH].number;
    if (strcmp(values[KEY_OUTPUT].string, "log") != 0) {
        log->file = host->open(values[KEY_OUTPUT].string, error, error_size);
        if (log->file == NULL) {
            free(log);
            return false;
        }
    }
    *instance = log;
    return true;
}

static void querylog_stop(void *instance)
{
    struct querylog *log = instance;
    log->host->close(log->file);
    free(log);
}

/* ---- Lines ---- */

static void querylog_add_time(struct line *line)
{
    struct timespec now;
    struct tm utc;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &utc) == NULL || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        return;
    line_print(line, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

static const char *outcome_of(const struct proximux_exchange *exchange)
{
    return exchange->reason[0] != '\0' ? exchange->reason : exchange->error[0] != '\0' ? "error" : "ok";
}

static void add_name(struct line *line, const char *name)
{
    line_add_text(line, name, strlen(name), SIZE_MAX, false, true);
}

/* A text that may be long: it leaves room behind it. */
static void add_long_text(const struct querylog *log, struct line *line, const char *text, size_t length,
                          bool is_truncated)
{
    line->capacity = LINE_SIZE - LINE_REST;
    line_add_text(line, text, length, log->max_length, is_truncated, log->is_json);
    line->capacity = LINE_SIZE;
}

/* With redaction an error's number or first word is shown, since the rest can quote the query. */
static void add_error(const struct querylog *log, struct line *line, enum redaction kind, const char *error)
{
    const char *end = strchrnul(error, ':');
    if (!log->redacts)
        end = error + strlen(error);
    else if (*end == '\0' || kind == REDACT_REDIS)
        end = error + strcspn(error, " ");
    line_add_text(line, error, (size_t)(end - error), SIZE_MAX, false, log->is_json);
}

/* Text, parameters and error, each as far as there is one, and may be shown. */
static void add_texts(struct querylog *log, struct line *line, const struct proximux_client *client,
                      const struct proximux_exchange *exchange)
{
    enum redaction kind = redact_kind(client->protocol);
    const char *text = exchange->text;
    size_t length = exchange->text_length < TEXT_SIZE ? exchange->text_length : TEXT_SIZE;
    if (log->redacts) {
        length = redact(kind, text, length, log->text);
        text = log->text;
    }
    add_long_text(log, line, text, length, exchange->text_is_cut);
    if (exchange->parameters_length > 0 && !log->redacts) {
        line_add(line, log->is_json ? "\",\"parameters\":\"" : " -- [");
        add_long_text(log, line, exchange->parameters, exchange->parameters_length,
                      exchange->parameters_are_cut);
        line_add(line, log->is_json ? "" : "]");
    }
    if (exchange->error[0] != '\0') {
        line_add(line, log->is_json ? "\",\"error\":\"" : " [");
        add_error(log, line, kind, exchange->error);
        line_add(line, log->is_json ? "" : "]");
    }
}

static void querylog_write_json(struct querylog *log, struct line *line, const struct proximux_client *client,
                                const struct proximux_exchange *exchange)
{
    line_add(line, "{\"time\":\"");
    querylog_add_time(line);
    line_add(line, "\",\"listener\":\"");
    add_name(line, client->listener);
    line_print(line,
               "\",\"protocol\":\"%s\",\"client\":\"%s\",\"session\":%llu,\"number\":%llu,\"target\":\"",
               client->protocol, client->log_address, (unsigned long long)client->number,
               (unsigned long long)exchange->number);
    add_name(line, exchange->target);
    line_print(line, "\",\"outcome\":\"%s\",\"request_bytes\":%llu,\"response_bytes\":%llu",
               outcome_of(exchange), (unsigned long long)exchange->request_size,
               (unsigned long long)exchange->response_size);
    line_print(line, ",\"wait_ms\":%.3f,\"service_ms\":%.3f,\"kind\":\"%s\",\"query\":\"",
               (double)exchange->wait / 1000.0, (double)exchange->service / 1000.0, exchange->kind);
    add_texts(log, line, client, exchange);
    line_add(line, "\"}");
}

static void querylog_write_text(struct querylog *log, struct line *line, const struct proximux_client *client,
                                const struct proximux_exchange *exchange)
{
    if (log->file != NULL) { /* lines of the log have both already */
        querylog_add_time(line);
        line_print(line, " %s: ", client->listener);
    }
    line_print(line, "%s > %s %.3f ms, waited %.3f ms, %llu + %llu bytes, %s: ", client->log_address,
               exchange->target[0] != '\0' ? exchange->target : "-", (double)exchange->service / 1000.0,
               (double)exchange->wait / 1000.0, (unsigned long long)exchange->request_size,
               (unsigned long long)exchange->response_size, outcome_of(exchange));
    if (exchange->kind[0] != '\0')
        line_print(line, "%s ", exchange->kind);
    add_texts(log, line, client, exchange);
}

/* The length of a line in the log, which may be JSON itself. */
static size_t length_in_log(const struct line *line)
{
    size_t length = line->length;
    for (size_t i = 0; i < line->length; i++)
        length += line->bytes[i] == '"' || line->bytes[i] == '\\';
    return length;
}

/* JSON that the log would cut or escape is broken. So a line for the log is ASCII, with a shorter query if it
 * would be too long. */
static void write_json_to_log(struct querylog *log, struct line *line, const struct proximux_client *client,
                              const struct proximux_exchange *exchange)
{
    size_t max_length = log->max_length;
    line->is_ascii = true;
    do {
        line->length = 0;
        querylog_write_json(log, line, client, exchange);
        log->max_length /= 2;
    } while (length_in_log(line) > LOG_ROOM && log->max_length > 0);
    log->max_length = max_length;
}

static void querylog_ended(void *instance, struct proximux_client *client,
                           const struct proximux_exchange *exchange)
{
    struct querylog *log = instance;
    struct line line = { .bytes = log->line, .capacity = LINE_SIZE };
    if (exchange->wait + exchange->service < log->slow)
        return;
    if (log->is_json && log->file == NULL)
        write_json_to_log(log, &line, client, exchange);
    else if (log->is_json)
        querylog_write_json(log, &line, client, exchange);
    else
        querylog_write_text(log, &line, client, exchange);
    if (log->file != NULL) {
        log->line[line.length] = '\n';
        log->host->write(log->file, log->line, line.length + 1);
    } else {
        log->line[line.length] = '\0';
        log->host->log(PROXIMUX_INFO, client->listener, log->line);
    }
}

PROXIMUX_EXPORT const struct proximux_module proximux_module = {
    .version = PROXIMUX_MODULE_VERSION,
    .name = "querylog",
    .keys = keys,
    .parameter_bytes = LENGTH_MAX,
    .check = querylog_check,
    .start = querylog_start,
    .stop = querylog_stop,
    .response = querylog_ended,
    .failed = querylog_ended,
};
