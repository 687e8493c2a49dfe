#include "config/keys.h"

#include "config/settings.h"
#include "protocol/protocols.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define BYTES_MAX      ((int64_t)1 << 40)
#define PER_SECOND_MAX 1000000

/* Of `priority`: MUX_PRIORITIES of mux/mux.h are enough for it. */
#define PRIORITY_MAX 9

#define GLOBAL(member)   KEY_FIELD(struct settings, member)
#define LISTENER(member) KEY_FIELD(struct listener_settings, member)

static const char *const log_levels[] = { "none", "error", "info", "debug", NULL };
static const char *const log_formats[] = { "text", "json", NULL };
static const char *const modes[] = { "proxy", "fifo", "funnel", "auto", NULL };
static const char *const balances[] = { "least_connections", "round_robin", "first", "source", NULL };

static bool lists_equal(const void *a, const void *b)
{
    return access_list_equal(*(struct access_list *const *)a, *(struct access_list *const *)b);
}

static bool is_absolute_path(const char *text)
{
    return text[0] == '/';
}

static const struct key global_keys[] = {
    STRUCTURE_KEY("log", "what the log holds and where it goes"),
    STRING_KEY("user", NULL, "user to become after binding", GLOBAL(user)),
    STRING_KEY("group", NULL, "group to become after binding; without it the user's own", GLOBAL(group)),
    STRING_KEY("pid_file", NULL, "file that holds the process number", GLOBAL(pid_file),
               .accepts = is_absolute_path, .refusal = "is no absolute path"),
    LIMIT_KEY("shutdown_timeout", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "30000",
              "how long sessions may take to finish after a signal to stop", GLOBAL(shutdown_timeout)),
    INTEGER_KEY("shutdown_delay", UNIT_MILLISECONDS, 0, KEY_TIME_MAX, "0",
                "how long everything goes on after a signal to stop, before draining begins",
                GLOBAL(shutdown_delay)),
    STRUCTURE_KEY("modules", "the modules that are loaded", .is_list = true),
    STRUCTURE_KEY("admin", "metrics and status page"),
    STRUCTURE_KEY("defaults", "values for listeners that have none of their own"),
    STRUCTURE_KEY("listeners", "the listeners", .is_list = true),
};

static const struct key log_keys[] = {
    CHOICE_KEY("level", log_levels, "info", "the least important lines that are written", .numbered = true,
               GLOBAL(log.level)),
    STRING_KEY("output", "stderr", "\"stderr\", \"syslog\" or the absolute path of a file", GLOBAL(log.path)),
    CHOICE_KEY("format", log_formats, "text", "lines for people, or one JSON object a line",
               GLOBAL(log.format)),
    BOOLEAN_KEY("mask_addresses", "false", "addresses of clients are shortened", GLOBAL(log.mask_addresses)),
};

static const struct key admin_keys[] = {
    STRINGS_KEY("listen", "addresses of metrics and status page; without one there are none",
                .has_variable = true),
    STRING_KEY("unix_mode", "0600", "permissions of unix sockets"),
    STRING_KEY("unix_user", NULL, "owner of unix sockets"),
    STRING_KEY("unix_group", NULL, "group of unix sockets"),
    STRINGS_KEY("allowlist", "the only addresses that are let in", LISTENER(allowlist), .equal = lists_equal),
};

