#include "target/target_settings.h"

#include <stdlib.h>
#include <string.h>

#define TARGET(member) KEY_FIELD(struct target_settings, member)

static bool endpoints_equal(const void *a, const void *b)
{
    return endpoint_equal(a, b);
}

static const struct key target_keys[] = {
    STRING_KEY("address", NULL, "HOST:PORT or unix:PATH", TARGET(endpoint), .equal = endpoints_equal),
    STRING_KEY("host", NULL, "the host, instead of address"),
    INTEGER_KEY("port", UNIT_NONE, 1, 65535, NULL, "the port that goes with host"),
    BOOLEAN_KEY("keep_alive", "false", "TCP keep-alive towards the target", TARGET(keep_alive.enabled)),
    INTEGER_KEY("keep_alive_idle", UNIT_MILLISECONDS, 1000, 32767000, "60000",
                "silence before the first probe", TARGET(keep_alive.idle)),
    INTEGER_KEY("keep_alive_interval", UNIT_MILLISECONDS, 1000, 32767000, "10000", "time between probes",
                TARGET(keep_alive.interval)),
    INTEGER_KEY("keep_alive_count", UNIT_NONE, 1, 127, "6", "probes without answer",
                TARGET(keep_alive.count)),
    INTEGER_KEY("connections", UNIT_CONNECTIONS, 1, 10000, "1", "connections that clients share",
                .use = USE_SHARED, TARGET(connections)),
    LIMIT_KEY("max_connections", UNIT_CONNECTIONS, 1, KEY_COUNT_MAX, "-1", "connections at a time",
              .use = USE_PROXY, TARGET(max_connections)),
    LIMIT_KEY("slots", UNIT_CONNECTIONS, 1, KEY_COUNT_MAX, "-1",
              "connections that its address takes, those of all listeners together", TARGET(slots)),
    BOOLEAN_KEY("backup", "false", "used only while no other target is up", TARGET(backup)),
    INTEGER_KEY("weight", UNIT_NONE, 0, 1000, "1", "its share of the work; 0: no new work", TARGET(weight)),
    INTEGER_KEY("send_proxy_protocol", UNIT_NONE, 0, 2, "0",
                "version of the PROXY header that tells it the client; 0: none", .use = USE_PROXY,
                TARGET(send_proxy_protocol)),
    CHOICE_KEY("check", check_type_names, NULL, "how it is checked that the target works",
               .members = &keys_check, TARGET(check), .equal = check_settings_equal),
};

const struct key_scope keys_target = { "target: ", NULL, target_keys,
                                       sizeof target_keys / sizeof target_keys[0] };

struct target_settings *target_settings_copy(const struct target_settings *settings)
{
    /* In one piece: a reload may copy tens of thousands while the loop waits. */
    size_t name_size = strlen(settings->name) + 1, host_size = strlen(settings->endpoint.host) + 1;
    struct target_settings *copy = malloc(sizeof *copy + name_size + host_size);
    if (copy == NULL)
        return NULL;
    *copy = *settings;
    copy->name = memcpy(copy + 1, settings->name, name_size);
    copy->endpoint.host = memcpy(copy->name + name_size, settings->endpoint.host, host_size);
    if (check_settings_copy(&settings->check, &copy->check))
        return copy;
    free(copy);
    return NULL;
}

void target_settings_release(struct target_settings *settings)
{
    endpoint_free(&settings->endpoint);
    check_settings_release(&settings->check);
    free(settings->name);
}

void target_settings_free(struct target_settings *settings)
{
    if (settings != NULL)
        check_settings_release(&settings->check);
    free(settings);
}

bool target_settings_equal(const struct target_settings *a, const struct target_settings *b)
{
    return key_fields_equal(keys_target.keys, keys_target.count, a, b);
}
