#include "config/settings.h"

#include <stdlib.h>

const char *settings_mode_name(enum listener_mode mode)
{
    static const char *const names[] = { "proxy", "fifo", "funnel", "auto" };
    return names[mode];
}

/* The slices are copies of their own. */
static void free_slice(struct slice *slice)
{
    free((char *)slice->bytes);
}

static void protocol_settings_free(struct protocol_settings *protocol)
{
    free_slice(&protocol->error_reply);
    free_slice(&protocol->line.delimiter);
    free_slice(&protocol->line.reply_until);
    free_slice(&protocol->line.reply_if);
    free_slice(&protocol->marks.start);
    free_slice(&protocol->marks.end);
    free_slice(&protocol->redis.username);
    free_slice(&protocol->redis.password);
    for (size_t i = 0; i < protocol->redis.command_count; i++)
        free_slice(&protocol->redis.commands[i]);
    free(protocol->redis.commands);
}

struct listener_settings *listener_settings_reference(struct listener_settings *settings)
{
    settings->references++;
    return settings;
}

void listener_settings_release(struct listener_settings *settings)
{
    if (settings == NULL || --settings->references > 0)
        return;
    for (size_t i = 0; i < settings->listen_count; i++)
        endpoint_free(&settings->listen[i]);
    free(settings->listen);
    for (size_t i = 0; i < settings->target_count; i++) {
        endpoint_free(&settings->targets[i].endpoint);
        free(settings->targets[i].name);
    }
    free(settings->targets);
    protocol_settings_free(&settings->protocol);
    access_list_release(settings->blocklist);
    access_list_release(settings->allowlist);
    access_list_release(settings->proxies);
    free(settings->name);
    free(settings);
}

struct settings *settings_reference(struct settings *settings)
{
    settings->references++;
    return settings;
}

void settings_release(struct settings *settings)
{
    if (settings == NULL || --settings->references > 0)
        return;
    for (size_t i = 0; i < settings->listener_count; i++)
        listener_settings_release(settings->listeners[i]);
    free(settings->listeners);
    listener_settings_release(settings->admin);
    free((char *)settings->log.path);
    free(settings->file);
    free(settings->user);
    free(settings->group);
    free(settings->pid_file);
    free(settings);
}