static const struct key listener_keys[] = {
    STRING_KEY("name", NULL, "unique name", .required = true, LISTENER(name), .is_client_side = true),
    STRINGS_KEY("listen", "addresses to listen on", .required = true, .is_client_side = true),
    BOOLEAN_KEY("ipv6_only", "false", "IPv6 addresses take no IPv4 clients", LISTENER(ipv6_only),
                .is_client_side = true),
    INTEGER_KEY("backlog", UNIT_CLIENTS, 1, 65535, "4096", "clients the kernel holds until accepted",
                LISTENER(backlog), .is_client_side = true),
    BOOLEAN_KEY("reuse_port", "false", "several processes may listen on the same address",
                LISTENER(reuse_port), .is_client_side = true),
    STRING_KEY("unix_mode", "0660", "permissions of unix sockets", .is_client_side = true),
    STRING_KEY("unix_user", NULL, "owner of unix sockets", .is_client_side = true),
    STRING_KEY("unix_group", NULL, "group of unix sockets", .is_client_side = true),
    STRING_KEY("targets_of", NULL, "the listener whose targets and connections this one shares",
               .is_client_side = true, LISTENER(targets_of)),
    INTEGER_KEY("priority", UNIT_NONE, 0, PRIORITY_MAX, "0",
                "among listeners that share targets, the higher goes first", .use = USE_SHARED,
                .is_client_side = true, LISTENER(priority)),
    CHOICE_KEY("mode", modes, "proxy", "how clients and target connections are paired", LISTENER(mode)),
    CHOICE_KEY("protocol", protocol_names, "raw", "where messages end", .members = &keys_protocol),
    STRUCTURE_KEY("targets", "the servers", .required = true, .is_list = true),
    CHOICE_KEY("balance", balances, "least_connections", "how a target is picked", LISTENER(balance)),
    LIMIT_KEY("max_connections", UNIT_CLIENTS, 1, KEY_COUNT_MAX, "-1", "clients at a time",
              LISTENER(max_connections), .is_client_side = true),
    LIMIT_KEY("max_connections_per_address", UNIT_CLIENTS, 1, KEY_COUNT_MAX, "-1",
              "clients at a time from one address", LISTENER(max_connections_per_address),
              .is_client_side = true),
    LIMIT_KEY("connection_rate", UNIT_CLIENTS, 1, PER_SECOND_MAX, "-1", "clients that may come in a second",
              LISTENER(connection_rate), .is_client_side = true),
    LIMIT_KEY("connection_rate_per_address", UNIT_CLIENTS, 1, PER_SECOND_MAX, "-1",
              "clients that may come in a second from one address", LISTENER(connection_rate_per_address),
              .is_client_side = true),
    LIMIT_KEY("request_rate", UNIT_REQUESTS, 1, PER_SECOND_MAX, "-1", "requests that may go out in a second",
              .use = USE_SHARED, LISTENER(request_rate)),
    LIMIT_KEY("request_rate_per_address", UNIT_REQUESTS, 1, PER_SECOND_MAX, "-1",
              "requests of one client address that may go out in a second", .use = USE_SHARED,
              LISTENER(request_rate_per_address)),
    LIMIT_KEY("inactivity_timeout", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "-1",
              "longest silence of both sides, or of an idle target connection", LISTENER(inactivity_timeout)),
    LIMIT_KEY("half_close_timeout", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "-1",
              "longest silence once one side has ended", .use = USE_PROXY, LISTENER(half_close_timeout)),
    BOOLEAN_KEY("client_keep_alive", "true", "TCP keep-alive towards clients",
                LISTENER(client_keep_alive.enabled), .is_client_side = true),
    INTEGER_KEY("client_keep_alive_idle", UNIT_MILLISECONDS, 1000, 32767000, "60000",
                "silence before the first probe", LISTENER(client_keep_alive.idle), .is_client_side = true),
    INTEGER_KEY("client_keep_alive_interval", UNIT_MILLISECONDS, 1000, 32767000, "10000",
                "time between probes", LISTENER(client_keep_alive.interval), .is_client_side = true),
    INTEGER_KEY("client_keep_alive_count", UNIT_NONE, 1, 127, "6", "probes without answer",
                LISTENER(client_keep_alive.count), .is_client_side = true),
    LIMIT_KEY("client_idle_timeout", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "-1",
              "longest silence of a client with nothing outstanding", .use = USE_SHARED,
              LISTENER(client_idle_timeout)),
    LIMIT_KEY("connect_timeout", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "5000",
              "one attempt on one address of a target", LISTENER(connect_timeout)),
    INTEGER_KEY("queue_limit", UNIT_CLIENTS, 1, 1000000, "1024",
                "clients that may wait for a target connection", LISTENER(queue_limit)),
    LIMIT_KEY("queue_timeout", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "30000", "how long they may wait",
              LISTENER(queue_timeout)),
    LIMIT_KEY("down_timeout", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "3000",
              "how long they may wait while every target is down", .fifo_fallback = "10000",
              LISTENER(down_timeout)),
    LIMIT_KEY("request_timeout", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "30000",
              "longest silence of a target that owes an answer", .use = USE_SHARED,
              LISTENER(request_timeout)),
    LIMIT_KEY("stall_timeout", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "10000",
              "how long a slow client may hold a connection that others wait for", .use = USE_SHARED,
              LISTENER(stall_timeout)),
    BOOLEAN_KEY("abort_on_close", NULL, "a client's end drops its waiting requests", .use = USE_SHARED,
                .protocol_default = offsetof(struct protocol, aborts_on_close), LISTENER(abort_on_close)),
    BOOLEAN_KEY("async", NULL, "several requests in flight on one target connection", .use = USE_SHARED,
                .protocol_default = offsetof(struct protocol, is_async), LISTENER(async)),
    INTEGER_KEY("pipeline_depth", UNIT_REQUESTS, 1, 1000000, "1024",
                "requests in flight on one target connection, and waiting of one client", .use = USE_SHARED,
                LISTENER(pipeline_depth)),
    INTEGER_KEY("connect_delay", UNIT_MILLISECONDS, 0, KEY_TIME_MAX, "0", "wait after connecting to a target",
                .use = USE_SHARED, LISTENER(connect_delay)),
    INTEGER_KEY("request_gap", UNIT_MILLISECONDS, 0, KEY_TIME_MAX, "0",
                "wait between exchanges on a target connection", .use = USE_SHARED, LISTENER(request_gap)),
    LIMIT_KEY("connection_ttl", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "-1",
              "age at which a target connection is replaced", .use = USE_SHARED, LISTENER(connection_ttl)),
    LIMIT_KEY("max_requests_per_connection", UNIT_REQUESTS, 1, KEY_COUNT_MAX, "-1",
              "requests after which a target connection is replaced", .use = USE_SHARED,
              LISTENER(max_requests_per_connection)),
    INTEGER_KEY("retry_min", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "250",
                "first back-off of a target that failed", LISTENER(retry_min)),
    INTEGER_KEY("retry_max", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "5000", "longest back-off",
                LISTENER(retry_max)),
    INTEGER_KEY("reconnect_delay", UNIT_MILLISECONDS, 0, KEY_TIME_MAX, "0",
                "pause between the end of a target connection and the next attempt on its address",
                LISTENER(reconnect_delay)),
    INTEGER_KEY("slow_start", UNIT_MILLISECONDS, 0, KEY_TIME_MAX, "0",
                "time in which the share of a target grows that has come back", LISTENER(slow_start)),
    LIMIT_KEY("fail_after", UNIT_NONE, 1, KEY_COUNT_MAX, "3", "failures in a row that make a target sick",
              .proxy_fallback = "-1", LISTENER(fail_after)),
    BOOLEAN_KEY("request_log", "false", "a line in the log for each exchange", LISTENER(request_log),
                .is_client_side = true),
    BOOLEAN_KEY("warmup", "false", "target connections are opened before clients are accepted",
                .use = USE_SHARED, LISTENER(warmup)),
    INTEGER_KEY("buffer_limit", UNIT_BYTES, 1024, 1 << 30, "65536",
                "bytes of a request or of an answer that are held", .use = USE_SHARED,
                LISTENER(buffer_limit)),
    INTEGER_KEY("memory_limit", UNIT_BYTES, 65536, BYTES_MAX, "268435456",
                "bytes that are held for all clients together", .use = USE_SHARED, LISTENER(memory_limit)),
    LIMIT_KEY("max_message", UNIT_BYTES, 1, BYTES_MAX, "-1", "longest request or answer that is let through",
              .use = USE_SHARED, LISTENER(max_message)),
    CHOICE_KEY("check", check_type_names, NULL, "how it is checked that targets work",
               .members = &keys_check),
    STRINGS_KEY("blocklist", "addresses that are turned away", LISTENER(blocklist), .equal = lists_equal,
                .is_client_side = true),
    STRINGS_KEY("allowlist", "the only addresses that are let in", LISTENER(allowlist), .equal = lists_equal,
                .is_client_side = true),
    STRINGS_KEY("accept_proxy_protocol", "proxies whose PROXY header is required and believed",
                LISTENER(proxies), .equal = lists_equal, .is_client_side = true),
};

