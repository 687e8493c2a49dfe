#include "config/keys.h"

#include "protocol/length/length.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A bit more than 24 days; what poll() and the like can still count in milliseconds. */
#define TIME_MAX  INT32_MAX
#define COUNT_MAX INT32_MAX
#define BYTES_MAX ((int64_t)1 << 40)

static const char *const log_levels[] = { "none", "error", "info", "debug", NULL };
static const char *const log_formats[] = { "text", "json", NULL };
static const char *const modes[] = { "proxy", "fifo", "funnel", "auto", NULL };
static const char *const balances[] = { "least_connections", "round_robin", "first", "source", NULL };

static const char *const protocols[] = {
    [TYPE_RAW] = "raw",
    [TYPE_LINE] = "line",
    [TYPE_LENGTH] = "length",
    [TYPE_MARKS] = "marks",
    [TYPE_MODBUS] = "modbus",
    [TYPE_REDIS] = "redis",
    [TYPE_MEMCACHED] = "memcached",
    [TYPE_HTTP] = "http",
    [TYPE_MYSQL] = "mysql",
    [TYPE_POSTGRESQL] = "postgresql",
    [TYPE_COUNT] = NULL,
};
static const char *const endians[] = { "big", "little", NULL };
static const char *const encodings[] = { "binary", "ascii", "bcd", NULL };
static const char *const matches[] = { "id", "order", NULL };

/* One entry each: where it stands, its name, what is peculiar to its type, its help; then whatever else. */
#define STRING(place, word, standard, text, ...)                                                             \
    {                                                                                                        \
        .scope = place, .name = word, .type = KEY_STRING, .fallback = standard, .help = text, __VA_ARGS__    \
    }
#define STRINGS(place, word, text, ...)                                                                      \
    {                                                                                                        \
        .scope = place, .name = word, .type = KEY_STRINGS, .help = text, __VA_ARGS__                         \
    }
#define STRUCTURE(place, word, text, ...)                                                                    \
    {                                                                                                        \
        .scope = place, .name = word, .type = KEY_STRUCTURE, .help = text, __VA_ARGS__                       \
    }
#define BOOLEAN(place, word, standard, text, ...)                                                            \
    {                                                                                                        \
        .scope = place, .name = word, .type = KEY_BOOLEAN, .fallback = standard, .help = text, __VA_ARGS__   \
    }
#define CHOICE(place, word, words, standard, text, ...)                                                      \
    {                                                                                                        \
        .scope = place, .name = word, .type = KEY_CHOICE, .choices = words, .fallback = standard,            \
        .help = text, __VA_ARGS__                                                                            \
    }
#define INTEGER(place, word, counts, least, most, standard, text, ...)                                       \
    {                                                                                                        \
        .scope = place, .name = word, .type = KEY_INTEGER, .unit = counts, .minimum = least,                 \
        .maximum = most, .fallback = standard, .help = text, __VA_ARGS__                                     \
    }
#define LIMIT(place, word, counts, least, most, standard, text, ...)                                         \
    INTEGER(place, word, counts, least, most, standard, text, .can_disable = true, __VA_ARGS__)

static const struct key global_keys[] = {
    STRUCTURE(SCOPE_GLOBAL, "log", "what the log holds and where it goes"),
    STRING(SCOPE_GLOBAL, "user", NULL, "user to become after binding"),
    STRING(SCOPE_GLOBAL, "group", NULL, "group to become after binding; without it the user's own"),
    STRING(SCOPE_GLOBAL, "pid_file", NULL, "file that holds the process number"),
    LIMIT(SCOPE_GLOBAL, "shutdown_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "30000",
          "how long sessions may take to finish after a signal to stop"),
    INTEGER(SCOPE_GLOBAL, "shutdown_delay", UNIT_MILLISECONDS, 0, TIME_MAX, "0",
            "how long everything goes on after a signal to stop, before draining begins"),
    STRUCTURE(SCOPE_GLOBAL, "modules", "the modules that are loaded"),
    STRUCTURE(SCOPE_GLOBAL, "admin", "metrics and status page"),
    STRUCTURE(SCOPE_GLOBAL, "defaults", "values for listeners that have none of their own"),
    STRUCTURE(SCOPE_GLOBAL, "listeners", "the listeners"),
};

