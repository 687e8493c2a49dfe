/* The group `protocol` of a listener: which keys it may have, and what they make together. */
#include "config/check.h"

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
