/* A target connection: the attempt to make it, then its socket. */
#include "base/clock.h"
#include "base/log.h"
#include "net/socket.h"
#include "stream/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads in a row before a write; a target that goes on for longer has something to say. */
#define LOOKS_MAX 16

static struct stream_service *link_service(const struct stream_link *link)
{
    return link->pool->service;
}

/* An idle connection is watched too: that its target has closed it is to be noticed at once. */
static void link_watch(struct stream_link *link)
{
    struct ev_loop *loop = link_service(link)->runtime->loop;
    bool writes = mux_link_output(link->mux).length > 0 && !link->write_failed;
    int wanted = (mux_link_wants_bytes(link->mux) ? EV_READ : 0) | (writes ? EV_WRITE : 0);
    int watched = ev_is_active(&link->watcher) ? link->watcher.events & (EV_READ | EV_WRITE) : 0;
    if (wanted == watched)
        return;
    ev_io_stop(loop, &link->watcher);
    ev_io_set(&link->watcher, link->watcher.fd, wanted);
    if (wanted != 0)
        ev_io_start(loop, &link->watcher);
}

bool stream_link_has_room(struct stream_link *link)
{
    bool has_room = link->mux != NULL && mux_link_has_room(link->mux);
    if (has_room)
        link->was_ready = true;
    return has_room;
}

static void link_prove(struct stream_link *link)
{
    if (link->proven)
        return;
    link->proven = true;
    link->pool->changed = true;
    timeout_stop(&link->proof);
    target_succeed(link->target);
}

void stream_link_lasted(struct timer *timer, struct timeout *timeout)
{
    struct stream_link *link = list_entry(timeout, struct stream_link, proof);
    if (stream_link_has_room(link) || link->was_ready)
        link_prove(link);
    else /* it still greets, or waits for `connect_delay` */
        timer_start(timer, timeout, clock_now());
}

/* Reads once. Only while it may be read. Returns whether there was something. */
static bool link_receive(struct stream_link *link)
{
    struct stream_service *service = link_service(link);
    char *buffer = service->runtime->read_buffer;
    ssize_t length = recv(link->watcher.fd, buffer, RUNTIME_READ_SIZE, 0);
    if (length == -1 && socket_would_wait(errno))
        return false;
    int64_t now = clock_now();
    link->looked = service->turn;
    if (length > 0) {
        link->received += (uint64_t)length;
        link->target->counters.bytes_received += (uint64_t)length;
        mux_link_bytes(link->mux, buffer, (size_t)length, now);
    } else if (length == 0) {
        mux_link_end(link->mux, now);
    } else {
        mux_link_fail(link->mux, REASON_TARGET_RESET, now);
    }
    if (link->answered)
        link_prove(link);
    return true;
}

void stream_link_read(struct stream_link *link)
{
    int events = link->events;
    link->events = 0;
    if (events & EV_ERROR) { /* the kernel can't watch it */
        mux_link_fail(link->mux, REASON_INTERNAL, clock_now());
        return;
    }
    if (events & EV_WRITE)
        link->blocked = false;
    if ((events & EV_READ) && mux_link_wants_bytes(link->mux))
        link_receive(link);
}

static void link_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    stream_note_link(watcher->data, events);
}

/* What the target said, or that it closed, before a request is written must not be taken for the answer to
 * it. The loop has told us of all that was there when the turn began, unless there was too much to be told.
 * What came with, or behind, bytes that were read in this turn it has not told. */
static void link_look(struct stream_link *link)
{
    const struct stream_service *service = link_service(link);
    if (link->looked != service->turn && !service->many_events)
        return;
    for (int i = 0; i < LOOKS_MAX; i++)
        if (mux_link_is_over(link->mux) || !mux_link_wants_bytes(link->mux) || !link_receive(link))
            break;
}

static void link_write(struct stream_link *link, int64_t now)
{
    struct slice output = mux_link_output(link->mux);
    if (output.length == 0 || link->blocked || link->write_failed)
        return;
    ssize_t written = send(link->watcher.fd, output.bytes, output.length, MSG_NOSIGNAL);
    if (written == -1 && !socket_would_wait(errno)) {
        link->write_failed = true;
        return;
    }
    link->blocked = written < (ssize_t)output.length;
    if (written > 0) {
        link->sent += (uint64_t)written;
        link->target->counters.bytes_sent += (uint64_t)written;
        mux_link_written(link->mux, (size_t)written, now);
    }
}