static const struct key log_keys[] = {
    CHOICE(SCOPE_LOG, "level", log_levels, "info", "the least important lines that are written",
           .numbered = true),
    STRING(SCOPE_LOG, "output", "stderr", "\"stderr\", \"syslog\" or the absolute path of a file"),
    CHOICE(SCOPE_LOG, "format", log_formats, "text", "lines for people, or one JSON object a line"),
    BOOLEAN(SCOPE_LOG, "mask_addresses", "false", "addresses of clients are shortened"),
};

static const struct key admin_keys[] = {
    STRINGS(SCOPE_ADMIN, "listen", "addresses of metrics and status page; without one there are none",
            .has_variable = true),
    STRING(SCOPE_ADMIN, "unix_mode", "0600", "permissions of unix sockets"),
    STRING(SCOPE_ADMIN, "unix_user", NULL, "owner of unix sockets"),
    STRING(SCOPE_ADMIN, "unix_group", NULL, "group of unix sockets"),
    STRINGS(SCOPE_ADMIN, "allowlist", "the only addresses that are let in"),
};

static const struct key listener_keys[] = {
    STRING(SCOPE_LISTENER, "name", NULL, "unique name", .required = true),
    STRINGS(SCOPE_LISTENER, "listen", "addresses to listen on", .required = true),
    BOOLEAN(SCOPE_LISTENER, "ipv6_only", "false", "IPv6 addresses take no IPv4 clients"),
    INTEGER(SCOPE_LISTENER, "backlog", UNIT_CLIENTS, 1, 65535, "4096",
            "clients the kernel holds until accepted"),
    BOOLEAN(SCOPE_LISTENER, "reuse_port", "false", "several processes may listen on the same address"),
    STRING(SCOPE_LISTENER, "unix_mode", "0660", "permissions of unix sockets"),
    STRING(SCOPE_LISTENER, "unix_user", NULL, "owner of unix sockets"),
    STRING(SCOPE_LISTENER, "unix_group", NULL, "group of unix sockets"),
    CHOICE(SCOPE_LISTENER, "mode", modes, "proxy", "how clients and target connections are paired"),
    CHOICE(SCOPE_LISTENER, "protocol", protocols, "raw", "where messages end", .members = SCOPE_PROTOCOL),
    STRUCTURE(SCOPE_LISTENER, "targets", "the servers", .required = true),
    CHOICE(SCOPE_LISTENER, "balance", balances, "least_connections", "how a target is picked"),
    LIMIT(SCOPE_LISTENER, "max_connections", UNIT_CLIENTS, 1, COUNT_MAX, "-1", "clients at a time"),
    LIMIT(SCOPE_LISTENER, "max_connections_per_address", UNIT_CLIENTS, 1, COUNT_MAX, "-1",
          "clients at a time from one address"),
    LIMIT(SCOPE_LISTENER, "inactivity_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "-1",
          "longest silence of both sides, or of an idle target connection"),
    LIMIT(SCOPE_LISTENER, "half_close_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "-1",
          "longest silence once one side has ended", .use = USE_PROXY),
    BOOLEAN(SCOPE_LISTENER, "client_keep_alive", "true", "TCP keep-alive towards clients"),
    INTEGER(SCOPE_LISTENER, "client_keep_alive_idle", UNIT_MILLISECONDS, 1000, 32767000, "60000",
            "silence before the first probe"),
    INTEGER(SCOPE_LISTENER, "client_keep_alive_interval", UNIT_MILLISECONDS, 1000, 32767000, "10000",
            "time between probes"),
    INTEGER(SCOPE_LISTENER, "client_keep_alive_count", UNIT_NONE, 1, 127, "6", "probes without answer"),
    LIMIT(SCOPE_LISTENER, "client_idle_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "-1",
          "longest silence of a client with nothing outstanding", .use = USE_SHARED),
    LIMIT(SCOPE_LISTENER, "connect_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "5000",
          "one attempt on one address of a target"),
    INTEGER(SCOPE_LISTENER, "queue_limit", UNIT_CLIENTS, 1, 1000000, "1024",
            "clients that may wait for a target connection"),
    LIMIT(SCOPE_LISTENER, "queue_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "30000", "how long they may wait"),
    LIMIT(SCOPE_LISTENER, "request_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "30000",
          "longest silence of a target that owes an answer", .use = USE_SHARED),
    LIMIT(SCOPE_LISTENER, "stall_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "10000",
          "how long a slow client may hold a connection that others wait for", .use = USE_SHARED),
    BOOLEAN(SCOPE_LISTENER, "abort_on_close", NULL, "a client's end drops its waiting requests",
            .use = USE_SHARED, .default_by_protocol = true),
    BOOLEAN(SCOPE_LISTENER, "async", NULL, "several requests in flight on one target connection",
            .use = USE_SHARED, .default_by_protocol = true),
    INTEGER(SCOPE_LISTENER, "pipeline_depth", UNIT_REQUESTS, 1, 1000000, "1024",
            "requests in flight on one target connection, and waiting of one client", .use = USE_SHARED),
    INTEGER(SCOPE_LISTENER, "connect_delay", UNIT_MILLISECONDS, 0, TIME_MAX, "0",
            "wait after connecting to a target", .use = USE_SHARED),
    INTEGER(SCOPE_LISTENER, "request_gap", UNIT_MILLISECONDS, 0, TIME_MAX, "0",
            "wait between exchanges on a target connection", .use = USE_SHARED),
    LIMIT(SCOPE_LISTENER, "connection_ttl", UNIT_MILLISECONDS, 1, TIME_MAX, "-1",
          "age at which a target connection is replaced", .use = USE_SHARED),
    LIMIT(SCOPE_LISTENER, "max_requests_per_connection", UNIT_REQUESTS, 1, COUNT_MAX, "-1",
          "requests after which a target connection is replaced", .use = USE_SHARED),
    INTEGER(SCOPE_LISTENER, "retry_min", UNIT_MILLISECONDS, 1, TIME_MAX, "250",
            "first back-off of a target that failed"),
    INTEGER(SCOPE_LISTENER, "retry_max", UNIT_MILLISECONDS, 1, TIME_MAX, "30000", "longest back-off"),
    BOOLEAN(SCOPE_LISTENER, "request_log", "false", "a line in the log for each exchange"),
    BOOLEAN(SCOPE_LISTENER, "warmup", "false", "target connections are opened before clients are accepted",
            .use = USE_SHARED),
    INTEGER(SCOPE_LISTENER, "buffer_limit", UNIT_BYTES, 1024, 1 << 30, "65536",
            "bytes of a request or of an answer that are held", .use = USE_SHARED),
    INTEGER(SCOPE_LISTENER, "memory_limit", UNIT_BYTES, 65536, BYTES_MAX, "268435456",
            "bytes that are held for all clients together", .use = USE_SHARED),
    LIMIT(SCOPE_LISTENER, "max_message", UNIT_BYTES, 1, BYTES_MAX, "-1",
          "longest request or answer that is let through", .use = USE_SHARED),
    STRINGS(SCOPE_LISTENER, "blocklist", "addresses that are turned away"),
    STRINGS(SCOPE_LISTENER, "allowlist", "the only addresses that are let in"),
    STRINGS(SCOPE_LISTENER, "accept_proxy_protocol", "proxies whose PROXY header is required and believed"),
};

static const struct key target_keys[] = {
    STRING(SCOPE_TARGET, "address", NULL, "HOST:PORT or unix:PATH"),
    STRING(SCOPE_TARGET, "host", NULL, "the host, instead of address"),
    INTEGER(SCOPE_TARGET, "port", UNIT_NONE, 1, 65535, NULL, "the port that goes with host"),
    BOOLEAN(SCOPE_TARGET, "keep_alive", "false", "TCP keep-alive towards the target"),
    INTEGER(SCOPE_TARGET, "keep_alive_idle", UNIT_MILLISECONDS, 1000, 32767000, "60000",
            "silence before the first probe"),
    INTEGER(SCOPE_TARGET, "keep_alive_interval", UNIT_MILLISECONDS, 1000, 32767000, "10000",
            "time between probes"),
    INTEGER(SCOPE_TARGET, "keep_alive_count", UNIT_NONE, 1, 127, "6", "probes without answer"),
    INTEGER(SCOPE_TARGET, "connections", UNIT_CONNECTIONS, 1, 10000, "1", "connections that clients share",
            .use = USE_SHARED),
    LIMIT(SCOPE_TARGET, "max_connections", UNIT_CONNECTIONS, 1, COUNT_MAX, "-1", "connections at a time",
          .use = USE_PROXY),
    BOOLEAN(SCOPE_TARGET, "backup", "false", "used only while no other target is up"),
    INTEGER(SCOPE_TARGET, "weight", UNIT_NONE, 0, 1000, "1", "its share of the work; 0: no new work"),
    INTEGER(SCOPE_TARGET, "send_proxy_protocol", UNIT_NONE, 0, 2, "0",
            "version of the PROXY header that tells it the client; 0: none", .use = USE_PROXY),
};

#define HAS_ERROR_REPLY (KEY_OF(TYPE_LINE) | KEY_OF(TYPE_LENGTH) | KEY_OF(TYPE_MARKS))
#define EVERY_PROTOCOL  (KEY_OF(TYPE_COUNT) - 1)

static const struct key protocol_keys[] = {
    CHOICE(SCOPE_PROTOCOL, "type", protocols, "raw", "the protocol's name", .protocols = EVERY_PROTOCOL),
    INTEGER(SCOPE_PROTOCOL, "response_gap", UNIT_MILLISECONDS, 1, TIME_MAX, "20",
            "silence that ends an answer", .protocols = KEY_OF(TYPE_RAW)),
    STRING(SCOPE_PROTOCOL, "delimiter", "\\n", "what ends a line", .is_bytes = true,
           .protocols = KEY_OF(TYPE_LINE)),
    INTEGER(SCOPE_PROTOCOL, "reply_lines", UNIT_NONE, 1, 65535, "1", "lines of an answer",
            .protocols = KEY_OF(TYPE_LINE)),
    STRING(SCOPE_PROTOCOL, "reply_until", NULL, "beginning of an answer's last line", .is_bytes = true,
           .protocols = KEY_OF(TYPE_LINE)),
    STRING(SCOPE_PROTOCOL, "reply_if", NULL, "what requests with an answer contain", .is_bytes = true,
           .protocols = KEY_OF(TYPE_LINE)),
    INTEGER(SCOPE_PROTOCOL, "offset", UNIT_BYTES, 0, LENGTH_HEAD_MAX - 1, "0",
            "bytes before the length field", .protocols = KEY_OF(TYPE_LENGTH)),
    INTEGER(SCOPE_PROTOCOL, "width", UNIT_BYTES, 1, 18, NULL, "bytes of the length field", .required = true,
            .protocols = KEY_OF(TYPE_LENGTH)),
    CHOICE(SCOPE_PROTOCOL, "endian", endians, "big", "order of the length's bytes",
           .protocols = KEY_OF(TYPE_LENGTH)),
    INTEGER(SCOPE_PROTOCOL, "adjust", UNIT_BYTES, -65536, 65536, "0",
            "what the length leaves out or counts in excess", .protocols = KEY_OF(TYPE_LENGTH)),
    CHOICE(SCOPE_PROTOCOL, "encoding", encodings, "binary", "how the length is written",
           .protocols = KEY_OF(TYPE_LENGTH)),
    STRUCTURE(SCOPE_PROTOCOL, "id", "where messages carry an id", .members = SCOPE_PROTOCOL_ID,
              .protocols = KEY_OF(TYPE_LENGTH)),
    STRING(SCOPE_PROTOCOL, "start", NULL, "what begins a message", .required = true, .is_bytes = true,
           .protocols = KEY_OF(TYPE_MARKS)),
    STRING(SCOPE_PROTOCOL, "end", NULL, "what ends a message", .required = true, .is_bytes = true,
           .protocols = KEY_OF(TYPE_MARKS)),
    STRING(SCOPE_PROTOCOL, "error_reply", NULL, "the answer in place of one that can't be had",
           .is_bytes = true, .protocols = HAS_ERROR_REPLY),
    CHOICE(SCOPE_PROTOCOL, "match", matches, "id", "what tells whose an answer is",
           .protocols = KEY_OF(TYPE_MODBUS)),
    STRING(SCOPE_PROTOCOL, "username", NULL, "whom to log in as", .protocols = KEY_OF(TYPE_REDIS)),
    STRING(SCOPE_PROTOCOL, "password", NULL, "the password of that user", .is_secret = true,
           .protocols = KEY_OF(TYPE_REDIS)),
    INTEGER(SCOPE_PROTOCOL, "database", UNIT_NONE, 0, COUNT_MAX, "0", "the database that clients see",
            .protocols = KEY_OF(TYPE_REDIS)),
    BOOLEAN(SCOPE_PROTOCOL, "client_auth", "true", "clients have to give the password, too",
            .protocols = KEY_OF(TYPE_REDIS)),
    STRINGS(SCOPE_PROTOCOL, "commands", "further commands that may pass", .protocols = KEY_OF(TYPE_REDIS)),
};

static const struct key protocol_id_keys[] = {
    INTEGER(SCOPE_PROTOCOL_ID, "offset", UNIT_BYTES, 0, LENGTH_HEAD_MAX - 1, NULL, "bytes before the id",
            .required = true),
    INTEGER(SCOPE_PROTOCOL_ID, "width", UNIT_BYTES, 1, LENGTH_ID_MAX, NULL, "bytes of the id",
            .required = true),
};

static const struct key module_keys[] = {
    STRING(SCOPE_MODULE, "path", NULL, "the module's file", .required = true),
    STRINGS(SCOPE_MODULE, "listeners", "the listeners that it is for; without it all of them"),
};

static const struct {
    const struct key *keys;
    size_t count;
} scopes[SCOPE_COUNT] = {
    [SCOPE_GLOBAL] = { global_keys, sizeof global_keys / sizeof global_keys[0] },
    [SCOPE_LOG] = { log_keys, sizeof log_keys / sizeof log_keys[0] },
    [SCOPE_ADMIN] = { admin_keys, sizeof admin_keys / sizeof admin_keys[0] },
    [SCOPE_LISTENER] = { listener_keys, sizeof listener_keys / sizeof listener_keys[0] },
    [SCOPE_TARGET] = { target_keys, sizeof target_keys / sizeof target_keys[0] },
    [SCOPE_PROTOCOL] = { protocol_keys, sizeof protocol_keys / sizeof protocol_keys[0] },
    [SCOPE_PROTOCOL_ID] = { protocol_id_keys, sizeof protocol_id_keys / sizeof protocol_id_keys[0] },
    [SCOPE_MODULE] = { module_keys, sizeof module_keys / sizeof module_keys[0] },
};

_Static_assert(sizeof listener_keys / sizeof listener_keys[0] <= KEYS_MAX, "KEYS_MAX is too small");

const struct key *keys_of(enum key_scope scope, size_t *count)
{
    *count = scopes[scope].count;
    return scopes[scope].keys;
}

const struct key *keys_find(enum key_scope scope, const char *name, size_t *index)
{
    for (size_t i = 0; i < scopes[scope].count; i++) {
        if (strcmp(scopes[scope].keys[i].name, name) != 0)
            continue;
        if (index != NULL)
            *index = i;
        return &scopes[scope].keys[i];
    }
    return NULL;
}

size_t keys_index(enum key_scope scope, const char *name)
{
    size_t index = KEYS_MAX;
    keys_find(scope, name, &index);
    return index;
}

/* Longest word that is compared for suggestions. */
#define WORD_MAX 48

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t smaller = a < b ? a : b;
    return smaller < c ? smaller : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn one word into the other (optimal
 * string alignment), upper and lower case being equal. */
static size_t word_distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);
    if (a_length > WORD_MAX || b_length > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            bool equal = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, above[j - 1] + (equal ? 0 : 1));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two_above[j - 2] + 1 < row[j])
                row[j] = two_above[j - 2] + 1;
        }
    }
    return rows[a_length % 3][b_length];
}

