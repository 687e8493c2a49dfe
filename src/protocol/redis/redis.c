/* Redis: RESP2 and RESP3. Commands that need a connection of their own are refused, what is about the
 * client's connection is answered here, and everything else passes as it came. */
#include "protocol/redis/redis.h"

#include "protocol/check.h"
#include "protocol/describe.h"
#include "protocol/protocols.h"

#include <ctype.h>
#include <stdlib.h>

/* ---- Descriptions ------------------------------------------------------------------------------------- */

/* Of a description: arguments, and bytes of each. */
#define ARGUMENTS_MAX 64
#define ARGUMENT_MAX  ((size_t)1024)

static bool redis_is_word(struct slice argument)
{
    return argument.length > 0 && redis_is_plain(argument) &&
           memchr(argument.bytes, '"', argument.length) == NULL &&
           memchr(argument.bytes, '\\', argument.length) == NULL;
}

static void redis_append_argument(struct buffer *text, struct slice argument, bool is_truncated)
{
    if (argument.length > ARGUMENT_MAX) {
        argument.length = ARGUMENT_MAX;
        is_truncated = true;
    }
    buffer_append_text(text, text->length > 0 ? " " : "");
    if (redis_is_word(argument)) {
        buffer_append(text, argument.bytes, argument.length);
    } else {
        buffer_append_text(text, "\"");
        redis_append_escaped(text, argument, "\"\\");
        buffer_append_text(text, "\"");
    }
    buffer_append_text(text, is_truncated ? "..." : "");
}

static void redis_describe_array(struct slice bytes, struct buffer *text)
{
    int64_t count, length;
    if (!redis_number_take(&bytes, '*', &count))
        return;
    for (int64_t i = 0; i < count && redis_number_take(&bytes, '$', &length); i++) {
        if (i == ARGUMENTS_MAX) {
            buffer_print(text, " ... (%lld more)", (long long)(count - i));
            return;
        }
        bool is_truncated = (uint64_t)length > bytes.length;
        struct slice argument = { bytes.bytes, is_truncated ? bytes.length : (size_t)length };
        redis_append_argument(text, argument, is_truncated);
        if (bytes.length - argument.length < 2)
            return;
        slice_skip(&bytes, argument.length + 2);
    }
}

/* An inline command reads like the array that it stands for, however it is quoted. */
static void redis_describe_inline(const struct protocol_settings *settings, struct slice bytes,
                                  struct buffer *text)
{
    struct buffer array = { 0 }, line = { 0 };
    describe_first_line(settings, bytes, &line);
    if (redis_inline_convert(buffer_slice(&line), SIZE_MAX, &array) == NULL && array.length > 0)
        redis_describe_array(buffer_slice(&array), text);
    else
        buffer_append(text, buffer_bytes(&line), line.length);
    text->failed = text->failed || array.failed || line.failed;
    buffer_free(&array);
    buffer_free(&line);
}

void redis_describe(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    while (slice_begins_with(bytes, SLICE("\r\n")))
        slice_skip(&bytes, 2);
    if (bytes.length > 0 && bytes.bytes[0] != '*')
        redis_describe_inline(settings, bytes, text);
    else
        redis_describe_array(bytes, text);
}

void redis_describe_error(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    char type = bytes.length > 0 ? bytes.bytes[0] : '\0';
    if (type == '!') { /* the error stands in the line behind its length */
        const char *end = memchr(bytes.bytes, '\n', bytes.length);
        slice_skip(&bytes, end != NULL ? (size_t)(end - bytes.bytes) + 1 : bytes.length);
    } else if (type == '-') {
        slice_skip(&bytes, 1);
    } else {
        return;
    }
    describe_first_line(settings, bytes, text);
}

/* ---- The protocol -------------------------------------------------------------------------------------- */

static void redis_open_client(const struct protocol_settings *, void *client, uint64_t number)
{
    ((struct redis_client *)client)->number = number;
}

static void redis_close_client(void *client)
{
    free(((struct redis_client *)client)->name);
}

static bool redis_write_error(const struct protocol_settings *, const struct protocol_request *request,
                              enum reason reason, struct buffer *out)
{
    if (request->begun)
        return false;
    buffer_print(out, "-ERR proximux: %s\r\n", reason_phrase(reason));
    return true;
}

