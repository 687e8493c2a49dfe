#include "config/settings.h"

#include <stdlib.h>
#include <string.h>

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

struct target_settings *target_settings_copy(const struct target_settings *settings)
{
    struct target_settings *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return NULL;
    *copy = *settings;
    copy->name = strdup(settings->name);
    if (endpoint_copy(&settings->endpoint, &copy->endpoint) && copy->name != NULL)
        return copy;
    target_settings_free(copy);
    return NULL;
}

void target_settings_free(struct target_settings *settings)
{
    if (settings == NULL)
        return;
    endpoint_free(&settings->endpoint);
    free(settings->name);
    free(settings);
}

static bool keep_alive_equal(const struct keep_alive_settings *a, const struct keep_alive_settings *b)
{
    return a->enabled == b->enabled &&
           (!a->enabled || (a->idle == b->idle && a->interval == b->interval && a->count == b->count));
}

bool target_settings_equal(const struct target_settings *a, const struct target_settings *b)
{
    return endpoint_equal(&a->endpoint, &b->endpoint) && keep_alive_equal(&a->keep_alive, &b->keep_alive) &&
           a->connections == b->connections && a->max_connections == b->max_connections &&
           a->backup == b->backup && a->weight == b->weight &&
           a->send_proxy_protocol == b->send_proxy_protocol;
}

static bool line_equal(const struct protocol_settings *a, const struct protocol_settings *b)
{
    return slice_equal(a->line.delimiter, b->line.delimiter) && a->line.reply_lines == b->line.reply_lines &&
           slice_equal(a->line.reply_until, b->line.reply_until) &&
           slice_equal(a->line.reply_if, b->line.reply_if);
}

static bool length_equal(const struct protocol_settings *a, const struct protocol_settings *b)
{
    return a->length.offset == b->length.offset && a->length.width == b->length.width &&
           a->length.little_endian == b->length.little_endian && a->length.adjust == b->length.adjust &&
           a->length.encoding == b->length.encoding && a->length.id_offset == b->length.id_offset &&
           a->length.id_width == b->length.id_width;
}

static bool redis_equal(const struct protocol_settings *a, const struct protocol_settings *b)
{
    if (a->redis.database != b->redis.database || a->redis.client_auth != b->redis.client_auth ||
        a->redis.command_count != b->redis.command_count)
        return false;
    for (size_t i = 0; i < a->redis.command_count; i++)
        if (!slice_equal(a->redis.commands[i], b->redis.commands[i]))
            return false;
    return slice_equal(a->redis.username, b->redis.username) &&
           slice_equal(a->redis.password, b->redis.password);
}

bool protocol_settings_equal(const struct protocol_settings *a, const struct protocol_settings *b)
{
    return a->protocol == b->protocol && a->is_async == b->is_async &&
           slice_equal(a->error_reply, b->error_reply) && a->raw.response_gap == b->raw.response_gap &&
           line_equal(a, b) && length_equal(a, b) && slice_equal(a->marks.start, b->marks.start) &&
           slice_equal(a->marks.end, b->marks.end) && a->modbus.match_order == b->modbus.match_order &&
           redis_equal(a, b);
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
