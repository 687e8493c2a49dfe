#include "config/settings.h"

#include "config/keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const char *settings_mode_name(enum listener_mode mode)
{
    static const char *const names[] = { "proxy", "fifo", "funnel", "auto" };
    return names[mode];
}

bool settings_has_effect(const struct listener_settings *settings, const struct key *key)
{
    return key->use == USE_ALWAYS || (key->use == USE_PROXY) == (settings->mode == MODE_PROXY);
}

int64_t settings_count_connections(const struct listener_settings *settings)
{
    int64_t connections = 0;
    for (size_t i = 0; i < settings->target_count; i++)
        if (!settings->targets[i].backup)
            connections += settings->targets[i].connections;
    return connections;
}

const char *settings_explain_auto(const struct listener_settings *settings, char *text, size_t size)
{
    char limit[40] = "max_connections is not limited";
    int64_t connections = settings_count_connections(settings);
    if (settings->max_connections >= 0)
        snprintf(limit, sizeof limit, "max_connections is %" PRId64, settings->max_connections);
    snprintf(text, size,
             "mode \"auto\" means \"%s\" here, as %s and there %s %" PRId64 " target connection%s",
             settings_mode_name(settings->mode), limit, connections == 1 ? "is" : "are", connections,
             connections == 1 ? "" : "s");
    return text;
}

size_t settings_find_shared(const struct settings *settings, const struct listener_settings *listener)
{
    for (size_t i = 0; listener->shared != NULL && i < settings->listener_count; i++)
        if (settings->listeners[i] == listener->shared)
            return i;
    return SIZE_MAX;
}

struct target_set_settings listener_settings_targets(const struct listener_settings *settings)
{
    return (struct target_set_settings){
        .listener = settings->name,
        .targets = settings->targets,
        .target_count = settings->target_count,
        .balance = settings->balance,
        .connect_timeout = settings->connect_timeout,
        .retry_min = settings->retry_min,
        .retry_max = settings->retry_max,
        .reconnect_delay = settings->reconnect_delay,
        .slow_start = settings->slow_start,
        .protocol = &settings->protocol,
        .fail_after = settings->fail_after,
        .request_timeout = settings->request_timeout,
    };
}

struct listener_settings *listener_settings_reference(struct listener_settings *settings)
{
    settings->references++;
    return settings;
}

/* What a door has of it belongs to its owner. */
static void listener_settings_release_target_side(struct listener_settings *settings)
{
    if (settings->shared != NULL) {
        listener_settings_release(settings->shared);
        return;
    }
    for (size_t i = 0; i < settings->target_count; i++)
        target_settings_release(&settings->targets[i]);
    free(settings->targets);
    protocol_settings_release(&settings->protocol);
    for (size_t i = 0; i < keys_listener.count; i++)
        if (!keys_listener.keys[i].is_client_side)
            key_fields_release(&keys_listener.keys[i], 1, settings);
}

void listener_settings_release(struct listener_settings *settings)
{
    if (settings == NULL || --settings->references > 0)
        return;
    for (size_t i = 0; i < settings->listen_count; i++)
        endpoint_free(&settings->listen[i]);
    free(settings->listen);
    listener_settings_release_target_side(settings);
    access_list_release(settings->blocklist);
    access_list_release(settings->allowlist);
    access_list_release(settings->proxies);
    for (size_t i = 0; i < keys_listener.count; i++)
        if (keys_listener.keys[i].is_client_side)
            key_fields_release(&keys_listener.keys[i], 1, settings);
    free(settings);
}

void settings_free(struct settings *settings)
{
    if (settings == NULL)
        return;
    for (size_t i = 0; i < settings->listener_count; i++)
        listener_settings_release(settings->listeners[i]);
    free(settings->listeners);
    listener_settings_release(settings->admin);
    key_fields_release(keys_global.keys, keys_global.count, settings);
    key_fields_release(keys_log.keys, keys_log.count, settings);
    free(settings);
}
