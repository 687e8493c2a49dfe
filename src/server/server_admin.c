/* What admin shows of the server. */
#include "admin/admin.h"
#include "config/parsed.h"
#include "server/server_state.h"

static struct admin_process server_admin_show_process(void *owner)
{
    const struct server *server = owner;
    return (struct admin_process){
        .started = server->started,
        .is_draining = server->drain.stage != DRAIN_RUNNING,
        .file = server->config->parsed->main_file,
        .loaded = server->reload.loaded,
        .reloads = server->reload.done,
        .reloads_refused = server->reload.refused,
        .is_refused = server->reload.was_refused,
        .descriptors = server->runtime.descriptors.available,
        .listeners = server->listeners.running,
    };
}

static struct admin_listener server_admin_show_listener(void *owner, size_t index)
{
    struct listener *listener = server_running(owner)[index];
    const struct listener_settings *settings = listener_get_settings(listener);
    return (struct admin_listener){
        .name = settings->name,
        .mode = settings_mode_name(settings->mode),
        .protocol = settings->protocol.protocol->name,
        .targets_of = settings->targets_of,
        .state = listener_state(listener),
        .gauges = listener_measure(listener),
        .counters = listener_get_counters(listener),
        .addresses = listener_sockets(listener)->count,
        .targets = listener_targets(listener),
    };
}

static void server_admin_show_address(void *owner, size_t listener, size_t index, char *text, size_t size)
{
    bind_print(&listener_sockets(server_running(owner)[listener])->sockets[index], text, size);
}

static struct service_target server_admin_show_target(void *owner, size_t listener, size_t index)
{
    return listener_target(server_running(owner)[listener], index);
}

static void server_admin_show_configuration(void *owner, FILE *stream)
{
    config_dump(((const struct server *)owner)->config, stream);
}

static struct service *server_admin_make_service(void *owner, struct runtime *runtime,
                                                 struct listener_settings *settings,
                                                 const struct service_owner *service_owner)
{
    const struct admin_source source = {
        .owner = owner,
        .process = server_admin_show_process,
        .listener = server_admin_show_listener,
        .address = server_admin_show_address,
        .target = server_admin_show_target,
        .dump = server_admin_show_configuration,
    };
    return admin_service_create(runtime, settings, service_owner, &source);
}

bool server_admin_open(struct server *server, struct bound_sockets *bound)
{
    struct listener_settings *settings = server->config->settings->admin;
    if (settings == NULL)
        return true;
    server->admin = listener_create(&server->runtime, settings, NULL, bound, NULL, drain_listener_emptied,
                                    server, server_admin_make_service);
    return server->admin != NULL;
}
