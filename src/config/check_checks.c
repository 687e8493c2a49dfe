/* The key `check` of a listener and of its targets. */
#include "config/check.h"

#include <stdlib.h>
#include <string.h>

/* What is wrong with a key of the check. */
#define checks_error(check, group, key, ...) check_report(check, true, group, key, NULL, __VA_ARGS__)

static bool is_among(const char *const *names, const char *name)
{
    while (names != NULL && *names != NULL && strcmp(*names, name) != 0)
        names++;
    return names != NULL && *names != NULL;
}

/* Keys that this check does not use. */
static void check_unused(const struct check *check, const struct parsed_group *group,
                         const struct check_settings *settings)
{
    static const char *const of_exchange[] = { "send", "expect", NULL };
    const struct protocol *protocol = check->settings->protocol.protocol;
    const char *const *used = settings->type == CHECK_EXCHANGE   ? of_exchange
                              : settings->type == CHECK_PROTOCOL ? protocol->check_keys
                                                                 : NULL;
    const struct key *key;
    keys_foreach(group->scope, i, key)
    {
        bool is_of_some = key->type == KEY_STRING || (key->type == KEY_INTEGER && key->fallback == NULL);
        if (is_of_some && group->values[i].set && !is_among(used, key->name))
            checks_error(check, group, key->name,
                         "says nothing to a check of type \"%s\" where the protocol is \"%s\"",
                         check_type_names[settings->type], protocol->name);
    }
}

/* Whether the bytes are one request, which the multiplexer can send. */
static bool is_whole_request(const struct protocol_settings *settings, struct slice bytes)
{
    const struct protocol *protocol = settings->protocol;
    struct protocol_request request = { 0 };
    struct buffer out = { 0 }, answer = { 0 };
    void *client = calloc(1, protocol->client_size + 1);
    bool is_whole = protocol->turn_gap != NULL && !settings->is_async;
    if (!is_whole && client != NULL)
        is_whole =
            protocol->read_request(settings, client, &request, &bytes, &out, &answer) == PROTOCOL_COMPLETE &&
            bytes.length == 0 && !request.unanswered && !request.local;
    if (protocol->release_request != NULL)
        protocol->release_request(&request);
    buffer_free(&out);
    buffer_free(&answer);
    free(client);
    return is_whole;
}

static void check_exchange(const struct check *check, const struct parsed_group *group,
                           const struct check_settings *settings)
{
    const struct protocol *protocol = check->settings->protocol.protocol;
    bool is_shared = check->settings->mode != MODE_PROXY;
    if (protocol->read_check != NULL)
        checks_error(check, group, "type", "\"%s\" has a check of its own: type = \"protocol\"",
                     protocol->name);
    else if (settings->send.length == 0 && (is_shared || settings->expect.length == 0))
        checks_error(check, group, "send", "is required with type \"exchange\"%s",
                     is_shared ? "" : ", or expect");
    else if (is_shared && !is_whole_request(&check->settings->protocol, settings->send))
        checks_error(check, group, "send", "is not one whole request of the protocol \"%s\"", protocol->name);
}

/* False if there is no use in doing the same for another target. */
static bool check_one(const struct check *check, const struct parsed_group *group,
                      struct check_settings *settings)
{
    const struct protocol *protocol = check->settings->protocol.protocol;
    size_t errors = check->parsed->problems->errors;
    *settings = check_standard;
    if (!check_store(check, group, settings) || protocol == NULL)
        return false;
    if (settings->type == CHECK_PROTOCOL && protocol->read_check == NULL)
        checks_error(
            check, group, "type",
            "\"%s\" has no check of its own: \"exchange\" asks what you say, \"connect\" only connects",
            protocol->name);
    else if (settings->type == CHECK_EXCHANGE)
        check_exchange(check, group, settings);
    check_unused(check, group, settings);
    return check->parsed->problems->errors == errors;
}

void check_checks(const struct check *check)
{
    const struct parsed_value *common = parsed_get(check->group, "check");
    const struct listener_settings *settings = check->settings;
    bool is_right = settings->target_count > 0 && settings->target_count == check->group->child_count;
    for (size_t i = 0; is_right && i < settings->target_count; i++) {
        const struct parsed_value *own = parsed_get(check->group->children[i], "check");
        const struct parsed_group *group = own->set ? own->group : common->group;
        if (group != NULL && !common->faulty && !own->faulty)
            is_right = check_one(check, group, &settings->targets[i].check);
    }
}
