#include "config/keys.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A bit more than 24 days; what poll() and the like can still count in milliseconds. */
#define TIME_MAX  INT32_MAX
#define COUNT_MAX INT32_MAX

static const char *const log_levels[] = { "none", "error", "info", "debug", NULL };
static const char *const log_formats[] = { "text", "json", NULL };
static const char *const modes[] = { "proxy", "fifo", "funnel", "auto", NULL };
static const char *const balances[] = { "least_connections", "round_robin", "first", "source", NULL };

#define STRING(scope, name, fallback, help)                                                                  \
    {                                                                                                        \
        scope, name, KEY_STRING, UNIT_NONE, 0, 0, false, false, NULL, fallback, false, help                  \
    }
#define STRINGS(scope, name, required, help)                                                                 \
    {                                                                                                        \
        scope, name, KEY_STRINGS, UNIT_NONE, 0, 0, false, false, NULL, NULL, required, help                  \
    }
#define STRUCTURE(scope, name, required, help)                                                               \
    {                                                                                                        \
        scope, name, KEY_STRUCTURE, UNIT_NONE, 0, 0, false, false, NULL, NULL, required, help                \
    }
#define BOOLEAN(scope, name, fallback, help)                                                                 \
    {                                                                                                        \
        scope, name, KEY_BOOLEAN, UNIT_NONE, 0, 0, false, false, NULL, fallback, false, help                 \
    }
#define CHOICE(scope, name, numbered, choices, fallback, help)                                               \
    {                                                                                                        \
        scope, name, KEY_CHOICE, UNIT_NONE, 0, 0, false, numbered, choices, fallback, false, help            \
    }
#define INTEGER(scope, name, unit, minimum, maximum, fallback, help)                                         \
    {                                                                                                        \
        scope, name, KEY_INTEGER, unit, minimum, maximum, false, false, NULL, fallback, false, help          \
    }
#define LIMIT(scope, name, unit, minimum, maximum, fallback, help)                                           \
    {                                                                                                        \
        scope, name, KEY_INTEGER, unit, minimum, maximum, true, false, NULL, fallback, false, help           \
    }

static const struct key global_keys[] = {
    STRUCTURE(SCOPE_GLOBAL, "log", false, "what the log holds and where it goes"),
    STRING(SCOPE_GLOBAL, "user", NULL, "user to become after binding"),
    STRING(SCOPE_GLOBAL, "group", NULL, "group to become after binding; without it the user's own"),
    STRING(SCOPE_GLOBAL, "pid_file", NULL, "file that holds the process number"),
    LIMIT(SCOPE_GLOBAL, "shutdown_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "30000",
          "how long sessions may take to finish after a signal to stop"),
    INTEGER(SCOPE_GLOBAL, "shutdown_delay", UNIT_MILLISECONDS, 0, TIME_MAX, "0",
            "how long everything goes on after a signal to stop, before draining begins"),
    STRUCTURE(SCOPE_GLOBAL, "defaults", false, "values for listeners that have none of their own"),
    STRUCTURE(SCOPE_GLOBAL, "listeners", false, "the listeners"),
};

static const struct key log_keys[] = {
    CHOICE(SCOPE_LOG, "level", true, log_levels, "info", "the least important lines that are written"),
    STRING(SCOPE_LOG, "output", "stderr", "\"stderr\", \"syslog\" or the absolute path of a file"),
    CHOICE(SCOPE_LOG, "format", false, log_formats, "text", "lines for people, or one JSON object a line"),
};