static const struct key module_keys[] = {
    STRING_KEY("path", NULL, "the module's file", .required = true),
    STRINGS_KEY("listeners", "the listeners that it is for; without it all of them"),
};

static const struct key protocol_keys[] = {
    CHOICE_KEY("type", protocol_names, "raw", "the protocol's name"),
};

#define SCOPE(name, before, prefix)                                                                          \
    const struct key_scope keys_##name = { before, prefix, name##_keys,                                      \
                                           sizeof name##_keys / sizeof name##_keys[0] }

SCOPE(global, "", "");
SCOPE(log, "log.", "LOG_");
SCOPE(admin, "admin.", "ADMIN_");
SCOPE(listener, "", "");
SCOPE(protocol, "protocol: ", "PROTOCOL_");
SCOPE(module, "modules: ", NULL);

const struct key_scope *keys_scope(size_t index)
{
    static const struct key_scope *const scopes[] = { &keys_global,   &keys_log,    &keys_admin,
                                                      &keys_listener, &keys_target, &keys_check,
                                                      &keys_protocol, &keys_module };
    const size_t count = sizeof scopes / sizeof scopes[0];
    if (index < count)
        return scopes[index];
    index -= count;
    const struct key *key;
    keys_foreach(&keys_protocol, i, key)
    {
        if (key->members != NULL && index-- == 0)
            return key->members;
    }
    return NULL;
}

