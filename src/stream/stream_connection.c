/* A target connection: the attempt to make it, then its socket. */
#include "base/clock.h"
#include "base/log.h"
#include "net/socket.h"
#include "stream/stream_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads in a row before a write; a target that goes on for longer has something to say. */
#define LOOKS_MAX 16

static struct stream_service *connection_service(const struct stream_connection *connection)
{
    return connection->pool->service;
}

/* An idle connection is watched too: that its target has closed it is to be noticed at once. */
static void connection_watch(struct stream_connection *connection)
{
    struct ev_loop *loop = connection_service(connection)->runtime->loop;
    bool writes = mux_connection_output(connection->mux).length > 0 && !connection->write_failed;
    int wanted = (mux_connection_wants_bytes(connection->mux) ? EV_READ : 0) | (writes ? EV_WRITE : 0);
    int watched = ev_is_active(&connection->watcher) ? connection->watcher.events & (EV_READ | EV_WRITE) : 0;
    if (wanted == watched)
        return;
    ev_io_stop(loop, &connection->watcher);
    ev_io_set(&connection->watcher, connection->watcher.fd, wanted);
    if (wanted != 0)
        ev_io_start(loop, &connection->watcher);
}

bool stream_connection_has_room(struct stream_connection *connection)
{
    bool has_room = connection->mux != NULL && mux_connection_has_room(connection->mux);
    if (has_room)
        connection->was_ready = true;
    return has_room;
}

static void connection_prove(struct stream_connection *connection)
{
    if (connection->proven)
        return;
    connection->proven = true;
    connection->pool->changed = true;
    timeout_stop(&connection->proof);
    target_succeed(connection->target);
}

void stream_connection_lasted(struct timer *timer, struct timeout *timeout)
{
    struct stream_connection *connection = list_entry(timeout, struct stream_connection, proof);
    if (stream_connection_has_room(connection) || connection->was_ready)
        connection_prove(connection);
    else /* it still greets, or waits for `connect_delay` */
        timer_start(timer, timeout, clock_now());
}

/* Reads once. Only while it may be read. Returns whether there was something. */
static bool connection_receive(struct stream_connection *connection)
{
    struct stream_service *service = connection_service(connection);
    char *buffer = service->runtime->read_buffer;
    ssize_t length = recv(connection->watcher.fd, buffer, RUNTIME_READ_SIZE, 0);
    if (length == -1 && socket_would_wait(errno))
        return false;
    int64_t now = clock_now();
    connection->looked = service->turn;
    if (length > 0) {
        connection->received += (uint64_t)length;
        connection->target->counters.bytes_received += (uint64_t)length;
        mux_connection_bytes(connection->mux, buffer, (size_t)length, now);
    } else if (length == 0) {
        mux_connection_end(connection->mux, now);
    } else {
        mux_connection_fail(connection->mux, REASON_TARGET_RESET, now);
    }
    if (connection->answered)
        connection_prove(connection);
    return true;
}

void stream_connection_read(struct stream_connection *connection)
{
    int events = connection->events;
    connection->events = 0;
    if (events & EV_ERROR) { /* the kernel can't watch it */
        mux_connection_fail(connection->mux, REASON_INTERNAL, clock_now());
        return;
    }
    if (events & EV_WRITE)
        connection->blocked = false;
    if ((events & EV_READ) && mux_connection_wants_bytes(connection->mux))
        connection_receive(connection);
}

static void connection_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    stream_note_connection(watcher->data, events);
}

/* What the target said, or that it closed, before a request is written must not be taken for the answer to
 * it. The loop has told us of all that was there when the turn began, unless there was too much to be told.
 * What came with, or behind, bytes that were read in this turn it has not told. */
static void connection_look(struct stream_connection *connection)
{
    const struct stream_service *service = connection_service(connection);
    if (connection->looked != service->turn && !service->many_events)
        return;
    for (int i = 0; i < LOOKS_MAX; i++)
        if (mux_connection_is_over(connection->mux) || !mux_connection_wants_bytes(connection->mux) ||
            !connection_receive(connection))
            break;
}

static void connection_write(struct stream_connection *connection, int64_t now)
{
    struct slice output = mux_connection_output(connection->mux);
    if (output.length == 0 || connection->blocked || connection->write_failed)
        return;
    ssize_t written = send(connection->watcher.fd, output.bytes, output.length, MSG_NOSIGNAL);
    if (written == -1 && !socket_would_wait(errno)) {
        connection->write_failed = true;
        return;
    }
    connection->blocked = written < (ssize_t)output.length;
    if (written > 0) {
        connection->sent += (uint64_t)written;
        connection->target->counters.bytes_sent += (uint64_t)written;
        mux_connection_written(connection->mux, (size_t)written, now);
    }
}

