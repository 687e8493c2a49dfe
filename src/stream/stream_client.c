/* A client's socket. */
#include "base/log.h"
#include "net/socket.h"
#include "stream/stream_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct stream_client *stream_client_of(struct turn_entry *entry)
{
    return list_entry(entry, struct stream_client, entry);
}

static void stream_client_enter(struct stream_client *client, enum turn_pass pass)
{
    turn_enter(&client->hub->runtime->turn, pass, &client->entry);
}

static void stream_client_watch(struct stream_client *client, int wanted)
{
    struct ev_loop *loop = client->hub->runtime->loop;
    int watched = ev_is_active(&client->watcher) ? client->watcher.events & (EV_READ | EV_WRITE) : 0;
    if (wanted == watched)
        return;
    ev_io_stop(loop, &client->watcher);
    ev_io_set(&client->watcher, client->watcher.fd, wanted);
    if (wanted == 0) {
        hangup_watch(&client->hub->hangups, &client->hangup, client->watcher.fd, stream_now(client->hub));
    } else {
        hangup_forget(&client->hub->hangups, &client->hangup);
        ev_io_start(loop, &client->watcher);
    }
}

/* Reads once; returns what recv() does, and counts. */
static ssize_t stream_client_receive(struct stream_client *client)
{
    ssize_t length = recv(client->watcher.fd, client->hub->runtime->read_buffer, RUNTIME_READ_SIZE, 0);
    if (length > 0) {
        client->received += (uint64_t)length;
        client->service->owner.counters->bytes_from_clients += (uint64_t)length;
    }
    return length;
}

/* Reads once, if the multiplexer takes bytes: what was read from others may have changed that. */
static void stream_client_read_request(struct stream_client *client)
{
    if (!mux_client_wants_bytes(client->mux))
        return;
    int64_t now = stream_now(client->hub);
    ssize_t length = stream_client_receive(client);
    if (length > 0)
        mux_client_bytes(client->mux, client->hub->runtime->read_buffer, (size_t)length, now);
    else if (length == 0)
        mux_client_end(client->mux, now);
    else if (!socket_would_wait(errno))
        mux_client_fail(client->mux, REASON_CLIENT_RESET, now);
}

/* A client that lingers: what it sends is thrown away. */
static void stream_client_discard(struct stream_client *client, int reported)
{
    if (reported & EV_ERROR) {
        stream_client_end(client, client->reason, true);
    } else if (reported & EV_READ) {
        ssize_t length = stream_client_receive(client);
        if (length == 0 || (length == -1 && !socket_would_wait(errno)))
            stream_client_end(client, client->reason, false);
    }
}

static void stream_client_read(struct turn_entry *entry)
{
    struct stream_client *client = stream_client_of(entry);
    int reported = client->reported;
    client->reported = 0;
    if (client->mux == NULL) {
        stream_client_discard(client, reported);
        return;
    }
    if (reported & EV_WRITE)
        client->is_blocked = false;
    if (reported & EV_ERROR) /* the kernel can't watch it */
        mux_client_fail(client->mux, REASON_INTERNAL, stream_now(client->hub));
    else if (reported & EV_CUSTOM)
        mux_client_fail(client->mux, REASON_CLIENT_RESET, stream_now(client->hub));
    else if (reported & EV_READ)
        stream_client_read_request(client);
    stream_client_enter(client, TURN_WRITE_CLIENTS);
    stream_touch(client->hub);
}

static void stream_client_report(struct stream_client *client, int events)
{
    client->reported |= events;
    stream_client_enter(client, TURN_READ_CLIENTS);
}

static void stream_client_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    stream_client_report(watcher->data, events);
}

void stream_client_hung_up(void *, struct hangup *hangup)
{
    stream_client_report(list_entry(hangup, struct stream_client, hangup), EV_CUSTOM);
}

/* Offers its socket what there is for it. */
static void stream_client_write(struct stream_client *client)
{
    struct slice output = mux_client_output(client->mux);
    if (output.length == 0 || client->is_blocked)
        return;
    int64_t now = stream_now(client->hub);
    ssize_t written = send(client->watcher.fd, output.bytes, output.length, MSG_NOSIGNAL);
    client->is_blocked = written < (ssize_t)output.length;
    if (written > 0) {
        client->sent += (uint64_t)written;
        client->service->owner.counters->bytes_to_clients += (uint64_t)written;
        mux_client_written(client->mux, (size_t)written, now);
    } else if (written == -1 && !socket_would_wait(errno)) {
        mux_client_fail(client->mux, REASON_CLIENT_RESET, now);
    } else {
        return;
    }
    stream_touch(client->hub);
}

/* All was written. A client that has not ended its stream may still be sending, and a socket that is closed
 * with unread bytes is reset, which takes back what was not delivered yet. A draining listener waits for its
 * clients anyway. */