/* Whether so many differences can be slips in a word of this length. */
static bool is_near(size_t distance, size_t length)
{
    return distance <= (length < 4 ? 1 : length < 8 ? 2 : 3);
}

const struct key *keys_suggest(enum key_scope scope, const char *name)
{
    const struct key *best = NULL;
    size_t best_distance = WORD_MAX;
    for (size_t i = 0; i < scopes[scope].count; i++) {
        size_t distance = word_distance(name, scopes[scope].keys[i].name);
        if (distance < best_distance) {
            best = &scopes[scope].keys[i];
            best_distance = distance;
        }
    }
    return best != NULL && is_near(best_distance, strlen(best->name)) ? best : NULL;
}

const char *keys_suggest_word(const char *text, const char *const *candidates)
{
    const char *best = NULL;
    size_t best_distance = WORD_MAX;
    for (; *candidates != NULL; candidates++) {
        size_t distance = word_distance(text, *candidates);
        if (distance < best_distance) {
            best = *candidates;
            best_distance = distance;
        }
    }
    return best != NULL && is_near(best_distance, strlen(best)) ? best : NULL;
}

bool keys_belongs(const struct key *key, enum key_protocol type)
{
    return (key->protocols & KEY_OF(type)) != 0;
}

const char *keys_owners(const struct key *key, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int type = 0; type < TYPE_COUNT && used < size; type++) {
        if (!keys_belongs(key, (enum key_protocol)type))
            continue;
        bool is_last = key->protocols >> (type + 1) == 0;
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 used == 0 ? ""
                                 : is_last ? " or "
                                           : ", ",
                                 protocols[type]);
    }
    return text;
}

