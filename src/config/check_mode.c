#include "config/check_mode.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct parsed_value *peek(const struct check *check, const char *key)
{
    return parsed_peek(check->group, key);
}

/* Target connections there will be, those of backups apart. */
static int64_t count_connections(const struct listener_settings *settings)
{
    int64_t connections = 0;
    for (size_t i = 0; i < settings->target_count; i++)
        if (!settings->targets[i].backup)
            connections += settings->targets[i].connections;
    return connections;
}

/* The original's rule: as many clients as target connections means that each gets its own. */
static enum listener_mode mode_of_auto(const struct listener_settings *settings)
{
    int64_t connections = count_connections(settings);
    if (settings->max_connections == connections)
        return MODE_PROXY;
    return connections == 1 ? MODE_FIFO : MODE_FUNNEL;
}

/* Whether the targets are known: else something is wrong that has been said, and they would be counted wrong.
 */
static bool is_countable(const struct check *check)
{
    const struct parsed_group *group = check->group;
    size_t targets = check->settings->target_count;
    for (size_t i = 0; i < group->child_count; i++)
        if (parsed_peek(group->children[i], "connections")->faulty ||
            parsed_peek(group->children[i], "backup")->faulty)
            return false;
    return targets > 0 && targets == group->child_count && !group->children_faulty;
}

void check_mode(struct check *check)
{
    struct listener_settings *settings = check->settings;
    settings->mode = (enum listener_mode)peek(check, "mode")->number;
    if (settings->mode != MODE_AUTO || !is_countable(check) || peek(check, "max_connections")->faulty)
        return;
    settings->mode = mode_of_auto(settings);
    settings->mode_was_auto = true;
}

/* The mode as errors name it. */
static const char *describe_mode(const struct check *check, char *text, size_t size)
{
    snprintf(text, size, "\"%s\"%s", settings_mode_name(check->settings->mode),
             check->settings->mode_was_auto ? " (\"auto\" means that here)" : "");
    return text;
}

/* One connection, or two clients' requests could overtake each other. */
static void check_fifo(const struct check *check)
{
    const struct listener_settings *settings = check->settings;
    char mode[64];
    size_t working = 0;
    if (!is_countable(check))
        return;
    describe_mode(check, mode, sizeof mode);
    for (size_t i = 0; i < settings->target_count; i++) {
        const struct parsed_group *target = check->group->children[i];
        working += !settings->targets[i].backup;
        if (settings->targets[i].connections != 1)
            check_error(check, target, "connections", &parsed_peek(target, "connections")->origin,
                        "mode %s has one target connection; \"funnel\" has more", mode);
    }
    if (working != 1)
        check_error(check, check->group, "targets", &check->group->children_origin,
                    "mode %s has exactly one target that is no backup, not %zu; further ones can be "
                    "backups, or mode = \"funnel\" uses all",
                    mode, working);
}

/* What has no framer is a database: a test compares the names with the framers that there are. */
static void check_can_be_shared(const struct check *check)
{
    const struct parsed_value *protocol = peek(check, "protocol");
    char mode[64];
    if (protocol->faulty || check->settings->protocol.protocol != NULL)
        return;
    check_error(
        check, check->group, "protocol", &protocol->origin,
        "\"%s\" can't be shared, which mode %s would do: transactions, prepared statements, settings and "
        "the login belong to a connection; mode = \"proxy\" gives each client its own",
        keys_protocol_name((enum key_protocol)protocol->number), describe_mode(check, mode, sizeof mode));
}

static bool has_effect(const struct check *check, const struct key *key)
{
    return key->use == USE_ALWAYS || (key->use == USE_PROXY) == (check->settings->mode == MODE_PROXY);
}

