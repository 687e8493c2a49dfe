/* What services share: the multiplexer, the pool, and their timers. */
#include "net/socket.h"
#include "stream/stream_parts.h"
#include "target/target_loop.h"

#include <errno.h>
#include <stdlib.h>

/* How long a client may take to close too, after the end of our stream. */
#define LINGER_MILLISECONDS 2000

/* How long a device may take to reset a connection that came too early for it. */
#define SETTLE_MILLISECONDS 50

/* The epoll descriptor of net/hangup.h. */
#define HANGUP_DESCRIPTORS 1

static size_t hub_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The plain numbers that the multiplexer gets. */
static struct mux_settings hub_plain(const struct stream_hub *hub)
{
    const struct listener_settings *settings = hub->settings;
    struct mux_settings plain = {
        .protocol = &settings->protocol,
        .in_order = settings->mode == MODE_FIFO,
        .depth = settings->async ? (size_t)settings->pipeline_depth : 1,
        .pipeline_depth = (size_t)settings->pipeline_depth,
        .buffer_limit = (size_t)settings->buffer_limit,
        .memory_limit = (size_t)settings->memory_limit,
        .max_message = settings->max_message,
        .queue_limit = (size_t)settings->queue_limit,
        .queue_timeout = settings->queue_timeout,
        .down_timeout = settings->down_timeout,
        .request_timeout = settings->request_timeout,
        .stall_timeout = settings->stall_timeout,
        .client_idle_timeout = settings->client_idle_timeout,
        .inactivity_timeout = settings->inactivity_timeout,
        .connect_delay = settings->connect_delay,
        .settle_pause = SETTLE_MILLISECONDS,
        .request_gap = settings->request_gap,
        .response_gap = protocol_turn_gap(&settings->protocol),
        .connection_ttl = settings->connection_ttl,
        .max_requests = settings->max_requests_per_connection,
        .request_rate = settings->request_rate,
        .request_rate_each = settings->request_rate_per_address,
        .abort_on_close = settings->abort_on_close,
    };
    list_foreach(&hub->services, node)
    {
        const struct stream_service *service = list_entry(node, struct stream_service, node);
        plain.observe_request = hub_larger(plain.observe_request, service->request_bytes);
        plain.observe_answer = hub_larger(plain.observe_answer, service->answer_bytes);
    }
    return plain;
}

/* ---- The hooks of the multiplexer ---- */

static struct mux_connection *hub_choose(void *owner, void *client)
{
    struct stream_hub *hub = owner;
    const struct stream_client *asking = client;
    return stream_pool_choose(&hub->pool, &asking->address, stream_now(hub));
}

static struct mux_connection *hub_choose_check(void *owner, void *client)
{
    struct stream_hub *hub = owner;
    return stream_pool_choose_check(&hub->pool, client, stream_now(hub));
}

static void hub_check_ended(void *, const struct mux_ending *ending)
{
    stream_pool_check_ended(ending);
}

static size_t hub_opening(void *owner)
{
    const struct stream_hub *hub = owner;
    return stream_pool_opening(&hub->pool);
}

static void hub_found(void *owner, const struct mux_finding *finding)
{
    stream_pool_found(finding->connection, finding, stream_now(owner));
}

static struct mux *hub_make_mux(struct stream_hub *hub)
{
    static const struct mux_hooks hooks = {
        .choose = hub_choose,
        .choose_apart = hub_choose_check,
        .ended_apart = hub_check_ended,
        .opening = hub_opening,
        .requested = stream_record_request,
        .ended = stream_record_end,
        .found = hub_found,
    };
    struct mux_settings plain = hub_plain(hub);
    return mux_create(&plain, &hooks, hub);
}

/* ---- Beginning and end ---- */

size_t stream_descriptors(const struct listener_settings *settings)
{
    return stream_pool_size(settings) + HANGUP_DESCRIPTORS;
}

static bool hub_reserve_descriptors(struct stream_hub *hub)
{
    size_t count = stream_descriptors(hub->settings);
    if (!descriptors_reserve(&hub->runtime->descriptors, count)) {
        errno = EMFILE;
        return false;
    }
    hub->descriptors = count;
    return true;
}

void stream_hub_destroy(struct stream_hub *hub)
{
    stream_pool_close(&hub->pool, stream_now(hub));
    target_set_destroy(hub->pool.targets);
    mux_destroy(hub->mux);
    hangups_close(&hub->hangups);
    descriptors_return(&hub->runtime->descriptors, hub->descriptors);
    timer_stop(&hub->linger_timer);
    ev_timer_stop(hub->runtime->loop, &hub->mux_timer);
    listener_settings_release(hub->settings);
    turn_enter(&hub->runtime->turn, TURN_FREE, &hub->entry);
}

