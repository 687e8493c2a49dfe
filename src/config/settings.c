#include "config/settings.h"

#include <stdlib.h>

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
    access_list_release(settings->blocklist);
    access_list_release(settings->allowlist);
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
    free((char *)settings->log.path);
    free(settings->file);
    free(settings->user);
    free(settings->group);
    free(settings->pid_file);
    free(settings);
}
