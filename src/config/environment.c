/* Reads the environment variables into the configuration as parsed, over what the file said. */
#include "config/parsed.h"
#include "config/settings.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX        "PROXIMUX_"
#define LISTENER_NAME "default"
#define VARIABLE_SIZE 80
#define ADDRESS_SIZE  320

/* The original's variables, but for those of single targets. Those of the scope of listeners make or change the
 * listener "default"; what has no key goes together with others. */
static const struct {
    const char *variable;
    const struct key_scope *scope;
    const char *key;
} original_variables[] = {
    { "LOG_LEVEL", &keys_log, "level" },
    { "LOCAL_HOST", &keys_listener, NULL },
    { "LOCAL_PORT", &keys_listener, NULL },
    { "LOCAL_IPV6_ONLY", &keys_listener, "ipv6_only" },
    { "LOCAL_MAX_CONNECTIONS", &keys_listener, "max_connections" },
    { "PROXY_CONNECTIONS_CNT", &keys_listener, NULL },
    { "PROXY_INACTIVE_TIMEOUT", &keys_listener, "inactivity_timeout" },
    { "EXCHANGE_FUNNEL_ASYNC", &keys_listener, "async" },
};

#define ORIGINAL_COUNT (sizeof original_variables / sizeof original_variables[0])

struct reading {
    struct parsed_configuration *parsed;
    char *const *environment;
    struct parsed_group *listener; /* NULL: no variable is about one */
};

static const char *variable_value(const struct reading *reading, const char *name)
{
    size_t length = strlen(name);
    for (char *const *entry = reading->environment; *entry != NULL; entry++)
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
            return *entry + length + 1;
    return NULL;
}

static struct origin variable_origin(const struct reading *reading, const char *name)
{
    return (struct origin){ .kind = ORIGIN_ENVIRONMENT, .name = parsed_name(reading->parsed, name) };
}

static bool same_value(const struct parsed_value *a, const struct parsed_value *b)
{
    if (a->string != NULL && b->string != NULL)
        return strcmp(a->string, b->string) == 0;
    return a->string == NULL && b->string == NULL && a->number == b->number;
}

/* Sets a key by a variable. A second variable may only say the same. */
static void apply(struct reading *reading, struct parsed_group *group, const struct key *key,
                  const char *name, const char *text)
{
    struct origin origin = variable_origin(reading, name);
    struct parsed_value read = { 0 };
    struct parsed_value *value = parsed_get(group, key->name);
    if (!parsed_read(reading->parsed, key, text, &origin, &read))
        value->faulty = true;
    else if (value->set && value->origin.kind == ORIGIN_ENVIRONMENT && !same_value(value, &read))
        problem_error(reading->parsed->problems, &origin, NULL, "says something else than %s",
                      value->origin.name);
    else
        *value = read;
}

/* The listener's choice with members, the one of `defaults` if it has none: variables change single keys in it, so what
 * else there is must not be lost. */
static struct parsed_value *inherit_choice(const struct reading *reading, const char *name)
{
    const struct parsed_group *defaults = reading->parsed->defaults;
    struct parsed_value *value = parsed_get(reading->listener, name);
    if (!value->set && defaults != NULL && parsed_get(defaults, name)->set)
        parsed_inherit(reading->parsed, parsed_get(defaults, name), value);
    return value;
}

/* The group of a scope. NULL when memory is short. */
static struct parsed_group *group_of(const struct reading *reading, const struct key_scope *scope)
{
    if (scope == &keys_global)
        return reading->parsed->global;
    if (scope == &keys_log)
        return reading->parsed->log;
    if (scope == &keys_admin)
        return reading->parsed->admin;
    if (scope == &keys_listener)
        return reading->listener;
    const struct origin made = { .kind = ORIGIN_ENVIRONMENT };
    const struct key *key;
    const char *name = scope == &keys_check ? "check" : "protocol";
    inherit_choice(reading, name);
    struct parsed_group *protocol = parsed_open_group(reading->parsed, reading->listener, name, &made);
    if (scope == &keys_check)
        return protocol;
    keys_foreach(&keys_protocol, i, key)
    {
        if (protocol != NULL && key->members == scope) /* a group inside that of the protocol */
            return parsed_open_group(reading->parsed, protocol, key->name, &made);
    }
    return protocol;
}

