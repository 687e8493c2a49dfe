/* The socket of a target connection. */
#include "base/log.h"
#include "net/socket.h"
#include "stream/stream_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads in one turn before requests are written all the same: a target that sends more has not only an end,
 * or an old answer, to report. */
#define READS_MAX 16

static struct stream_connection *stream_connection_of_entry(struct turn_entry *entry)
{
    return list_entry(entry, struct stream_connection, entry);
}

static void stream_connection_enter(struct stream_connection *connection, enum turn_pass pass)
{
    turn_enter(&connection->hub->runtime->turn, pass, &connection->entry);
}

/* An idle connection is watched too, because its end is to be noticed at once. */
static void stream_connection_watch(struct stream_connection *connection)
{
    struct ev_loop *loop = connection->hub->runtime->loop;
    bool writes = mux_connection_output(connection->pooled.mux).length > 0 && !connection->write_failed;
    int wanted = (mux_connection_wants_bytes(connection->pooled.mux) ? EV_READ : 0) | (writes ? EV_WRITE : 0);
    int watched = ev_is_active(&connection->watcher) ? connection->watcher.events & (EV_READ | EV_WRITE) : 0;
    if (wanted == watched)
        return;
    ev_io_stop(loop, &connection->watcher);
    ev_io_set(&connection->watcher, connection->watcher.fd, wanted);
    if (wanted != 0)
        ev_io_start(loop, &connection->watcher);
}

/* Reads once, if the multiplexer takes bytes. Returns whether there was something. */
static bool stream_connection_receive(struct stream_connection *connection)
{
    struct runtime *runtime = connection->hub->runtime;
    struct turn *turn = &runtime->turn;
    if (mux_connection_is_over(connection->pooled.mux) || !mux_connection_wants_bytes(connection->pooled.mux))
        return false;
    ssize_t length = recv(connection->watcher.fd, runtime->read_buffer, RUNTIME_READ_SIZE, 0);
    if (length == -1 && socket_would_wait(errno))
        return false;
    connection->reads = connection->read_turn == turn->number ? connection->reads + 1 : 1;
    connection->read_turn = turn->number;
    if (length > 0) {
        connection->received += (uint64_t)length;
        connection->pooled.target->counters->bytes_received += (uint64_t)length;
        mux_connection_bytes(connection->pooled.mux, runtime->read_buffer, (size_t)length, turn->now);
        connection->pooled.target->counters->discarded +=
            mux_connection_take_discarded(connection->pooled.mux);
    } else if (length == 0) {
        mux_connection_end(connection->pooled.mux, turn->now);
    } else {
        mux_connection_fail(connection->pooled.mux, REASON_TARGET_RESET, turn->now);
    }
    stream_touch(connection->hub);
    return true;
}

static void stream_connection_read(struct turn_entry *entry)
{
    struct stream_connection *connection = stream_connection_of_entry(entry);
    int reported = connection->reported;
    connection->reported = 0;
    if (reported & EV_WRITE)
        connection->is_blocked = false;
    if (reported & EV_ERROR) { /* the kernel can't watch it */
        mux_connection_fail(connection->pooled.mux, REASON_INTERNAL, stream_now(connection->hub));
        stream_touch(connection->hub);
    } else if (reported & EV_READ) {
        stream_connection_receive(connection);
    }
    stream_connection_enter(connection, TURN_WRITE_TARGETS);
}

static void stream_connection_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    struct stream_connection *connection = watcher->data;
    connection->reported |= events;
    stream_connection_enter(connection, TURN_READ_TARGETS);
}

/* What the target sent, or that it closed, before a request is written must not be taken for the answer to
 * it. The kernel has reported all that was there when the turn began, unless there was more than it was asked
 * for. It has not reported what came with, or behind, bytes that were read in this turn. */
static void stream_connection_read_ahead(struct stream_connection *connection)
{
    const struct turn *turn = &connection->hub->runtime->turn;
    if (connection->read_turn != turn->number) {
        if (!turn->has_more)
            return;
        connection->reads = 0;
    }
    while (connection->reads < READS_MAX && stream_connection_receive(connection))
        ;
}