bool keys_is_of_listener(const struct key_scope *scope)
{
    return scope != &keys_global && scope != &keys_log && scope != &keys_admin;
}

const struct key *keys_at(const struct key_scope *scope, size_t index)
{
    if (index < scope->count)
        return &scope->keys[index];
    if (scope != &keys_protocol)
        return NULL;
    index -= scope->count;
    for (const struct protocol *const *protocol = protocols_all(); *protocol != NULL; protocol++) {
        if (index < (*protocol)->key_count)
            return &(*protocol)->keys[index];
        index -= (*protocol)->key_count;
    }
    return NULL;
}

size_t keys_count(const struct key_scope *scope)
{
    size_t count = 0;
    while (keys_at(scope, count) != NULL)
        count++;
    return count;
}

const struct key *keys_find(const struct key_scope *scope, const char *name, size_t *index)
{
    const struct key *key;
    keys_foreach(scope, i, key)
    {
        if (strcmp(key->name, name) != 0)
            continue;
        if (index != NULL)
            *index = i;
        return key;
    }
    return NULL;
}

const struct key *keys_of_protocol(const struct protocol *protocol, const char *name)
{
    for (size_t i = 0; i < protocol->key_count; i++)
        if (strcmp(protocol->keys[i].name, name) == 0)
            return &protocol->keys[i];
    return NULL;
}

bool keys_variable(const struct key_scope *scope, const struct key *key, char *text, size_t size)
{
    bool is_single = (key->type != KEY_STRINGS || key->has_variable) && key->type != KEY_STRUCTURE;
    bool is_type = (scope == &keys_protocol || scope == &keys_check) && key == scope->keys;
    if (!is_single || is_type || scope->variable == NULL || strcmp(key->name, "name") == 0)
        return false;
    snprintf(text, size, "PROXIMUX_%s%s", scope->variable, key->name);
    for (char *c = text; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    return true;
}