/* The keys of another protocol, or check, go with its name; those of the same one stay. */
static void apply_choice(struct reading *reading, const char *key, const char *name)
{
    const char *text = variable_value(reading, name);
    if (text == NULL)
        return;
    struct parsed_group *group = inherit_choice(reading, key)->group;
    const struct key *type = group == NULL ? NULL : &group->scope->keys[0];
    if (group != NULL && parsed_equals(type, parsed_get(group, "type")->number, text))
        apply(reading, group, type, name, text);
    else
        apply(reading, reading->listener, keys_find(&keys_listener, key, NULL), name, text);
}

static void apply_original(struct reading *reading)
{
    for (size_t i = 0; i < ORIGINAL_COUNT; i++) {
        const struct key_scope *scope = original_variables[i].scope;
        const char *name = original_variables[i].variable;
        const char *text = variable_value(reading, name);
        if (text != NULL && original_variables[i].key != NULL)
            apply(reading, group_of(reading, scope), keys_find(scope, original_variables[i].key, NULL), name,
                  text);
    }
}

/* The key that a PROXIMUX_ variable sets, and its scope; or NULL: then `nearest` becomes the variable that may have
 * been meant, "" if none is near enough. */
static const struct key *key_of_variable(const char *name, const struct key_scope **scope,
                                         char nearest[VARIABLE_SIZE])
{
    size_t distance = SIZE_MAX;
    char variable[VARIABLE_SIZE];
    const struct key *key;
    nearest[0] = '\0';
    for (size_t k = 0; (*scope = keys_scope(k)) != NULL; k++)
        keys_foreach(*scope, i, key)
        {
            if (!keys_variable(*scope, key, variable, sizeof variable))
                continue;
            if (strcmp(variable, name) == 0)
                return key;
            if (keys_is_nearer(name + strlen(PREFIX), variable + strlen(PREFIX), &distance))
                memcpy(nearest, variable, sizeof variable);
        }
    return NULL;
}

/* What Kubernetes puts into every container for a service called proximux or proximux-anything. */
static bool is_of_kubernetes(const char *name)
{
    static const char *const patterns[] = { "*_SERVICE_HOST", "*_SERVICE_PORT*", "*_PORT",
                                            "*_PORT_+([0-9])_@(TCP|UDP|SCTP)*" };
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        if (fnmatch(patterns[i], name, FNM_EXTMATCH) == 0)
            return true;
    return false;
}

/* A variable that begins like ours, but sets nothing. */
static void report_unknown(struct reading *reading, const char *name, const char *nearest)
{
    static const char *const lists[] = { "NAME",      "LISTEN",    "TARGETS",
                                         "BLOCKLIST", "ALLOWLIST", "PROTOCOL_COMMANDS" };
    struct problem_list *problems = reading->parsed->problems;
    struct origin origin = variable_origin(reading, name);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (strcmp(name + strlen(PREFIX), lists[i]) == 0) {
            problem_error(problems, &origin, NULL,
                          "this key can't be set by such a variable; LOCAL_HOST, LOCAL_PORT and "
                          "PROXY_CONNECTIONS_CNT with TARGET_HOST_1 and so on make up a listener");
            return;
        }
    }
    if (*nearest != '\0')
        problem_error(problems, &origin, NULL, "unknown; did you mean %s?", nearest);
    else
        problem_warning(problems, &origin, NULL, "unknown, and ignored");
}

/* Copies the name of an entry of the environment. False if it is not one of ours. */
static bool prefixed_name(const char *entry, char *name)
{
    size_t length = strcspn(entry, "=");
    if (strncmp(entry, PREFIX, strlen(PREFIX)) != 0 || length >= VARIABLE_SIZE)
        return false;
    memcpy(name, entry, length);
    name[length] = '\0';
    return true;
}