static void stream_connection_write(struct stream_connection *connection)
{
    if (connection->is_blocked || connection->write_failed ||
        mux_connection_is_over(connection->pooled.mux) ||
        mux_connection_output(connection->pooled.mux).length == 0)
        return;
    stream_connection_read_ahead(connection);
    struct slice output = mux_connection_output(connection->pooled.mux);
    if (mux_connection_is_over(connection->pooled.mux) || output.length == 0)
        return;
    ssize_t written = send(connection->watcher.fd, output.bytes, output.length, MSG_NOSIGNAL);
    if (written == -1 && !socket_would_wait(errno)) {
        connection->write_failed = true;
        return;
    }
    connection->is_blocked = written < (ssize_t)output.length;
    if (written <= 0)
        return;
    connection->sent += (uint64_t)written;
    connection->pooled.target->counters->bytes_sent += (uint64_t)written;
    mux_connection_written(connection->pooled.mux, (size_t)written, stream_now(connection->hub));
    stream_touch(connection->hub);
}

/* Writes what there is for it, and ends it if it is over. */
static void stream_connection_progress(struct turn_entry *entry)
{
    struct stream_connection *connection = stream_connection_of_entry(entry);
    stream_connection_write(connection);
    if (!mux_connection_is_over(connection->pooled.mux))
        stream_connection_watch(connection);
    stream_pool_progress(&connection->pooled, stream_now(connection->hub));
}

static void stream_connection_log_end(const struct stream_connection *connection, int64_t now)
{
    const struct mux_connection *mux = connection->pooled.mux;
    bool is_over = mux != NULL && mux_connection_is_over(mux);
    enum reason reason = mux == NULL ? REASON_INTERNAL
                         : is_over   ? mux_connection_reason(mux)
                                     : REASON_DRAINED;
    const char *explanation = is_over ? mux_connection_explanation(mux) : "";
    log_debug(connection->hub->settings->name,
              "connection %llu to %s closed: %s%s%s, %llu bytes sent, %llu bytes received, %lld ms in all",
              (unsigned long long)connection->number, connection->pooled.target->settings->name,
              reason_name(reason), explanation[0] != '\0' ? ": " : "", explanation,
              (unsigned long long)connection->sent, (unsigned long long)connection->received,
              (long long)((now - connection->opened) / 1000));
}

/* The descriptor of a connection that was there beyond the size of the pool. */
static void stream_connection_return_descriptor(struct stream_hub *hub)
{
    hub->descriptors--;
    descriptors_return(&hub->runtime->descriptors, 1);
}

static void stream_connection_ended(struct pool_connection *pooled, int64_t now)
{
    struct stream_connection *connection = stream_connection_of(pooled);
    struct stream_hub *hub = connection->hub;
    if (connection->number > 0) { /* it was connected */
        stream_connection_log_end(connection, now);
        ev_io_stop(hub->runtime->loop, &connection->watcher);
        close(connection->watcher.fd);
    }
    if (pooled->is_extra)
        stream_connection_return_descriptor(hub);
    stream_connection_enter(connection, TURN_FREE);
}

static void stream_connection_connected(struct pool_connection *pooled, int descriptor, int64_t now)
{
    struct stream_connection *connection = stream_connection_of(pooled);
    struct stream_hub *hub = connection->hub;
    connection->opened = now;
    connection->number = ++hub->connections;
    connection->read_turn = hub->runtime->turn.number; /* the target may have sent something already */
    socket_user_timeout(descriptor, hub->settings->request_timeout);
    ev_io_init(&connection->watcher, stream_connection_ready, descriptor, 0);
    connection->watcher.data = connection;
    stream_connection_enter(connection, TURN_WRITE_TARGETS);
    log_debug(hub->settings->name, "connection %llu to %s opened", (unsigned long long)connection->number,
              pooled->target->settings->name);
}

static void stream_connection_free(struct turn_entry *entry)
{
    free(stream_connection_of_entry(entry));
}

static struct pool_connection *stream_connection_create(void *owner)
{
    static const struct turn_actions actions = {
        .act = { [TURN_READ_TARGETS] = stream_connection_read,
                 [TURN_WRITE_TARGETS] = stream_connection_progress,
                 [TURN_FREE] = stream_connection_free },
    };
    struct stream_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    connection->entry.actions = &actions;
    connection->hub = owner;
    return &connection->pooled;
}

static void stream_pool_is_ready(void *owner)
{
    struct stream_hub *hub = owner;
    hub->is_ready = true;
    list_foreach(&hub->services, node)
    {
        const struct stream_service *service = list_entry(node, struct stream_service, node);
        if (service->is_started)
            service->owner.ready(service->owner.owner);
    }
}

static void stream_pool_touched(void *owner)
{
    stream_touch(owner);
}

const struct pool_driver stream_connection_driver = {
    .create = stream_connection_create,
    .connected = stream_connection_connected,
    .ended = stream_connection_ended,
    .ready = stream_pool_is_ready,
    .touch = stream_pool_touched,
};