struct stream_hub *stream_hub_create(struct runtime *runtime, struct listener_settings *settings)
{
    struct stream_hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL)
        return NULL;
    hub->entry.actions = &stream_hub_actions;
    hub->runtime = runtime;
    hub->settings = listener_settings_reference(settings);
    list_init(&hub->services);
    timer_init(&hub->linger_timer, runtime->loop, LINGER_MILLISECONDS, stream_client_lingered, hub);
    ev_timer_init(&hub->mux_timer, stream_mux_timer_fired, 0.0, 0.0);
    hub->mux_timer.data = hub;
    hub->mux = hub_make_mux(hub);
    /* All of them are initialised, so that stream_hub_destroy() can undo them. */
    stream_pool_init(&hub->pool, &stream_connection_driver, hub, hub->mux, settings);
    hub->pool.targets =
        target_set_create(runtime, listener_settings_targets(settings), &stream_pool_hooks, &hub->pool);
    bool watches = hangups_init(&hub->hangups, runtime->loop, stream_client_hung_up, hub);
    if (watches && hub->pool.targets != NULL && hub->mux != NULL && hub_reserve_descriptors(hub))
        return hub;
    int error = errno;
    stream_hub_destroy(hub);
    errno = error;
    return NULL;
}

void stream_hub_join(struct stream_hub *hub, struct stream_service *service)
{
    service->hub = hub;
    list_append(&hub->services, &service->node);
    stream_hub_observe(hub);
}

void stream_hub_leave(struct stream_service *service)
{
    struct stream_hub *hub = service->hub;
    list_remove(&service->node);
    if (list_empty(&hub->services))
        stream_hub_destroy(hub);
    else
        stream_hub_observe(hub);
}

/* ---- Other settings ---- */

void stream_hub_observe(struct stream_hub *hub)
{
    struct mux_settings plain = hub_plain(hub);
    mux_reconfigure(hub->mux, &plain, stream_now(hub));
    stream_touch(hub);
}

/* Reserves descriptors for all connections there may be, whichever settings count in the end. */
bool stream_hub_prepare(struct stream_hub *hub, struct listener_settings *settings)
{
    struct descriptors *descriptors = &hub->runtime->descriptors;
    size_t wanted;
    if (!stream_pool_prepare(&hub->pool, settings, &wanted))
        return false;
    wanted += HANGUP_DESCRIPTORS;
    hub->next_settings = settings;
    hub->next_descriptors = wanted;
    if (wanted <= hub->descriptors)
        return true;
    if (descriptors_reserve(descriptors, wanted - hub->descriptors)) {
        hub->descriptors = wanted;
        return true;
    }
    stream_pool_rollback(&hub->pool);
    errno = EMFILE;
    return false;
}

static void hub_give_back(struct stream_hub *hub, size_t keep)
{
    size_t extra = hub->descriptors > keep ? hub->descriptors - keep : 0;
    hub->descriptors -= extra;
    if (extra > 0)
        descriptors_return(&hub->runtime->descriptors, extra);
}

void stream_hub_rollback(struct stream_hub *hub)
{
    stream_pool_rollback(&hub->pool);
    hub_give_back(hub, stream_descriptors(hub->settings) + stream_pool_extra(&hub->pool));
}

/* Options of target connections count for those that are there. */
static void hub_commit_connections(struct stream_hub *hub)
{
    list_foreach(&hub->pool.connections, node)
    {
        struct pool_connection *pooled = list_entry(node, struct pool_connection, node);
        const struct target_settings *next = pooled->target->next_settings;
        if (pooled->state != POOL_CONNECTING)
            socket_user_timeout(stream_connection_of(pooled)->watcher.fd, hub->settings->request_timeout);
        if (next != NULL && pooled->state != POOL_CONNECTING)
            socket_keep_alive(stream_connection_of(pooled)->watcher.fd,
                              next->keep_alive.enabled ? next->keep_alive.idle : 0, next->keep_alive.interval,
                              next->keep_alive.count);
    }
}

/* The clients that are there have a limit for each address, too, if there is one now; but for want of memory. */
static void hub_share_rates(struct stream_hub *hub)
{
    list_foreach(&hub->services, service_node)
    {
        const struct stream_service *service = list_entry(service_node, struct stream_service, node);
        list_foreach(&service->clients, node)
        {
            struct stream_client *client = list_entry(node, struct stream_client, node);
            if (client->mux != NULL)
                mux_client_share(client->mux, address_host(&client->address), stream_now(hub));
        }
    }
}

void stream_hub_commit(struct stream_hub *hub)
{
    struct listener_settings *before = hub->settings;
    int64_t now = turn_refresh(&hub->runtime->turn); /* other listeners before this one took their time */
    hub->settings = listener_settings_reference(hub->next_settings);
    hub_give_back(hub, hub->next_descriptors);
    hub_commit_connections(hub);
    stream_pool_commit(&hub->pool, hub->settings, now);
    stream_hub_observe(hub);
    hub_share_rates(hub);
    listener_settings_release(before);
}
