/* Commands that are answered here, because they are about the client's own connection: its name, its login,
 * its database, its end. In the words of Redis 7.0. */
#include "protocol/redis/redis.h"

#include <stdlib.h>
#include <strings.h>

/* The version in the answer to HELLO, from which clients conclude which commands there are: the table of
 * those that pass is that of Redis 7. INFO asks the target itself. */
#define REDIS_VERSION "7.0.0"

/* A request that is being answered. Its answer is what was appended and then what the answerer returns. */
struct call {
    const struct protocol_settings *settings;
    struct redis_client *client;
    struct protocol_request *request;
    struct slice bytes;    /* of the arguments that were not taken yet, as they came */
    int64_t argument_left; /* how many */
    struct buffer *answer;
};

static const char *redis_refuse_call(struct call *call, const char *error)
{
    call->request->refused = true;
    return error;
}

static struct slice redis_take_argument(struct call *call)
{
    int64_t length = 0;
    redis_number_take(&call->bytes, '$', &length);
    struct slice argument = { call->bytes.bytes, (size_t)length };
    call->client->looked_at += argument.length;
    slice_skip(&call->bytes, argument.length + 2);
    call->argument_left--;
    return argument;
}

/* ---- Login --------------------------------------------------------------------------------------------- */

bool redis_must_authenticate(const struct protocol_settings *settings, const struct redis_client *client)
{
    return redis_own(settings)->password.length > 0 && redis_own(settings)->client_auth &&
           !client->authenticated;
}

/* Compares in a time that depends on the guess only. */
static bool redis_equals_secret(struct slice guess, struct slice secret)
{
    volatile unsigned difference = guess.length != secret.length;
    for (size_t i = 0; i < guess.length; i++)
        difference |=
            (unsigned char)(guess.bytes[i] ^ (secret.length > 0 ? secret.bytes[i % secret.length] : 0));
    return difference == 0;
}

/* Logs in. Without the key `password`, any password is right for the only user. Returns NULL, or the error. */
static const char *redis_log_in(struct call *call, struct slice username, struct slice password)
{
    const struct redis_settings *own = redis_own(call->settings);
    bool is_user = redis_equals_secret(username, own->username.length > 0 ? own->username : SLICE("default"));
    bool is_password = redis_equals_secret(password, own->password);
    if (!is_user || (!is_password && own->password.length > 0))
        return redis_refuse_call(call, "-WRONGPASS invalid username-password pair or user is disabled.");
    call->client->authenticated = true;
    return NULL;
}

static const char *redis_answer_auth(struct call *call)
{
    struct slice username = SLICE("default");
    if (call->argument_left > 2)
        return "-ERR syntax error";
    if (call->argument_left == 2)
        username = redis_take_argument(call);
    else if (redis_own(call->settings)->password.length == 0)
        return "-ERR AUTH <password> called without any password configured for the default user. "
               "Are you sure your configuration is correct?";
    return redis_log_in(call, username, redis_take_argument(call)) ?: "+OK";
}

/* ---- Names --------------------------------------------------------------------------------------------- */

/* Returns NULL, or the error. */
static const char *redis_set_name(struct redis_client *client, struct slice name)
{
    if (!redis_is_plain(name))
        return "-ERR Client names cannot contain spaces, newlines or special characters.";
    if (name.length > REDIS_CLIENT_NAME_MAX)
        return "-ERR proximux: this name is too long";
    char *copy = name.length > 0 ? strndup(name.bytes, name.length) : NULL;
    if (name.length > 0 && copy == NULL)
        return "-ERR proximux: out of memory";
    free(client->name);
    client->name = copy;
    return NULL;
}

static const char *redis_answer_setname(struct call *call)
{
    return redis_set_name(call->client, redis_take_argument(call)) ?: "+OK";
}

static const char *redis_answer_getname(struct call *call)
{
    const char *name = call->client->name;
    if (name == NULL)
        return "$-1";
    buffer_print(call->answer, "$%zu\r\n", strlen(name));
    return name;
}

static const char *redis_answer_setinfo(struct call *call)
{
    struct slice option = redis_take_argument(call);
    if (!slice_is_word(option, "lib-name") && !slice_is_word(option, "lib-ver")) {
        buffer_append_text(call->answer, "-ERR Unrecognized option '");
        redis_append_cited(call->answer, option);
        return "'";
    }
    if (redis_is_plain(redis_take_argument(call)))
        return "+OK";
    buffer_append_text(call->answer, "-ERR ");
    redis_append_cited(call->answer, option);
    return " cannot contain spaces, newlines or special characters.";
}

static const char *redis_answer_id(struct call *call)
{
    buffer_print(call->answer, ":%llu", (unsigned long long)call->client->number);
    return "";
}

