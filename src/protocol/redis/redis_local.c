/* Commands that are answered here, because they are about the client's own connection: its name, its login,
 * its database, its end. In the words of Redis 7.0. */
#include "protocol/redis/redis.h"

#include <stdlib.h>
#include <strings.h>

/* The version in the answer to HELLO, from which clients conclude which commands there are: the table of
 * those that pass is that of Redis 7. INFO asks the target itself. */
#define REDIS_VERSION "7.0.0"

/* A request that is being answered. */
struct call {
    const struct protocol_settings *settings;
    struct redis_client *client;
    struct protocol_request *request;
    struct slice bytes;    /* of the arguments that were not taken yet, as they came */
    int64_t argument_left; /* how many */
    struct buffer *answer;
};

static void write_text(struct call *call, const char *text)
{
    buffer_append_text(call->answer, text);
    buffer_append_text(call->answer, "\r\n");
}

/* Takes the next argument; there is one. */
static struct slice take_argument(struct call *call)
{
    struct slice *bytes = &call->bytes;
    size_t length = 0;
    size_t i = 1;
    for (; bytes->bytes[i] != '\r'; i++)
        length = length * 10 + (size_t)(bytes->bytes[i] - '0');
    struct slice argument = { bytes->bytes + i + 2, length };
    call->client->looked_at += i + 2 + length;
    slice_skip(bytes, i + 2 + length + 2);
    call->argument_left--;
    return argument;
}

/* Whether the argument is this word. Redis compares up to a NUL; here a NUL makes another word of it. */
static bool is_word(struct slice argument, const char *word)
{
    return argument.length == strlen(word) && strncasecmp(argument.bytes, word, argument.length) == 0;
}

/* ---- Login --------------------------------------------------------------------------------------------- */

bool redis_must_authenticate(const struct protocol_settings *settings, const struct redis_client *client)
{
    return redis_own(settings)->password.length > 0 && redis_own(settings)->client_auth &&
           !client->authenticated;
}

/* Compares in a time that depends on the guess only. */
static bool equals_secret(struct slice guess, struct slice secret)
{
    volatile unsigned difference = guess.length != secret.length;
    for (size_t i = 0; i < guess.length; i++)
        difference |=
            (unsigned char)(guess.bytes[i] ^ (secret.length > 0 ? secret.bytes[i % secret.length] : 0));
    return difference == 0;
}

/* Whether this login is right. Without the key `password`, any password is right for the only user. */
static bool is_login(const struct protocol_settings *settings, struct slice username, struct slice password)
{
    struct slice expected = redis_own(settings)->username;
    if (expected.length == 0)
        expected = SLICE("default");
    bool is_user = equals_secret(username, expected);
    bool is_password = equals_secret(password, redis_own(settings)->password);
    return is_user && (is_password || redis_own(settings)->password.length == 0);
}

static bool log_in(struct call *call, struct slice username, struct slice password)
{
    if (is_login(call->settings, username, password)) {
        call->client->authenticated = true;
        return true;
    }
    write_text(call, "-WRONGPASS invalid username-password pair or user is disabled.");
    call->request->refused = true;
    return false;
}

static void answer_auth(struct call *call)
{
    if (call->argument_left > 2) {
        write_text(call, "-ERR syntax error");
        return;
    }
    struct slice username = SLICE("default");
    if (call->argument_left == 2)
        username = take_argument(call);
    else if (redis_own(call->settings)->password.length == 0) {
        write_text(call, "-ERR AUTH <password> called without any password configured for the default user. "
                         "Are you sure your configuration is correct?");
        return;
    }
    if (log_in(call, username, take_argument(call)))
        write_text(call, "+OK");
}

/* ---- Names --------------------------------------------------------------------------------------------- */

static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.bytes[i] < '!' || text.bytes[i] > '~')
            return false;
    return true;
}

static bool set_name(struct call *call, struct slice name)
{
    struct redis_client *client = call->client;
    char *copy = NULL;
    if (!is_plain(name)) {
        write_text(call, "-ERR Client names cannot contain spaces, newlines or special characters.");
        return false;
    }
    if (name.length > REDIS_CLIENT_NAME_MAX) {
        write_text(call, "-ERR proximux: this name is too long");
        return false;
    }
    if (name.length > 0) {
        copy = malloc(name.length);
        if (copy == NULL) {
            write_text(call, "-ERR proximux: out of memory");
            return false;
        }
        memcpy(copy, name.bytes, name.length);
    }
    free(client->name);
    client->name = copy;
    client->name_length = name.length;
    return true;
}

static void answer_setname(struct call *call)
{
    if (set_name(call, take_argument(call)))
        write_text(call, "+OK");
}

static void answer_getname(struct call *call)
{
    const struct redis_client *client = call->client;
    if (client->name == NULL) {
        write_text(call, "$-1");
        return;
    }
    buffer_print(call->answer, "$%zu\r\n", client->name_length);
    buffer_append(call->answer, client->name, client->name_length);
    write_text(call, "");
}