/* What a group asks for in vain. */
static void check_ignored(const struct check *check, const struct parsed_group *group)
{
    size_t count;
    char mode[64];
    const struct key *keys = keys_of(group->scope, &count);
    for (size_t i = 0; i < count; i++) {
        /* the rule of "auto" counts them */
        bool is_counted = check->settings->mode_was_auto && strcmp(keys[i].name, "connections") == 0;
        if (!has_effect(check, &keys[i]) && !is_counted && check_is_asked_for(group, &keys[i]))
            check_warning(check, group, keys[i].name, &group->values[i].origin, "has no effect in mode %s",
                          describe_mode(check, mode, sizeof mode));
    }
}

/* Messages that are not read can't be told apart for sure. */
static void check_raw(const struct check *check)
{
    const struct listener_settings *settings = check->settings;
    const struct origin *origin = &peek(check, "protocol")->origin;
    if (settings->async)
        check_warning(check, check->group, "protocol", origin,
                      "DANGER: \"raw\" with async takes each piece that a target sends for one whole answer; "
                      "one that comes in two pieces, or two in one, REACH THE WRONG CLIENTS");
    else
        check_warning(check, check->group, "protocol", origin,
                      "\"raw\" can't tell where an answer ends: one that pauses for longer than "
                      "response_gap (%" PRId64 " ms) can reach the wrong client, and so can the answers to "
                      "a client that does not wait for them",
                      settings->protocol.raw.response_gap);
    if (settings->request_timeout == -1)
        check_warning(check, check->group, "request_timeout", &peek(check, "request_timeout")->origin,
                      "without it a request of a \"raw\" client that the target does not answer blocks "
                      "everybody else for ever");
}

/* Where nothing but their order says whose answers are. */
static void check_order(const struct check *check, enum key_protocol type)
{
    const struct origin *origin = &peek(check, "async")->origin;
    bool is_plain = type == TYPE_LINE || type == TYPE_LENGTH || type == TYPE_MARKS || type == TYPE_MODBUS;
    if (!check->settings->async)
        return;
    if (is_plain && !protocol_has_ids(&check->settings->protocol))
        check_warning(check, check->group, "async", origin,
                      "without ids only their order tells whose answers are: it must be that of the "
                      "requests, with none left out");
    if (type == TYPE_HTTP)
        check_warning(check, check->group, "async", origin,
                      "not every server stands pipelined requests: some write 1xx into the middle of an "
                      "answer");
}

static void check_mixes(const struct check *check)
{
    const struct listener_settings *settings = check->settings;
    const struct parsed_value *protocol = peek(check, "protocol");
    enum key_protocol type = (enum key_protocol)protocol->number;
    if (!protocol->faulty && settings->protocol.protocol != NULL && type == TYPE_RAW)
        check_raw(check);
    else if (!protocol->faulty && settings->protocol.protocol != NULL)
        check_order(check, type);
    if (settings->async && settings->request_gap > 0)
        check_warning(check, check->group, "request_gap", &peek(check, "request_gap")->origin,
                      "with async requests are sent together, not one after the other: the target may get no "
                      "such rest");
    if (settings->connection_ttl > 0 && settings->connection_ttl <= settings->connect_delay)
        check_warning(check, check->group, "connection_ttl", &peek(check, "connection_ttl")->origin,
                      "is not longer than connect_delay: connections are replaced before they are used");
    if (settings->memory_limit < 2 * settings->buffer_limit)
        check_warning(check, check->group, "memory_limit", &peek(check, "memory_limit")->origin,
                      "is less than twice buffer_limit, which one client alone can need");
}

void check_mode_fits(const struct check *check)
{
    if (check->settings->mode == MODE_AUTO || peek(check, "mode")->faulty)
        return;
    check_ignored(check, check->group);
    for (size_t i = 0; i < check->group->child_count; i++)
        check_ignored(check, check->group->children[i]);
    if (check->settings->mode == MODE_PROXY)
        return;
    if (check->settings->mode == MODE_FIFO)
        check_fifo(check);
    check_can_be_shared(check);
    check_mixes(check);
}
