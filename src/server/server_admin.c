#include "server/server_admin.h"

#include "admin/admin.h"
#include "base/clock.h"

static struct listener *server_admin_listener(const struct server_admin *admin, size_t index)
{
    return admin->drain->listeners->running[index];
}

static void show_process(void *owner, struct admin_process *process)
{
    const struct server_admin *admin = owner;
    *process = (struct admin_process){
        .started = admin->started,
        .is_draining = admin->drain->stage != DRAIN_RUNNING,
        .file = admin->config->settings->file,
        .loaded = admin->reload->loaded != 0 ? admin->reload->loaded : admin->started,
        .reloads = admin->reload->done,
        .reloads_refused = admin->reload->refused,
        .is_refused = admin->reload->was_refused,
        .descriptors = admin->runtime->descriptors.available,
        .listeners = admin->drain->listeners->count,
    };
}

static void show_listener(void *owner, size_t index, struct admin_listener *view)
{
    struct listener *listener = server_admin_listener(owner, index);
    const struct listener_settings *settings = listener_get_settings(listener);
    *view = (struct admin_listener){
        .name = settings->name,
        .mode = settings_mode_name(settings->mode),
        .protocol = settings->protocol.protocol->name,
        .state = listener_state(listener),
        .counters = listener_get_counters(listener),
        .addresses = listener_sockets(listener)->count,
        .targets = listener_targets(listener),
    };
    listener_measure(listener, &view->gauges);
}

static void show_address(void *owner, size_t listener, size_t index, char *text, size_t size)
{
    bind_print(&listener_sockets(server_admin_listener(owner, listener))->sockets[index], text, size);
}

static void show_target(void *owner, size_t listener, size_t index, struct service_target *view)
{
    listener_target(server_admin_listener(owner, listener), index, view);
}

static void show_configuration(void *owner, FILE *stream)
{
    const struct server_admin *admin = owner;
    config_dump(admin->config, stream);
}

/* The process does not wait for clients of admin when it ends. */
static void admin_emptied(void *owner)
{
    (void)owner;
}

static struct service *make_service(void *owner, struct runtime *runtime, struct listener_settings *settings,
                                    const struct service_owner *service_owner)
{
    const struct admin_source source = {
        .owner = owner,
        .process = show_process,
        .listener = show_listener,
        .address = show_address,
        .target = show_target,
        .dump = show_configuration,
    };
    return admin_service_create(runtime, settings, service_owner, &source);
}

void server_admin_init(struct server_admin *admin, const struct runtime *runtime, const struct config *config,
                       const struct drain *drain, const struct reload *reload)
{
    *admin = (struct server_admin){
        .runtime = runtime,
        .config = config,
        .drain = drain,
        .reload = reload,
        .started = clock_wall(),
    };
}

bool server_admin_open(struct server_admin *admin, struct runtime *runtime, struct bound_sockets *bound)
{
    struct listener_settings *settings = admin->config->settings->admin;
    if (settings == NULL)
        return true;
    admin->listener = listener_create(runtime, settings, NULL, bound, admin_emptied, admin, make_service);
    return admin->listener != NULL;
}

void server_admin_start(struct server_admin *admin)
{
    if (admin->listener != NULL)
        listener_start(admin->listener);
}

void server_admin_hand_over(struct server_admin *admin)
{
    if (admin->listener != NULL)
        listener_hand_over(admin->listener);
}

void server_admin_close(struct server_admin *admin)
{
    listener_destroy(admin->listener);
    admin->listener = NULL;
}