/* What the end of a connection says about its target. */
static void link_judge(struct stream_link *link)
{
    enum reason reason = mux_link_reason(link->mux);
    if (link->proven || link->target->is_retired)
        return;
    bool failed = reason != REASON_DRAINED && reason != REASON_INACTIVITY;
    bool on_trial = link->target->state != TARGET_UP; /* and then swallowing a request is no success */
    if (!failed || (!mux_link_was_useless(link->mux) && !on_trial)) {
        link_prove(link);
        return;
    }
    const char *explanation = mux_link_explanation(link->mux);
    target_fail(link->target, reason, explanation[0] != '\0' ? explanation : reason_name(reason));
}

void stream_link_progress(struct stream_link *link, int64_t now)
{
    if (mux_link_output(link->mux).length > 0 && !mux_link_is_over(link->mux)) {
        link_look(link);
        if (!mux_link_is_over(link->mux))
            link_write(link, now);
    }
    if (!mux_link_is_over(link->mux)) {
        link_watch(link);
        return;
    }
    link_judge(link);
    stream_link_end(link);
}

void stream_link_retire(struct stream_link *link, int64_t now)
{
    if (link->mux == NULL || link->retired)
        return;
    link->retired = true;
    mux_link_retire(link->mux, now);
}

static enum reason link_end_reason(const struct stream_link *link)
{
    return mux_link_is_over(link->mux) ? mux_link_reason(link->mux) : REASON_DRAINED;
}

static void link_log_end(const struct stream_link *link)
{
    bool is_over = mux_link_is_over(link->mux);
    const char *explanation = is_over ? mux_link_explanation(link->mux) : "";
    log_debug(link_service(link)->settings->name,
              "connection %llu to %s closed: %s%s%s, %llu bytes sent, %llu bytes received, %lld ms in all",
              (unsigned long long)link->number, link->target->settings->name,
              reason_name(link_end_reason(link)), explanation[0] != '\0' ? ": " : "", explanation,
              (unsigned long long)link->sent, (unsigned long long)link->received,
              (long long)((clock_now() - link->opened) / 1000));
}

void stream_link_end(struct stream_link *link)
{
    struct stream_pool *pool = link->pool;
    struct target *target = link->target;
    if (link->mux != NULL) {
        link_log_end(link);
        target->counters.closed[link_end_reason(link)]++;
        ev_io_stop(link_service(link)->runtime->loop, &link->watcher);
        close(link->watcher.fd);
        mux_link_close(link->mux, clock_now());
    }
    if (link->attempt != NULL)
        pool->attempts--;
    list_remove(&link->node);
    list_remove(&link->dirty);
    timeout_stop(&link->proof);
    struct target_attempt *attempt = link->attempt;
    bool was_open = link->mux != NULL;
    bool was_extra = target->is_retired;
    free(link);
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
static void link_abandon(struct stream_link *link, int descriptor)
{
    struct target *target = link->target;
    close(descriptor);
    stream_link_end(link);
    target_fail(target, REASON_INTERNAL, "memory is short");
    target_release(target);
}

static void link_open(struct stream_link *link, int descriptor)
{
    struct stream_pool *pool = link->pool;
    link->opened = clock_now();
    link->mux = mux_link_open(pool->service->mux, link, link->opened);
    if (link->mux == NULL) {
        link_abandon(link, descriptor);
        return;
    }
    link->address = link->target->good_address;
    link->number = ++pool->next_number;
    link->looked = pool->service->turn; /* it may have spoken already */
    ev_io_init(&link->watcher, link_ready, descriptor, 0);
    link->watcher.data = link;
    timer_start(&pool->proof_timer, &link->proof, link->opened);
    stream_note_link(link, 0);
    log_debug(pool->service->settings->name, "connection %llu to %s opened", (unsigned long long)link->number,
              link->target->settings->name);
}

static void link_attempted(void *data, struct target *target, int descriptor)
{
    (void)target;
    struct stream_link *link = data;
    struct stream_pool *pool = link->pool;
    link->attempt = NULL;
    pool->attempts--;
    if (descriptor != -1)
        link_open(link, descriptor);
    else
        stream_link_end(link);
    stream_pool_attempted(pool);
}

bool stream_link_connect(struct stream_pool *pool, struct target *target)
{
    struct stream_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return false;
    link->pool = pool;
    link->target = target;
    link->attempt = target_connect(target, link_attempted, link);
    if (link->attempt == NULL) {
        free(link);
        return false;
    }
    list_append(&pool->links, &link->node);
    pool->attempts++;
    return true;
}