/* The class of the command that a description begins with. */
static enum redis_class redis_class_of(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    char *rest = text;
    const char *name = strsep(&rest, " ");
    enum redis_class class = redis_command_class(name);
    if (rest == NULL || !redis_has_subcommands(class))
        return class;
    rest[-1] = '|';
    strsep(&rest, " ");
    return redis_command_class(name);
}

/* In proxy mode the target answers also what is refused or answered here in shared modes, but not always
 * once. */
static bool redis_observes(const struct protocol_settings *settings, struct protocol_request *request,
                           struct slice bytes)
{
    struct buffer text = { 0 };
    if (bytes.length > 4 * REDIS_NAME_MAX) /* the first two words are enough */
        bytes.length = 4 * REDIS_NAME_MAX;
    redis_describe(settings, bytes, &text);
    buffer_append(&text, "", 1);
    bool is_paired = text.failed || redis_class_of(buffer_bytes(&text)) != REDIS_UNPAIRED;
    buffer_free(&text);
    request->local = false;
    return is_paired;
}

/* A name, or the beginning of one with an asterisk. */
static bool redis_is_command(const char *text)
{
    const char *end = text;
    while (isgraph((unsigned char)*end) && *end != '*')
        end++;
    end += *end == '*';
    return *end == '\0' && end > text;
}

static const struct key redis_keys[] = {
    STRING_KEY("username", NULL, "whom to log in as", KEY_FIELD(struct redis_settings, username)),
    STRING_KEY("password", NULL, "the password of that user", .is_secret = true,
               KEY_FIELD(struct redis_settings, password)),
    INTEGER_KEY("database", UNIT_NONE, 0, KEY_COUNT_MAX, "0", "the database that clients see",
                KEY_FIELD(struct redis_settings, database)),
    BOOLEAN_KEY("client_auth", "true", "clients have to give the password, too",
                KEY_FIELD(struct redis_settings, client_auth)),
    STRINGS_KEY("commands", "further commands that may pass", KEY_FIELD(struct redis_settings, commands),
                .accepts = redis_is_command,
                .refusal = "is no name of a command, nor the beginning of one with an asterisk as last "
                           "character"),
};

static void redis_check(const struct protocol_settings *settings, bool, const struct key_report *report)
{
    const struct redis_settings *own = redis_own(settings);
    if (own->username.length > 0 && own->password.length == 0)
        key_error(report, "username", "needs a password");
    if (!own->client_auth && own->password.length == 0)
        key_warning(report, "client_auth", "has no effect without a password");
    for (size_t i = 0; i < own->commands.count; i++)
        if (slice_equal(own->commands.slices[i], SLICE("*")))
            key_warning(report, "commands",
                        "\"*\" lets every command pass that is refused otherwise, also those that change "
                        "the connection for all who share it");
}

/* ---- Its check ---- */

static void redis_write_check(const struct protocol_settings *, const struct check_settings *, void *client,
                              struct buffer *out)
{
    if (client != NULL)
        ((struct redis_client *)client)->authenticated = true;
    buffer_append_text(out, "*1\r\n$4\r\nPING\r\n");
}

/* One that wants a password, or does not let us ask, works. */
static enum protocol_outcome redis_read_check(const struct protocol_settings *, const struct check_settings *,
                                              struct slice answer, struct buffer *error)
{
    if (memchr(answer.bytes, '\n', answer.length) == NULL)
        return PROTOCOL_MORE;
    if (slice_begins_with(answer, SLICE("+PONG")) || slice_begins_with(answer, SLICE("-NOAUTH")) ||
        slice_begins_with(answer, SLICE("-NOPERM")))
        return PROTOCOL_COMPLETE;
    check_quote(answer, error);
    return PROTOCOL_BROKEN;
}

const struct protocol protocol_redis = {
    .name = "redis",
    .keys = redis_keys,
    .key_count = sizeof redis_keys / sizeof redis_keys[0],
    .check = redis_check,
    .client_size = sizeof(struct redis_client),
    .connection_size = sizeof(struct redis_connection),
    .is_async = true,
    .has_pushes = true,
    .open_client = redis_open_client,
    .close_client = redis_close_client,
    .read_request = redis_read_request,
    .read_response = redis_read_response,
    .write_error = redis_write_error,
    .write_handshake = redis_write_handshake,
    .read_handshake = redis_read_handshake,
    .describe = redis_describe,
    .describe_error = redis_describe_error,
    .write_check = redis_write_check,
    .read_check = redis_read_check,
    .observes = redis_observes,
};