static void answer_setinfo(struct call *call)
{
    struct slice option = take_argument(call);
    if (!is_word(option, "lib-name") && !is_word(option, "lib-ver")) {
        buffer_append_text(call->answer, "-ERR Unrecognized option '");
        redis_append_escaped(call->answer, option);
        write_text(call, "'");
    } else if (!is_plain(take_argument(call))) {
        buffer_append_text(call->answer, "-ERR ");
        redis_append_escaped(call->answer, option);
        write_text(call, " cannot contain spaces, newlines or special characters.");
    } else {
        write_text(call, "+OK");
    }
}

static void answer_id(struct call *call)
{
    buffer_print(call->answer, ":%llu\r\n", (unsigned long long)call->client->number);
}

/* ---- The connection ------------------------------------------------------------------------------------ */

static void answer_quit(struct call *call)
{
    write_text(call, "+OK");
    call->request->closes_client = true;
}

static void answer_reset(struct call *call)
{
    set_name(call, SLICE(""));
    call->client->authenticated = false;
    write_text(call, "+RESET");
}

static void answer_select(struct call *call)
{
    int64_t database;
    if (!redis_number_parse(take_argument(call), &database)) {
        write_text(call, "-ERR value is not an integer or out of range");
    } else if (database != redis_own(call->settings)->database) {
        buffer_print(call->answer,
                     "-ERR proximux: the database is %lld, for all who share the connection\r\n",
                     (long long)redis_own(call->settings)->database);
        call->request->refused = true;
    } else {
        write_text(call, "+OK");
    }
}

/* The options of HELLO. False if they were answered by an error. */
static bool take_hello_options(struct call *call)
{
    struct slice username = { 0 }, password = { 0 }, name = { 0 };
    bool logs_in = false, sets_name = false;
    while (call->argument_left > 0) {
        struct slice option = take_argument(call);
        if (is_word(option, "auth") && call->argument_left >= 2) {
            username = take_argument(call);
            password = take_argument(call);
            logs_in = true;
        } else if (is_word(option, "setname") && call->argument_left >= 1) {
            name = take_argument(call);
            sets_name = true;
        } else {
            buffer_append_text(call->answer, "-ERR Syntax error in HELLO option '");
            redis_append_escaped(call->answer, option);
            write_text(call, "'");
            return false;
        }
    }
    if (logs_in && !log_in(call, username, password))
        return false;
    if (redis_must_authenticate(call->settings, call->client)) {
        write_text(call, "-NOAUTH HELLO must be called with the client already authenticated, otherwise the "
                         "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client "
                         "and select the RESP protocol version at the same time");
        call->request->refused = true;
        return false;
    }
    return !sets_name || set_name(call, name);
}

static void answer_hello(struct call *call)
{
    int64_t version = 2;
    if (call->argument_left > 0 && !redis_number_parse(take_argument(call), &version)) {
        write_text(call, "-ERR Protocol version is not an integer or out of range");
    } else if (version != 2) {
        /* Connections to targets speak RESP2, and answers are passed on as they come. */
        write_text(call, "-NOPROTO unsupported protocol version");
    } else if (take_hello_options(call)) {
        buffer_print(call->answer,
                     "*14\r\n$6\r\nserver\r\n$8\r\nproximux\r\n$7\r\nversion\r\n$%zu\r\n" REDIS_VERSION
                     "\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:%llu\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
                     "$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
                     sizeof REDIS_VERSION - 1, (unsigned long long)call->client->number);
    }
}

/* ---- All of them --------------------------------------------------------------------------------------- */

struct answerer {
    const char *name;
    int64_t least; /* arguments, words of the name included */
    int64_t most;  /* -1: no limit */
    void (*answer)(struct call *call);
};

static const struct answerer answerers[] = {
    { "auth", 2, -1, answer_auth },
    { "client|getname", 2, 2, answer_getname },
    { "client|id", 2, 2, answer_id },
    { "client|setinfo", 4, 4, answer_setinfo },
    { "client|setname", 3, 3, answer_setname },
    { "hello", 1, -1, answer_hello },
    { "quit", 1, -1, answer_quit },
    { "reset", 1, 1, answer_reset },
    { "select", 2, 2, answer_select },
};

static const struct answerer *find_answerer(const char *name)
{
    for (size_t i = 0; i < sizeof answerers / sizeof *answerers; i++)
        if (strcmp(answerers[i].name, name) == 0)
            return &answerers[i];
    return NULL;
}

void redis_answer(const struct protocol_settings *settings, struct redis_client *client,
                  struct protocol_request *request, struct slice bytes, struct buffer *answer)
{
    const struct answerer *answerer = find_answerer(client->word);
    struct call call = {
        .settings = settings,
        .client = client,
        .request = request,
        .bytes = bytes,
        .argument_left = client->reading.count,
        .answer = answer,
    };
    if (answerer == NULL) { /* the two tables do not agree */
        write_text(&call, "-ERR proximux: internal error");
        return;
    }
    if (call.argument_left < answerer->least ||
        (answerer->most >= 0 && call.argument_left > answerer->most)) {
        buffer_print(answer, "-ERR wrong number of arguments for '%s' command\r\n", answerer->name);
        return;
    }
    slice_skip(&call.bytes,
               (size_t)((const char *)memchr(bytes.bytes, '\n', bytes.length) - bytes.bytes) + 1);
    take_argument(&call);
    if (strchr(answerer->name, '|') != NULL)
        take_argument(&call);
    answerer->answer(&call);
}