static const struct key listener_keys[] = {
    { SCOPE_LISTENER, "name", KEY_STRING, UNIT_NONE, 0, 0, false, false, NULL, NULL, true, "unique name" },
    STRINGS(SCOPE_LISTENER, "listen", true, "addresses to listen on"),
    BOOLEAN(SCOPE_LISTENER, "ipv6_only", "false", "IPv6 addresses take no IPv4 clients"),
    INTEGER(SCOPE_LISTENER, "backlog", UNIT_CLIENTS, 1, 65535, "4096",
            "clients the kernel holds until accepted"),
    BOOLEAN(SCOPE_LISTENER, "reuse_port", "false", "several processes may listen on the same address"),
    STRING(SCOPE_LISTENER, "unix_mode", "0660", "permissions of unix sockets"),
    STRING(SCOPE_LISTENER, "unix_user", NULL, "owner of unix sockets"),
    STRING(SCOPE_LISTENER, "unix_group", NULL, "group of unix sockets"),
    CHOICE(SCOPE_LISTENER, "mode", false, modes, "proxy", "how clients and target connections are paired"),
    STRUCTURE(SCOPE_LISTENER, "targets", true, "the servers"),
    CHOICE(SCOPE_LISTENER, "balance", false, balances, "least_connections", "how a target is picked"),
    LIMIT(SCOPE_LISTENER, "max_connections", UNIT_CLIENTS, 1, COUNT_MAX, "-1", "clients at a time"),
    LIMIT(SCOPE_LISTENER, "max_connections_per_address", UNIT_CLIENTS, 1, COUNT_MAX, "-1",
          "clients at a time from one address"),
    LIMIT(SCOPE_LISTENER, "inactivity_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "-1",
          "longest silence of both sides"),
    LIMIT(SCOPE_LISTENER, "half_close_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "-1",
          "longest silence once one side has ended"),
    BOOLEAN(SCOPE_LISTENER, "client_keep_alive", "true", "TCP keep-alive towards clients"),
    INTEGER(SCOPE_LISTENER, "client_keep_alive_idle", UNIT_MILLISECONDS, 1000, 32767000, "60000",
            "silence before the first probe"),
    INTEGER(SCOPE_LISTENER, "client_keep_alive_interval", UNIT_MILLISECONDS, 1000, 32767000, "10000",
            "time between probes"),
    INTEGER(SCOPE_LISTENER, "client_keep_alive_count", UNIT_NONE, 1, 127, "6", "probes without answer"),
    LIMIT(SCOPE_LISTENER, "connect_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "5000",
          "one attempt on one address of a target"),
    INTEGER(SCOPE_LISTENER, "queue_limit", UNIT_CLIENTS, 1, 1000000, "1024",
            "clients that may wait for a target connection"),
    LIMIT(SCOPE_LISTENER, "queue_timeout", UNIT_MILLISECONDS, 1, TIME_MAX, "30000", "how long they may wait"),
    INTEGER(SCOPE_LISTENER, "retry_min", UNIT_MILLISECONDS, 1, TIME_MAX, "250",
            "first back-off of a target that failed"),
    INTEGER(SCOPE_LISTENER, "retry_max", UNIT_MILLISECONDS, 1, TIME_MAX, "30000", "longest back-off"),
    STRINGS(SCOPE_LISTENER, "blocklist", false, "addresses that are turned away"),
    STRINGS(SCOPE_LISTENER, "allowlist", false, "the only addresses that are let in"),
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
    LIMIT(SCOPE_TARGET, "max_connections", UNIT_CONNECTIONS, 1, COUNT_MAX, "-1", "connections at a time"),
    BOOLEAN(SCOPE_TARGET, "backup", "false", "used only while no other target is up"),
    INTEGER(SCOPE_TARGET, "weight", UNIT_NONE, 0, 1000, "1", "its share of the work; 0: no new work"),
};

static const struct {
    const struct key *keys;
    size_t count;
} scopes[SCOPE_COUNT] = {
    [SCOPE_GLOBAL] = { global_keys, sizeof global_keys / sizeof global_keys[0] },
    [SCOPE_LOG] = { log_keys, sizeof log_keys / sizeof log_keys[0] },
    [SCOPE_LISTENER] = { listener_keys, sizeof listener_keys / sizeof listener_keys[0] },
    [SCOPE_TARGET] = { target_keys, sizeof target_keys / sizeof target_keys[0] },
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

static const char *type_name(const struct key *key)
{
    switch (key->type) {
    case KEY_STRING:
    case KEY_CHOICE:
        return "string";
    case KEY_INTEGER:
        return "integer";
    case KEY_BOOLEAN:
        return "boolean";
    case KEY_STRINGS:
        return "list of strings";
    case KEY_STRUCTURE:
        break;
    }
    return key->scope == SCOPE_LISTENER || strcmp(key->name, "listeners") == 0 ? "list" : "group";
}

static const char *unit_name(enum key_unit unit)
{
    static const char *const names[] = {
        [UNIT_NONE] = "",
        [UNIT_MILLISECONDS] = ", milliseconds",
        [UNIT_CLIENTS] = ", clients",
        [UNIT_CONNECTIONS] = ", connections",
    };
    return names[unit];
}

const char *keys_describe(const struct key *key, char *text, size_t size)
{
    bool quoted = key->type == KEY_STRING || key->type == KEY_CHOICE;
    if (key->fallback == NULL)
        snprintf(text, size, "%s%s, %s", type_name(key), unit_name(key->unit),
                 key->required ? "required" : "no default");
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

bool keys_variable(const struct key *key, char *text, size_t size)
{
    bool single = key->type != KEY_STRINGS && key->type != KEY_STRUCTURE;
    if (!single || key->scope == SCOPE_TARGET || strcmp(key->name, "name") == 0)
        return false;
    snprintf(text, size, "PROXIMUX_%s%s", key->scope == SCOPE_LOG ? "LOG_" : "", key->name);
    for (char *c = text; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    return true;
}