/* ---- The connection ------------------------------------------------------------------------------------ */

static const char *redis_answer_quit(struct call *call)
{
    call->request->closes_client = true;
    return "+OK";
}

static const char *redis_answer_reset(struct call *call)
{
    redis_set_name(call->client, SLICE(""));
    call->client->authenticated = false;
    return "+RESET";
}

static const char *redis_answer_select(struct call *call)
{
    int64_t database, ours = redis_own(call->settings)->database;
    if (!redis_number_parse(redis_take_argument(call), &database))
        return "-ERR value is not an integer or out of range";
    if (database == ours)
        return "+OK";
    buffer_print(call->answer, "-ERR proximux: the database is %lld", (long long)ours);
    return redis_refuse_call(call, ", for all who share the connection");
}

/* Takes the options of HELLO. Returns NULL, or the error. */
static const char *redis_take_hello_options(struct call *call)
{
    struct slice username = { 0 }, password = { 0 }, name = { 0 };
    bool logs_in = false, sets_name = false;
    while (call->argument_left > 0) {
        struct slice option = redis_take_argument(call);
        if (slice_is_word(option, "auth") && call->argument_left >= 2) {
            username = redis_take_argument(call);
            password = redis_take_argument(call);
            logs_in = true;
        } else if (slice_is_word(option, "setname") && call->argument_left >= 1) {
            name = redis_take_argument(call);
            sets_name = true;
        } else {
            buffer_append_text(call->answer, "-ERR Syntax error in HELLO option '");
            redis_append_cited(call->answer, option);
            return "'";
        }
    }
    const char *error = logs_in ? redis_log_in(call, username, password) : NULL;
    if (error != NULL)
        return error;
    if (redis_must_authenticate(call->settings, call->client))
        return redis_refuse_call(
            call, "-NOAUTH HELLO must be called with the client already authenticated, otherwise "
                  "the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the "
                  "client and select the RESP protocol version at the same time");
    return sets_name ? redis_set_name(call->client, name) : NULL;
}

static const char *redis_answer_hello(struct call *call)
{
    int64_t version = 2;
    if (call->argument_left > 0 && !redis_number_parse(redis_take_argument(call), &version))
        return "-ERR Protocol version is not an integer or out of range";
    /* Connections to targets speak RESP2, and answers are passed on as they come. */
    if (version != 2)
        return "-NOPROTO unsupported protocol version";
    const char *error = redis_take_hello_options(call);
    if (error != NULL)
        return error;
    buffer_print(call->answer,
                 "*14\r\n$6\r\nserver\r\n$8\r\nproximux\r\n$7\r\nversion\r\n$%zu\r\n" REDIS_VERSION
                 "\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:%llu\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
                 "$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n",
                 sizeof REDIS_VERSION - 1, (unsigned long long)call->client->number);
    return "*0";
}

static const struct answerer {
    const char *name;
    int64_t least; /* arguments, words of the name included */
    int64_t most;
    const char *(*answer)(struct call *call);
} answerers[] = {
    { "auth", 2, INT64_MAX, redis_answer_auth },      { "client|getname", 2, 2, redis_answer_getname },
    { "client|id", 2, 2, redis_answer_id },           { "client|setinfo", 4, 4, redis_answer_setinfo },
    { "client|setname", 3, 3, redis_answer_setname }, { "hello", 1, INT64_MAX, redis_answer_hello },
    { "quit", 1, INT64_MAX, redis_answer_quit },      { "reset", 1, 1, redis_answer_reset },
    { "select", 2, 2, redis_answer_select },
};

static const struct answerer *redis_find_answerer(const char *name)
{
    for (size_t i = 0; i < sizeof answerers / sizeof *answerers; i++)
        if (strcmp(answerers[i].name, name) == 0)
            return &answerers[i];
    return NULL;
}

bool redis_is_local(const char *name)
{
    return redis_find_answerer(name) != NULL;
}

void redis_answer(const struct protocol_settings *settings, struct redis_client *client,
                  struct protocol_request *request, struct slice bytes, struct buffer *answer)
{
    const struct answerer *answerer = redis_find_answerer(client->word);
    struct call call = {
        .settings = settings,
        .client = client,
        .request = request,
        .bytes = bytes,
        .answer = answer,
    };
    redis_number_take(&call.bytes, '*', &call.argument_left);
    if (call.argument_left < answerer->least || call.argument_left > answerer->most) {
        buffer_print(answer, "-ERR wrong number of arguments for '%s' command\r\n", answerer->name);
        return;
    }
    redis_take_argument(&call);
    if (strchr(answerer->name, '|') != NULL)
        redis_take_argument(&call);
    buffer_append_text(answer, answerer->answer(&call));
    buffer_append_text(answer, "\r\n");
}
