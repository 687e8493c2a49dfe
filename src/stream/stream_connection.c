/* A target connection: the attempt to make it, then its socket. */
#include "base/log.h"
#include "net/socket.h"
#include "stream/stream_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads in one turn before requests are written all the same: a target that sends more has not only an end, or an old
 * answer, to report. */
#define READS_MAX 16

static struct stream_service *stream_connection_service(const struct stream_connection *connection)
{
    return connection->pool->service;
}

static struct stream_connection *stream_connection_of(struct turn_entry *entry)
{
    return list_entry(entry, struct stream_connection, entry);
}

static void stream_connection_enter(struct stream_connection *connection, enum turn_pass pass)
{
    turn_enter(&stream_connection_service(connection)->runtime->turn, pass, &connection->entry);
}

/* An idle connection is watched too, because its end is to be noticed at once. */
static void stream_connection_watch(struct stream_connection *connection)
{
    struct ev_loop *loop = stream_connection_service(connection)->runtime->loop;
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

static void stream_connection_mark_healthy(struct stream_connection *connection)
{
    if (connection->is_healthy)
        return;
    connection->is_healthy = true;
    connection->pool->changed = true;
    timeout_stop(&connection->probation);
    target_succeed(connection->target);
    stream_touch(stream_connection_service(connection));
}

void stream_connection_probation_ended(struct timer *timer, struct timeout *timeout)
{
    struct stream_connection *connection = list_entry(timeout, struct stream_connection, probation);
    if (stream_connection_has_room(connection) || connection->was_ready)
        stream_connection_mark_healthy(connection);
    else /* its handshake still runs, or `connect_delay` */
        timer_start(timer, timeout, stream_now(stream_connection_service(connection)));
}

/* Reads once, if the multiplexer takes bytes. Returns whether there was something. */
static bool stream_connection_receive(struct stream_connection *connection)
{
    struct runtime *runtime = stream_connection_service(connection)->runtime;
    struct turn *turn = &runtime->turn;
    if (mux_connection_is_over(connection->mux) || !mux_connection_wants_bytes(connection->mux))
        return false;
    ssize_t length = recv(connection->watcher.fd, runtime->read_buffer, RUNTIME_READ_SIZE, 0);
    if (length == -1 && socket_would_wait(errno))
        return false;
    connection->reads = connection->read_turn == turn->number ? connection->reads + 1 : 1;
    connection->read_turn = turn->number;
    if (length > 0) {
        connection->received += (uint64_t)length;
        connection->target->counters.bytes_received += (uint64_t)length;
        mux_connection_bytes(connection->mux, runtime->read_buffer, (size_t)length, turn->now);
        connection->target->counters.discarded += mux_connection_take_discarded(connection->mux);
    } else if (length == 0) {
        mux_connection_end(connection->mux, turn->now);
    } else {
        mux_connection_fail(connection->mux, REASON_TARGET_RESET, turn->now);
    }
    if (connection->answered)
        stream_connection_mark_healthy(connection);
    stream_touch(stream_connection_service(connection));
    return true;
}

static void stream_connection_read(struct turn_entry *entry)
{
    struct stream_connection *connection = stream_connection_of(entry);
    int reported = connection->reported;
    connection->reported = 0;
    if (reported & EV_WRITE)
        connection->is_blocked = false;
    if (reported & EV_ERROR) { /* the kernel can't watch it */
        struct stream_service *service = stream_connection_service(connection);
        mux_connection_fail(connection->mux, REASON_INTERNAL, stream_now(service));
        stream_touch(service);
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

/* What the target sent, or that it closed, before a request is written must not be taken for the answer to it. The
 * kernel has reported all that was there when the turn began, unless there was more than it was asked for. It has
 * not reported what came with, or behind, bytes that were read in this turn. */
static void stream_connection_read_ahead(struct stream_connection *connection)
{
    const struct turn *turn = &stream_connection_service(connection)->runtime->turn;
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
    if (connection->is_blocked || connection->write_failed || mux_connection_is_over(connection->mux) ||
        mux_connection_output(connection->mux).length == 0)
        return;
    stream_connection_read_ahead(connection);
    struct slice output = mux_connection_output(connection->mux);
    if (mux_connection_is_over(connection->mux) || output.length == 0)
        return;
    ssize_t written = send(connection->watcher.fd, output.bytes, output.length, MSG_NOSIGNAL);
    if (written == -1 && !socket_would_wait(errno)) {
        connection->write_failed = true;
        return;
    }
    connection->is_blocked = written < (ssize_t)output.length;
    if (written <= 0)
        return;
    struct stream_service *service = stream_connection_service(connection);
    connection->sent += (uint64_t)written;
    connection->target->counters.bytes_sent += (uint64_t)written;
    mux_connection_written(connection->mux, (size_t)written, stream_now(service));
    stream_touch(service);
}

/* What the end of a connection says about its target. */
static void stream_connection_evaluate(struct stream_connection *connection)
{
    enum reason reason = mux_connection_reason(connection->mux);
    if (connection->is_healthy || target_is_retired(connection->target))
        return;
    bool failed = reason != REASON_DRAINED && reason != REASON_INACTIVITY;
    bool on_trial =
        connection->target->state != TARGET_UP; /* a request without an answer is no success then */
    if (!failed || (!mux_connection_was_useless(connection->mux) && !on_trial)) {
        stream_connection_mark_healthy(connection);
        return;
    }
    const char *explanation = mux_connection_explanation(connection->mux);
    target_fail(connection->target, reason, explanation[0] != '\0' ? explanation : reason_name(reason),
                stream_now(stream_connection_service(connection)));
}

/* Writes what there is for it, and ends it if it is over. */
static void stream_connection_progress(struct turn_entry *entry)
{
    struct stream_connection *connection = stream_connection_of(entry);
    stream_connection_write(connection);
    if (!mux_connection_is_over(connection->mux)) {
        stream_connection_watch(connection);
        return;
    }
    stream_connection_evaluate(connection);
    stream_connection_end(connection);
}

void stream_connection_retire(struct stream_connection *connection, int64_t now)
{
    if (connection->mux == NULL || connection->retired)
        return;
    connection->retired = true;
    mux_connection_retire(connection->mux, now);
    stream_touch(stream_connection_service(connection));
}

static void stream_connection_log_end(const struct stream_connection *connection, enum reason reason)
{
    const struct stream_service *service = stream_connection_service(connection);
    bool is_over = mux_connection_is_over(connection->mux);
    const char *explanation = is_over ? mux_connection_explanation(connection->mux) : "";
    log_debug(service->settings->name,
              "connection %llu to %s closed: %s%s%s, %llu bytes sent, %llu bytes received, %lld ms in all",
              (unsigned long long)connection->number, connection->target->settings->name, reason_name(reason),
              explanation[0] != '\0' ? ": " : "", explanation, (unsigned long long)connection->sent,
              (unsigned long long)connection->received,
              (long long)((stream_now(service) - connection->opened) / 1000));
}

/* The descriptor of a connection that was there beyond the size of the pool. */
static void stream_connection_return_descriptor(struct stream_service *service)
{
    service->descriptors--;
    descriptors_return(&service->runtime->descriptors, 1);
}

void stream_connection_end(struct stream_connection *connection)
{
    struct stream_pool *pool = connection->pool;
    struct stream_service *service = pool->service;
    struct target *target = connection->target;
    bool was_open = connection->mux != NULL;
    bool was_extra = target_is_retired(target);
    if (was_open) {
        bool is_over = mux_connection_is_over(connection->mux);
        enum reason reason = is_over ? mux_connection_reason(connection->mux) : REASON_DRAINED;
        stream_connection_log_end(connection, reason);
        target->counters.closed[reason]++;
        ev_io_stop(service->runtime->loop, &connection->watcher);
        close(connection->watcher.fd);
        mux_connection_close(connection->mux, stream_now(service));
        connection->mux = NULL;
    }
    if (connection->attempt != NULL)
        pool->attempts--;
    pool->changed = true;
    list_remove(&connection->node);
    timeout_stop(&connection->probation);
    stream_connection_enter(connection, TURN_FREE);
    stream_touch(service);
    /* Last, because these have the pool look for work to be done. */
    if (connection->attempt != NULL)
        target_cancel(connection->attempt, stream_now(service));
    else if (was_open)
        target_release(target);
    if (was_extra)
        stream_connection_return_descriptor(service);
}

/* Gives up what was connected, because memory is short. */
static void stream_connection_abandon(struct stream_connection *connection, int descriptor)
{
    struct target *target = connection->target;
    close(descriptor);
    stream_connection_end(connection);
    target_fail(target, REASON_INTERNAL, "memory is short",
                stream_now(stream_connection_service(connection)));
    target_release(target);
}

static void stream_connection_open(struct stream_connection *connection, int descriptor)
{
    struct stream_pool *pool = connection->pool;
    const struct turn *turn = &pool->service->runtime->turn;
    connection->opened = turn->now;
    connection->mux = mux_connection_open(pool->service->mux, connection, connection->opened);
    if (connection->mux == NULL) {
        stream_connection_abandon(connection, descriptor);
        return;
    }
    connection->address = connection->target->good_address;
    connection->number = ++pool->next_number;
    connection->read_turn = turn->number; /* the target may have sent something already */
    ev_io_init(&connection->watcher, stream_connection_ready, descriptor, 0);
    connection->watcher.data = connection;
    timer_start(&pool->probation_timer, &connection->probation, connection->opened);
    stream_connection_enter(connection, TURN_WRITE_TARGETS);
    log_debug(pool->service->settings->name, "connection %llu to %s opened",
              (unsigned long long)connection->number, connection->target->settings->name);
}

static void stream_connection_attempted(void *data, struct target *target, int descriptor, int64_t now)
{
    (void)now;
    (void)target;
    struct stream_connection *connection = data;
    struct stream_pool *pool = connection->pool;
    connection->attempt = NULL;
    pool->attempts--;
    if (descriptor != -1)
        stream_connection_open(connection, descriptor);
    else
        stream_connection_end(connection);
    pool->changed = true;
    stream_touch(pool->service);
}

static void stream_connection_free(struct turn_entry *entry)
{
    free(stream_connection_of(entry));
}

bool stream_connection_connect(struct stream_pool *pool, struct target *target)
{
    static const struct turn_actions actions = {
        .act = { [TURN_READ_TARGETS] = stream_connection_read,
                 [TURN_WRITE_TARGETS] = stream_connection_progress,
                 [TURN_FREE] = stream_connection_free },
    };
    struct stream_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return false;
    connection->entry.actions = &actions;
    connection->pool = pool;
    connection->target = target;
    connection->attempt = target_connect(target, stream_connection_attempted, connection);
    if (connection->attempt == NULL) {
        free(connection);
        return false;
    }
    list_append(&pool->connections, &connection->node);
    pool->attempts++;
    return true;
}
