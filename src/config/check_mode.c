/* The mode and the protocol of a listener, and what does or does not go with them. */
#include "config/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The original's rule: as many clients as target connections means that each gets its own. */
static enum listener_mode mode_of_auto(const struct listener_settings *settings)
{
    int64_t connections = settings_count_connections(settings);
    if (settings->max_connections == connections)
        return MODE_PROXY;
    return connections == 1 ? MODE_FIFO : MODE_FUNNEL;
}

/* Whether the targets are known: else something is wrong that has been said, and they would be counted wrong. */
static bool is_countable(const struct check *check)
{
    const struct parsed_group *group = check->group;
    size_t targets = check->settings->target_count;
    for (size_t i = 0; i < group->child_count; i++)
        if (parsed_get(group->children[i], "connections")->faulty ||
            parsed_get(group->children[i], "backup")->faulty)
            return false;
    return targets > 0 && targets == group->child_count && !parsed_get(group, "targets")->faulty;
}

/* Defaults that are other ones in this mode. */
static void take_mode_defaults(const struct check *check)
{
    const struct key *key;
    struct parsed_value *value;
    for (size_t i = 0; (value = parsed_at(check->group, i, &key)) != NULL; i++) {
        const char *fallback = check->settings->mode == MODE_FIFO    ? key->fifo_fallback
                               : check->settings->mode == MODE_PROXY ? key->proxy_fallback
                                                                     : NULL;
        if (fallback == NULL || value->origin.kind != ORIGIN_DEFAULT)
            continue;
        struct origin origin = value->origin;
        parsed_read(check->parsed, key, fallback, &origin, value);
        key_store_number(key, check->settings, value->number);
    }
}

void check_mode(struct check *check)
{
    struct listener_settings *settings = check->settings;
    settings->mode = (enum listener_mode)parsed_get(check->group, "mode")->number;
    if (settings->mode == MODE_AUTO && is_countable(check) &&
        !parsed_get(check->group, "max_connections")->faulty) {
        settings->mode = mode_of_auto(settings);
        settings->mode_was_auto = true;
    }
    take_mode_defaults(check);
    snprintf(check->mode, sizeof check->mode, "\"%s\"%s", settings_mode_name(settings->mode),
             settings->mode_was_auto ? " (\"auto\" means that here)" : "");
}

/* One connection, or two clients' requests could overtake each other. */
static void check_fifo(const struct check *check)
{
    const struct listener_settings *settings = check->settings;
    size_t working = 0;
    if (!is_countable(check))
        return;
    for (size_t i = 0; i < settings->target_count; i++) {
        const struct parsed_group *target = check->group->children[i];
        working += !settings->targets[i].backup;
        if (settings->targets[i].connections != 1)
            check_report(check, true, target, "connections", NULL,
                         "mode %s has one target connection; \"funnel\" has more", check->mode);
    }
    if (working != 1)
        check_error(check, "targets",
                    "mode %s has exactly one target that is no backup, not %zu; further ones can be "
                    "backups, or mode = \"funnel\" uses all",
                    check->mode, working);
}

static void check_can_be_shared(const struct check *check)
{
    if (parsed_get(check->group, "protocol")->faulty ||
        protocol_is_shared(check->settings->protocol.protocol))
        return;
    check_error(
        check, "protocol",
        "\"%s\" can't be shared, which mode %s would do: transactions, prepared statements, settings and "
        "the login belong to a connection; mode = \"proxy\" gives each client its own",
        check->settings->protocol.protocol->name, check->mode);
}

/* Warns of keys of a group that have no effect in this mode. */
static void check_ignored(const struct check *check, const struct parsed_group *group)
{
    const struct key *key;
    keys_foreach(group->scope, i, key)
    {
        /* the rule of "auto" counts them */
        bool is_counted = check->settings->mode_was_auto && strcmp(key->name, "connections") == 0;
        if (!settings_has_effect(check->settings, key) && !is_counted && parsed_is_asked_for(group, key))
            check_report(check, false, group, key->name, NULL, "has no effect in mode %s", check->mode);
    }
}