/* What the end of a connection says about its target. */
static void connection_judge(struct stream_connection *connection)
{
    enum reason reason = mux_connection_reason(connection->mux);
    if (connection->proven || connection->target->is_retired)
        return;
    bool failed = reason != REASON_DRAINED && reason != REASON_INACTIVITY;
    bool on_trial = connection->target->state != TARGET_UP; /* and then swallowing a request is no success */
    if (!failed || (!mux_connection_was_useless(connection->mux) && !on_trial)) {
        connection_prove(connection);
        return;
    }
    const char *explanation = mux_connection_explanation(connection->mux);
    target_fail(connection->target, reason, explanation[0] != '\0' ? explanation : reason_name(reason));
}

void stream_connection_progress(struct stream_connection *connection, int64_t now)
{
    if (mux_connection_output(connection->mux).length > 0 && !mux_connection_is_over(connection->mux)) {
        connection_look(connection);
        if (!mux_connection_is_over(connection->mux))
            connection_write(connection, now);
    }
    if (!mux_connection_is_over(connection->mux)) {
        connection_watch(connection);
        return;
    }
    connection_judge(connection);
    stream_connection_end(connection);
}

void stream_connection_retire(struct stream_connection *connection, int64_t now)
{
    if (connection->mux == NULL || connection->retired)
        return;
    connection->retired = true;
    mux_connection_retire(connection->mux, now);
}

static enum reason connection_end_reason(const struct stream_connection *connection)
{
    return mux_connection_is_over(connection->mux) ? mux_connection_reason(connection->mux) : REASON_DRAINED;
}

static void connection_log_end(const struct stream_connection *connection)
{
    bool is_over = mux_connection_is_over(connection->mux);
    const char *explanation = is_over ? mux_connection_explanation(connection->mux) : "";
    log_debug(connection_service(connection)->settings->name,
              "connection %llu to %s closed: %s%s%s, %llu bytes sent, %llu bytes received, %lld ms in all",
              (unsigned long long)connection->number, connection->target->settings->name,
              reason_name(connection_end_reason(connection)), explanation[0] != '\0' ? ": " : "", explanation,
              (unsigned long long)connection->sent, (unsigned long long)connection->received,
              (long long)((clock_now() - connection->opened) / 1000));
}

void stream_connection_end(struct stream_connection *connection)
{
    struct stream_pool *pool = connection->pool;
    struct target *target = connection->target;
    if (connection->mux != NULL) {
        connection_log_end(connection);
        target->counters.closed[connection_end_reason(connection)]++;
        ev_io_stop(connection_service(connection)->runtime->loop, &connection->watcher);
        close(connection->watcher.fd);
        mux_connection_close(connection->mux, clock_now());
    }
    if (connection->attempt != NULL)
        pool->attempts--;
    list_remove(&connection->node);
    list_remove(&connection->dirty);
    timeout_stop(&connection->proof);
    struct target_attempt *attempt = connection->attempt;
    bool was_open = connection->mux != NULL;
    bool was_extra = target->is_retired;
    free(connection);
    pool->changed = true;
    /* Last, because these have the pool look for work to be done. */
    if (attempt != NULL)
        target_cancel(attempt);
    else if (was_open)
        target_release(target);
    if (was_extra)
        stream_return_descriptor(pool->service);
}

/* Gives up what was connected, because memory is short. */
static void connection_abandon(struct stream_connection *connection, int descriptor)
{
    struct target *target = connection->target;
    close(descriptor);
    stream_connection_end(connection);
    target_fail(target, REASON_INTERNAL, "memory is short");
    target_release(target);
}

static void connection_open(struct stream_connection *connection, int descriptor)
{
    struct stream_pool *pool = connection->pool;
    connection->opened = clock_now();
    connection->mux = mux_connection_open(pool->service->mux, connection, connection->opened);
    if (connection->mux == NULL) {
        connection_abandon(connection, descriptor);
        return;
    }
    connection->address = connection->target->good_address;
    connection->number = ++pool->next_number;
    connection->looked = pool->service->turn; /* it may have spoken already */
    ev_io_init(&connection->watcher, connection_ready, descriptor, 0);
    connection->watcher.data = connection;
    timer_start(&pool->proof_timer, &connection->proof, connection->opened);
    stream_note_connection(connection, 0);
    log_debug(pool->service->settings->name, "connection %llu to %s opened",
              (unsigned long long)connection->number, connection->target->settings->name);
}

static void connection_attempted(void *data, struct target *target, int descriptor)
{
    (void)target;
    struct stream_connection *connection = data;
    struct stream_pool *pool = connection->pool;
    connection->attempt = NULL;
    pool->attempts--;
    if (descriptor != -1)
        connection_open(connection, descriptor);
    else
        stream_connection_end(connection);
    stream_pool_attempted(pool);
}

bool stream_connection_connect(struct stream_pool *pool, struct target *target)
{
    struct stream_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return false;
    connection->pool = pool;
    connection->target = target;
    connection->attempt = target_connect(target, connection_attempted, connection);
    if (connection->attempt == NULL) {
        free(connection);
        return false;
    }
    list_append(&pool->connections, &connection->node);
    pool->attempts++;
    return true;
}
