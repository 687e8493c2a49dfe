/* Redis: RESP2 and RESP3. Commands that need a connection of their own are refused, what is about the
 * client's connection is answered here, and everything else passes as it came. */
#include "protocol/redis/redis.h"

#include "protocol/protocols.h"

#include <ctype.h>
#include <stdlib.h>

static void open_client(const struct protocol_settings *, void *client, uint64_t number)
{
    ((struct redis_client *)client)->number = number;
}

static void close_client(void *client)
{
    free(((struct redis_client *)client)->name);
}

static bool write_error(const struct protocol_settings *, const struct protocol_request *request,
                        enum reason reason, struct buffer *out)
{
    if (request->begun)
        return false;
    buffer_print(out, "-ERR proximux: %s\r\n", reason_phrase(reason));
    return true;
}

/* The class of the command that a description begins with. */
static enum redis_class class_of(char *text)
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
static bool observes(const struct protocol_settings *settings, struct protocol_request *request,
                     struct slice bytes)
{
    struct buffer text = { 0 };
    if (bytes.length > 4 * REDIS_NAME_MAX) /* the first two words are enough */
        bytes.length = 4 * REDIS_NAME_MAX;
    redis_describe(settings, bytes, &text);
    buffer_append(&text, "", 1);
    bool is_paired = text.failed || class_of(buffer_bytes(&text)) != REDIS_UNPAIRED;
    buffer_free(&text);
    request->local = false;
    return is_paired;
}

/* A name, or the beginning of one with an asterisk. */
static bool is_command(const char *text)
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
                .accepts = is_command,
                .refusal = "is no name of a command, nor the beginning of one with an asterisk as last "
                           "character"),
};

static void check(const struct protocol_settings *settings, bool, const struct key_report *report)
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

const struct protocol protocol_redis = {
    .name = "redis",
    .keys = redis_keys,
    .key_count = sizeof redis_keys / sizeof redis_keys[0],
    .check = check,
    .client_size = sizeof(struct redis_client),
    .connection_size = sizeof(struct redis_connection),
    .is_async = true,
    .has_pushes = true,
    .open_client = open_client,
    .close_client = close_client,
    .read_request = redis_read_request,
    .read_response = redis_read_response,
    .write_error = write_error,
    .write_handshake = redis_write_handshake,
    .read_handshake = redis_read_handshake,
    .describe = redis_describe,
    .describe_error = redis_describe_error,
    .observes = observes,
};