static void apply_prefixed(struct reading *reading)
{
    char name[VARIABLE_SIZE];
    char nearest[VARIABLE_SIZE];
    for (char *const *entry = reading->environment; *entry != NULL; entry++) {
        if (!prefixed_name(*entry, name))
            continue;
        const struct key_scope *scope;
        const struct key *key = key_of_variable(name, &scope, nearest);
        struct parsed_group *group = key == NULL ? NULL : group_of(reading, scope);
        if (group != NULL && key->members == NULL)
            apply(reading, group, key, name, *entry + strlen(name) + 1);
        else if (key == NULL && !is_of_kubernetes(name))
            report_unknown(reading, name, nearest);
    }
}

static bool is_about_a_listener(const struct reading *reading)
{
    char name[VARIABLE_SIZE];
    char nearest[VARIABLE_SIZE];
    const struct key_scope *scope;
    for (size_t i = 0; i < ORIGINAL_COUNT; i++)
        if (original_variables[i].scope == &keys_listener &&
            variable_value(reading, original_variables[i].variable) != NULL)
            return true;
    for (char *const *entry = reading->environment; *entry != NULL; entry++)
        if (prefixed_name(*entry, name) && key_of_variable(name, &scope, nearest) != NULL &&
            keys_is_of_listener(scope))
            return true;
    return false;
}

/* The listener that the variables are about; made if need be, with the original's rule for its mode. */
static struct parsed_group *find_or_make_listener(struct reading *reading)
{
    struct parsed_configuration *parsed = reading->parsed;
    struct parsed_group *listener = parsed_find_listener(parsed, LISTENER_NAME);
    const struct origin origin = { .kind = ORIGIN_DEFAULT };
    const struct origin made = { .kind = ORIGIN_ENVIRONMENT };
    if (listener != NULL)
        return listener;
    listener = parsed_group_add(parsed, &keys_listener, &made, &parsed->listeners, &parsed->listener_count);
    if (listener == NULL)
        return NULL;
    parsed_set_string(parsed, parsed_get(listener, "name"), &origin, LISTENER_NAME);
    if (parsed->defaults == NULL || !parsed_get(parsed->defaults, "mode")->set)
        parsed_set_number(parsed_get(listener, "mode"), &origin, MODE_AUTO);
    return listener;
}

/* "HOST:PORT" out of two texts. */
static void join_address(const char *host, const char *port, char text[ADDRESS_SIZE])
{
    bool brackets = strchr(host, ':') != NULL && host[0] != '[';
    snprintf(text, ADDRESS_SIZE, brackets ? "[%s]:%s" : "%s:%s", host, port);
}

/* The value of a variable; NULL (a problem) if it is missing or empty. */
static const char *wanted_value(struct reading *reading, const char *name, const char *because)
{
    const char *text = variable_value(reading, name);
    struct origin origin = variable_origin(reading, name);
    if (text != NULL && *text != '\0')
        return text;
    problem_error(reading->parsed->problems, &origin, NULL, "%s%s", text == NULL ? "is missing" : "is empty",
                  because);
    return NULL;
}

static void apply_listen(struct reading *reading)
{
    char text[ADDRESS_SIZE];
    if (variable_value(reading, "LOCAL_HOST") == NULL && variable_value(reading, "LOCAL_PORT") == NULL)
        return;
    const char *host = wanted_value(reading, "LOCAL_HOST", ": it goes with LOCAL_PORT");
    const char *port = wanted_value(reading, "LOCAL_PORT", ": it goes with LOCAL_HOST");
    struct origin origin = variable_origin(reading, "LOCAL_HOST, LOCAL_PORT");
    struct parsed_value *listen = parsed_get(reading->listener, "listen");
    if (host == NULL || port == NULL) {
        listen->faulty = true;
        return;
    }
    join_address(host, port, text);
    parsed_set_item(reading->parsed, listen, &origin, text);
}