const char *keys_protocol_name(enum key_protocol type)
{
    return protocols[type];
}

static const char *type_name(const struct key *key)
{
    switch (key->type) {
    case KEY_STRING:
        return "string";
    case KEY_CHOICE:
        return key->members != SCOPE_GLOBAL ? "string or group" : "string";
    case KEY_INTEGER:
        return "integer";
    case KEY_BOOLEAN:
        return "boolean";
    case KEY_STRINGS:
        return "list of strings";
    case KEY_STRUCTURE:
        break;
    }
    bool is_list = key->scope == SCOPE_LISTENER || strcmp(key->name, "listeners") == 0 ||
                   strcmp(key->name, "modules") == 0;
    return is_list ? "list" : "group";
}

static const char *unit_name(enum key_unit unit)
{
    static const char *const names[] = {
        [UNIT_NONE] = "",
        [UNIT_MILLISECONDS] = ", milliseconds",
        [UNIT_CLIENTS] = ", clients",
        [UNIT_CONNECTIONS] = ", connections",
        [UNIT_REQUESTS] = ", requests",
        [UNIT_BYTES] = ", bytes",
    };
    return names[unit];
}

const char *keys_describe(const struct key *key, char *text, size_t size)
{
    bool quoted = key->type == KEY_STRING || key->type == KEY_CHOICE;
    if (key->fallback == NULL)
        snprintf(text, size, "%s%s, %s", type_name(key), unit_name(key->unit),
                 key->required              ? "required"
                 : key->default_by_protocol ? "default by protocol"
                                            : "no default");
    else
        snprintf(text, size, quoted ? "%s%s, default \"%s\"" : "%s%s, default %s", type_name(key),
                 unit_name(key->unit), key->fallback);
    return text;
}