static void stream_client_finish(struct stream_client *client)
{
    struct stream_service *service = client->service;
    enum reason reason = mux_client_reason(client->mux);
    if (mux_client_has_ended(client->mux)) {
        stream_client_end(client, reason, false);
        return;
    }
    client->reason = reason;
    mux_client_close(client->mux, stream_now(service->hub));
    client->mux = NULL;
    stream_touch(service->hub);
    shutdown(client->watcher.fd, SHUT_WR);
    stream_client_watch(client, EV_READ);
    if (!service->draining)
        timer_start(&service->hub->linger_timer, &client->timeout, stream_now(service->hub));
}

/* Writes what there is for it, and does what the multiplexer wants done with it. */
static void stream_client_progress(struct turn_entry *entry)
{
    struct stream_client *client = stream_client_of(entry);
    stream_client_write(client);
    switch (mux_client_closing(client->mux)) {
    case MUX_STAYS:
        stream_client_watch(client, (mux_client_wants_bytes(client->mux) ? EV_READ : 0) |
                                        (mux_client_output(client->mux).length > 0 ? EV_WRITE : 0));
        break;
    case MUX_CLOSE:
        stream_client_finish(client);
        break;
    case MUX_RESET:
        stream_client_end(client, mux_client_reason(client->mux), true);
        break;
    }
}

void stream_client_lingered(struct timer *timer, struct timeout *timeout)
{
    (void)timer;
    struct stream_client *client = list_entry(timeout, struct stream_client, timeout);
    stream_client_end(client, client->reason, false);
}

void stream_client_drain(struct stream_client *client)
{
    if (client->mux == NULL)
        return;
    stream_client_read_request(client);
    mux_client_drain(client->mux, stream_now(client->hub));
    stream_touch(client->hub);
}

static void stream_client_log_end(const struct stream_client *client, enum reason reason)
{
    char address[ADDRESS_TEXT_SIZE];
    if (!log_enabled(LOG_KIND_DEBUG))
        return;
    log_debug(client->service->settings->name,
              "client %llu from %s ended: %s, %llu bytes from client, %llu bytes to client, %llu requests, "
              "%lld ms in all",
              (unsigned long long)client->number, address_print_client(&client->address, address),
              reason_name(reason), (unsigned long long)client->received, (unsigned long long)client->sent,
              (unsigned long long)client->requests,
              (long long)((stream_now(client->hub) - client->accepted) / 1000));
}

void stream_client_end(struct stream_client *client, enum reason reason, bool reset)
{
    struct stream_service *service = client->service;
    if (client->mux != NULL) /* first, because exchanges end in there */
        mux_client_close(client->mux, stream_now(service->hub));
    client->mux = NULL;
    stream_client_log_end(client, reason);
    if (client->events != NULL)
        events_client_close(client->events, reason, client->received, client->sent);
    list_remove(&client->node);
    timeout_stop(&client->timeout);
    hangup_forget(&service->hub->hangups, &client->hangup);
    ev_io_stop(service->hub->runtime->loop, &client->watcher);
    if (reset)
        socket_close_reset(client->watcher.fd);
    else
        close(client->watcher.fd);
    stream_client_enter(client, TURN_FREE);
    stream_touch(service->hub);
    const struct service_summary summary = {
        .reason = reason,
        .bytes_from_client = client->received,
        .bytes_to_client = client->sent,
    };
    service->client_count--;
    service->owner.ended(service->owner.owner, &client->address, &summary);
}

void stream_client_cut_off(struct stream_client *client, enum reason reason)
{
    bool reset = false;
    if (client->mux != NULL) {
        mux_client_fail(client->mux, reason, stream_now(client->hub));
        reset = mux_client_closing(client->mux) == MUX_RESET || mux_client_output(client->mux).length > 0;
    }
    stream_client_end(client, reason, reset);
}

static void stream_client_free(struct turn_entry *entry)
{
    free(stream_client_of(entry));
}

bool stream_client_accept(struct stream_service *service, int descriptor, const struct address *address,
                          struct events_client *events)
{
    static const struct turn_actions actions = {
        .act = { [TURN_READ_CLIENTS] = stream_client_read,
                 [TURN_WRITE_CLIENTS] = stream_client_progress,
                 [TURN_FREE] = stream_client_free },
    };
    struct stream_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return false;
    client->entry.actions = &actions;
    client->service = service;
    client->hub = service->hub;
    client->address = *address;
    client->events = events;
    client->number = events != NULL ? events_client_number(events) : ++service->hub->runtime->clients;
    client->accepted = stream_now(service->hub);
    client->mux = mux_client_open(service->hub->mux, client, client->number, client->accepted);
    if (client->mux == NULL || !mux_client_share(client->mux, address_host(address), client->accepted)) {
        if (client->mux != NULL)
            mux_client_close(client->mux, client->accepted);
        free(client);
        return false;
    }
    mux_client_set_origin(client->mux, health_client(address));
    mux_client_set_door(client->mux, &service->door);
    ev_io_init(&client->watcher, stream_client_ready, descriptor, 0);
    client->watcher.data = client;
    list_append(&service->clients, &client->node);
    service->client_count++;
    stream_client_watch(client, EV_READ);
    if (service->leaving)
        mux_client_leave(client->mux, client->accepted);
    if (service->draining)
        stream_client_drain(client);
    stream_touch(service->hub);
    return true;
}
