#include "server/overview.h"

#include "admin/admin.h"
#include "base/clock.h"

static struct listener *overview_listener(const struct overview *overview, size_t index)
{
    return overview->drain->listeners->running[index];
}

static void show_process(void *owner, struct admin_process *process)
{
    const struct overview *overview = owner;
    *process = (struct admin_process){
        .started = overview->started,
        .is_draining = overview->drain->stage != DRAIN_RUNNING,
        .file = overview->config->settings->file,
        .loaded = overview->reload->loaded != 0 ? overview->reload->loaded : overview->started,
        .reloads = overview->reload->done,
        .reloads_refused = overview->reload->refused,
        .is_refused = overview->reload->was_refused,
        .descriptors = overview->runtime->descriptors.available,
        .listeners = overview->drain->listeners->count,
    };
}

static void show_listener(void *owner, size_t index, struct admin_listener *view)
{
    struct listener *listener = overview_listener(owner, index);
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
    bind_print(&listener_sockets(overview_listener(owner, listener))->sockets[index], text, size);
}

static void show_target(void *owner, size_t listener, size_t index, struct service_target *view)
{
    listener_target(overview_listener(owner, listener), index, view);
}

static void show_configuration(void *owner, FILE *stream)
{
    const struct overview *overview = owner;
    config_dump(overview->config, stream);
}

/* Nobody waits for admin: it goes with the process. */
static void admin_emptied(void *owner)
{
    (void)owner;
}

static struct service *make_service(void *data, struct runtime *runtime, struct listener_settings *settings,
                                    const struct service_owner *owner)
{
    const struct admin_source source = {
        .owner = data,
        .process = show_process,
        .listener = show_listener,
        .address = show_address,
        .target = show_target,
        .dump = show_configuration,
    };
    return admin_service_create(runtime, settings, owner, &source);
}

void overview_init(struct overview *overview, const struct runtime *runtime, const struct config *config,
                   const struct drain *drain, const struct reload *reload)
{
    *overview = (struct overview){
        .runtime = runtime,
        .config = config,
        .drain = drain,
        .reload = reload,
        .started = clock_wall(),
    };
}

bool overview_open(struct overview *overview, struct runtime *runtime, struct bound_sockets *bound)
{
    struct listener_settings *settings = overview->config->settings->admin;
    if (settings == NULL)
        return true;
    overview->listener =
        listener_create_with(runtime, settings, NULL, bound, admin_emptied, overview, make_service, overview);
    return overview->listener != NULL;
}

void overview_start(struct overview *overview)
{
    if (overview->listener != NULL)
        listener_start(overview->listener);
}

void overview_hand_over(struct overview *overview)
{
    if (overview->listener != NULL)
        listener_hand_over(overview->listener);
}

void overview_close(struct overview *overview)
{
    listener_destroy(overview->listener);
    overview->listener = NULL;
}