/* Whose "auto" became a shared mode without a word about the protocol may have meant proxy mode. */
static void check_auto(const struct check *check)
{
    const struct listener_settings *settings = check->settings;
    char reason[SETTINGS_AUTO_SIZE];
    int64_t connections = settings_count_connections(settings);
    bool is_environment = check->group->origin.kind == ORIGIN_ENVIRONMENT;
    check_report(check, false, check->group, "mode", &parsed_get(check->group, "max_connections")->origin,
                 "%s: clients share target connections without a protocol that tells their answers apart; "
                 "if each client was to have a connection of its own, %s%" PRId64 " or %s says so",
                 settings_explain_auto(settings, reason, sizeof reason),
                 is_environment ? "LOCAL_MAX_CONNECTIONS=" : "max_connections = ", connections,
                 is_environment ? "PROXIMUX_MODE=proxy" : "mode = \"proxy\"");
}

static void check_mixes(const struct check *check)
{
    const struct listener_settings *settings = check->settings;
    const struct protocol *protocol = settings->protocol.protocol;
    if (protocol->turn_gap != NULL && settings->mode_was_auto)
        check_auto(check);
    if (protocol->turn_gap != NULL && settings->request_timeout == -1)
        check_warning(check, "request_timeout",
                      "without it a request of a \"%s\" client that the target does not answer blocks "
                      "everybody else for ever",
                      protocol->name);
    if (settings->async && protocol->async_caution != NULL && !protocol_has_ids(&settings->protocol))
        check_warning(check, "async", "%s", protocol->async_caution);
    if (settings->async && settings->request_gap > 0)
        check_warning(check, "request_gap",
                      "with async requests are sent together, not one after the other: the target may get no "
                      "such rest");
    if (settings->connection_ttl > 0 && settings->connection_ttl <= settings->connect_delay)
        check_warning(check, "connection_ttl",
                      "is not longer than connect_delay: a connection waits for longer than it works");
    if (settings->memory_limit < 2 * settings->buffer_limit)
        check_warning(check, "memory_limit",
                      "is less than twice buffer_limit, which one client alone can need");
}

void check_mode_fits(const struct check *check)
{
    if (check->settings->mode == MODE_AUTO || parsed_get(check->group, "mode")->faulty)
        return;
    check_ignored(check, check->group);
    for (size_t i = 0; i < check->group->child_count; i++)
        check_ignored(check, check->group->children[i]);
    if (check->settings->mode == MODE_PROXY)
        return;
    if (check->settings->mode == MODE_FIFO)
        check_fifo(check);
    if (check->settings->protocol.protocol == NULL) /* which one is meant can't be told, and was said */
        return;
    check_can_be_shared(check);
    check_mixes(check);
}

/* How a protocol's own rules say what is wrong. */
struct protocol_report {
    struct key_report report;
    const struct check *check;
    const struct parsed_group *group;
};

static void say(const struct key_report *report, bool is_error, const char *key, const char *message)
{
    const struct protocol_report *to = (const struct protocol_report *)report;
    const struct parsed_group *group = key == NULL ? to->check->group : to->group;
    const char *name = key == NULL ? "protocol" : key;
    check_report(to->check, is_error, group, name, NULL, "%s", message);
}

/* Keys of other protocols. */
static bool check_belonging(const struct check *check, const struct parsed_group *group,
                            const struct protocol *protocol)
{
    bool all_belong = true;
    char owners[KEYS_TEXT_SIZE];
    const struct key *key;
    keys_foreach(&keys_protocol, i, key)
    {
        const struct parsed_value *value = &group->values[i];
        if (i < keys_protocol.count || !value->set || keys_of_protocol(protocol, key->name) != NULL)
            continue;
        check_report(check, true, group, key->name, NULL, "belongs to %s; the type here is \"%s\"",
                     keys_owners(key->name, owners, sizeof owners), protocol->name);
        all_belong = false;
    }
    return all_belong;
}

void check_protocol(const struct check *check)
{
    const struct parsed_value *value = parsed_get(check->group, "protocol");
    struct listener_settings *listener = check->settings;
    struct protocol_settings *settings = &listener->protocol;
    if (value->faulty || value->group == NULL)
        return;
    const struct protocol_report report = { .report.say = say, .check = check, .group = value->group };
    settings->protocol = parsed_protocol(value->group);
    settings->is_async = listener->async;
    settings->head_limit = (size_t)listener->buffer_limit;
    settings->max_message = listener->max_message;
    bool all_belong = check_belonging(check, value->group, settings->protocol);
    bool is_shared = listener->mode == MODE_FIFO || listener->mode == MODE_FUNNEL;
    if (check_store(check, value->group, settings->own) && all_belong && settings->protocol->check != NULL)
        settings->protocol->check(settings, is_shared, &report.report);
}