static void describe_choices(const struct key *key, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "one of");
    for (size_t i = 0; key->choices[i] != NULL && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s \"%s\"", i == 0 ? "" : ",", key->choices[i]);
    if (key->members != SCOPE_GLOBAL && used < size)
        snprintf(text + used, size - used, ", or a group: { type = ...; ... }");
}

const char *keys_expectation(const struct key *key, char *text, size_t size)
{
    switch (key->type) {
    case KEY_STRING:
        snprintf(text, size, "a string");
        break;
    case KEY_INTEGER:
        snprintf(text, size, "an integer from %" PRId64 " to %" PRId64 "%s", key->minimum, key->maximum,
                 key->can_disable ? " (or -1: none)" : "");
        break;
    case KEY_BOOLEAN:
        snprintf(text, size, "true or false");
        break;
    case KEY_CHOICE:
        describe_choices(key, text, size);
        break;
    case KEY_STRINGS:
        snprintf(text, size, "a string or a list of strings");
        break;
    case KEY_STRUCTURE:
        snprintf(text, size, "%s",
                 strcmp(type_name(key), "list") == 0 ? "a list: ( ... )" : "a group: { ... }");
        break;
    }
    return text;
}

/* What stands before a key's own name in its variable; NULL: keys of the scope have none. */
static const char *variable_prefix(enum key_scope scope)
{
    static const char *const prefixes[SCOPE_COUNT] = {
        [SCOPE_GLOBAL] = "",   [SCOPE_LOG] = "LOG_",           [SCOPE_ADMIN] = "ADMIN_",
        [SCOPE_LISTENER] = "", [SCOPE_PROTOCOL] = "PROTOCOL_", [SCOPE_PROTOCOL_ID] = "PROTOCOL_ID_",
    };
    return prefixes[scope];
}

bool keys_variable(const struct key *key, char *text, size_t size)
{
    bool single = (key->type != KEY_STRINGS || key->has_variable) && key->type != KEY_STRUCTURE;
    bool is_type = key->scope == SCOPE_PROTOCOL && key->type == KEY_CHOICE && key->choices == protocols;
    if (!single || is_type || variable_prefix(key->scope) == NULL || strcmp(key->name, "name") == 0)
        return false;
    snprintf(text, size, "PROXIMUX_%s%s", variable_prefix(key->scope), key->name);
    for (char *c = text; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    return true;
}