static void apply_target(struct reading *reading, size_t number)
{
    static const char because[] = ": PROXY_CONNECTIONS_CNT asks for it";
    char name[VARIABLE_SIZE];
    char text[ADDRESS_SIZE];
    struct parsed_configuration *parsed = reading->parsed;
    struct parsed_group *listener = reading->listener;
    snprintf(name, sizeof name, "TARGET_HOST_%zu", number);
    const char *host = wanted_value(reading, name, because);
    snprintf(name, sizeof name, "TARGET_PORT_%zu", number);
    const char *port = wanted_value(reading, name, because);
    snprintf(name, sizeof name, "TARGET_HOST_%zu, TARGET_PORT_%zu", number, number);
    struct origin origin = variable_origin(reading, name);
    snprintf(name, sizeof name, "TARGET_CONN_%zu_KEEP_ALIVE", number);
    const char *keep_alive = wanted_value(reading, name, because);
    if (host == NULL || port == NULL || keep_alive == NULL) {
        parsed_get(listener, "targets")->faulty = true;
        return;
    }
    struct parsed_group *target =
        parsed_group_add(parsed, &keys_target, &origin, &listener->children, &listener->child_count);
    if (target == NULL)
        return;
    join_address(host, port, text);
    parsed_set_string(parsed, parsed_get(target, "address"), &origin, text);
    apply(reading, target, keys_find(&keys_target, "keep_alive", NULL), name, keep_alive);
}

/* The number in TARGET_HOST_n, TARGET_PORT_n or TARGET_CONN_n_KEEP_ALIVE; 0 if the entry is none of these. */
static size_t target_number(const char *entry)
{
    static const char *const prefixes[] = { "TARGET_HOST_", "TARGET_PORT_", "TARGET_CONN_" };
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(entry, prefixes[i], length) == 0 && isdigit((unsigned char)entry[length]))
            return (size_t)strtoul(entry + length, NULL, 10);
    }
    return 0;
}

static void report_spare_targets(struct reading *reading, size_t count)
{
    for (char *const *entry = reading->environment; *entry != NULL; entry++) {
        char name[VARIABLE_SIZE];
        if (target_number(*entry) <= count)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*entry, "="), *entry);
        struct origin origin = variable_origin(reading, name);
        if (count > 0)
            problem_warning(reading->parsed->problems, &origin, NULL,
                            "is ignored: PROXY_CONNECTIONS_CNT is %zu", count);
        else {
            problem_error(reading->parsed->problems, &origin, NULL, "PROXY_CONNECTIONS_CNT is missing");
            parsed_get(reading->listener, "targets")->faulty = true;
        }
    }
}

static void apply_targets(struct reading *reading)
{
    static const struct key count_key =
        INTEGER_KEY("count", UNIT_NONE, 1, SETTINGS_MAX_TARGETS, NULL, "targets");
    static const char name[] = "PROXY_CONNECTIONS_CNT";
    const char *text = variable_value(reading, name);
    struct parsed_value count = { 0 };
    struct parsed_value *targets = parsed_get(reading->listener, "targets");
    struct origin origin = variable_origin(reading, name);
    if (text != NULL && !parsed_read(reading->parsed, &count_key, text, &origin, &count)) {
        targets->faulty = true;
        return;
    }
    if (text != NULL) {
        reading->listener->child_count = 0;
        targets->set = true;
        targets->origin = origin;
    }
    for (size_t i = 1; i <= (size_t)count.number; i++)
        apply_target(reading, i);
    report_spare_targets(reading, (size_t)count.number);
}

void parsed_read_environment(struct parsed_configuration *parsed, char *const *environment)
{
    struct reading reading = { .parsed = parsed, .environment = environment };
    if (is_about_a_listener(&reading)) {
        reading.listener = find_or_make_listener(&reading);
        if (reading.listener == NULL)
            return;
        apply_listen(&reading);
        apply_targets(&reading);
        apply_choice(&reading, "protocol", "PROXIMUX_PROTOCOL");
        apply_choice(&reading, "check", "PROXIMUX_CHECK");
    }
    apply_original(&reading);
    apply_prefixed(&reading);
}
