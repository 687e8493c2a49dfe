/* A client's socket. */
#include "base/clock.h"
#include "base/log.h"
#include "net/socket.h"
#include "stream/stream_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void client_watch(struct stream_client *client, int wanted, int64_t now)
{
    struct ev_loop *loop = client->service->runtime->loop;
    int watched = ev_is_active(&client->watcher) ? client->watcher.events & (EV_READ | EV_WRITE) : 0;
    if (wanted == watched)
        return;
    ev_io_stop(loop, &client->watcher);
    ev_io_set(&client->watcher, client->watcher.fd, wanted);
    if (wanted == 0) {
        hangup_watch(&client->service->hangups, &client->hangup, client->watcher.fd, now);
    } else {
        hangup_forget(&client->service->hangups, &client->hangup);
        ev_io_start(loop, &client->watcher);
    }
}

/* Reads once. Only while it may be read. */
static void client_receive(struct stream_client *client)
{
    char *buffer = client->service->runtime->read_buffer;
    ssize_t length = recv(client->watcher.fd, buffer, RUNTIME_READ_SIZE, 0);
    if (length == -1 && socket_would_wait(errno))
        return;
    int64_t now = clock_now();
    if (length > 0) {
        client->received += (uint64_t)length;
        client->service->owner.counters->bytes_from_clients += (uint64_t)length;
        mux_client_bytes(client->mux, buffer, (size_t)length, now);
    } else if (length == 0) {
        mux_client_end(client->mux, now);
    } else {
        mux_client_fail(client->mux, REASON_CLIENT_RESET, now);
    }
}

/* Throws away what a client sends after the end of our stream. */
static void client_discard(struct stream_client *client)
{
    ssize_t length = recv(client->watcher.fd, client->service->runtime->read_buffer, RUNTIME_READ_SIZE, 0);
    if (length > 0) {
        client->received += (uint64_t)length;
        client->service->owner.counters->bytes_from_clients += (uint64_t)length;
    } else if (length == 0 || !socket_would_wait(errno))
        stream_client_end(client, client->reason, false);
}

void stream_client_read(struct stream_client *client)
{
    int events = client->events;
    client->events = 0;
    if (events & EV_ERROR) { /* the kernel can't watch it */
        if (client->mux != NULL)
            mux_client_fail(client->mux, REASON_INTERNAL, clock_now());
        else
            stream_client_end(client, client->reason, true);
        return;
    }
    if (events & EV_WRITE)
        client->blocked = false;
    if ((events & EV_CUSTOM) && client->mux != NULL)
        mux_client_fail(client->mux, REASON_CLIENT_RESET, clock_now());
    if (!(events & EV_READ))
        return;
    if (client->mux == NULL)
        client_discard(client);
    else if (mux_client_wants_bytes(client->mux)) /* what was read of others may have changed that */
        client_receive(client);
}

static void client_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    stream_note_client(watcher->data, events);
}

/* Offers its socket what there is for it. */
static void client_write(struct stream_client *client, int64_t now)
{
    struct slice output = mux_client_output(client->mux);
    if (output.length == 0 || client->blocked)
        return;
    ssize_t written = send(client->watcher.fd, output.bytes, output.length, MSG_NOSIGNAL);
    if (written == -1 && !socket_would_wait(errno)) {
        mux_client_fail(client->mux, REASON_CLIENT_RESET, now);
        return;
    }
    client->blocked = written < (ssize_t)output.length;
    if (written > 0) {
        client->sent += (uint64_t)written;
        client->service->owner.counters->bytes_to_clients += (uint64_t)written;
        mux_client_written(client->mux, (size_t)written, now);
    }
}

/* All was written to it. Whoever has not ended its stream yet may still be sending, and a socket that is
 * closed with bytes unread takes back, by a reset, what was not yet delivered. A draining listener waits for
 * its clients anyway. */
static void client_finish(struct stream_client *client, int64_t now)
{
    enum reason reason = mux_client_reason(client->mux);
    if (mux_client_has_ended(client->mux)) {
        stream_client_end(client, reason, false);
        return;
    }
    client->reason = reason;
    mux_client_close(client->mux, now);
    client->mux = NULL;
    shutdown(client->watcher.fd, SHUT_WR);
    client_watch(client, EV_READ, now);
    if (!client->service->draining)
        timer_start(&client->service->linger_timer, &client->timeout, now);
}

void stream_client_progress(struct stream_client *client, int64_t now)
{
    if (client->mux == NULL)
        return;
    client_write(client, now);
    switch (mux_client_fate(client->mux)) {
    case MUX_GOES_ON:
        client_watch(client,
                     (mux_client_wants_bytes(client->mux) ? EV_READ : 0) |
                         (mux_client_output(client->mux).length > 0 ? EV_WRITE : 0),
                     now);
        break;
    case MUX_CLOSE:
        client_finish(client, now);
        break;
    case MUX_RESET:
        stream_client_end(client, mux_client_reason(client->mux), true);
        break;
    }
}

void stream_client_hung_up(void *service, struct hangup *hangup)
{
    (void)service;
    stream_note_client(list_entry(hangup, struct stream_client, hangup), EV_CUSTOM);
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
    if (mux_client_wants_bytes(client->mux))
        client_receive(client);
    mux_client_drain(client->mux, clock_now());
}

static void client_log_end(const struct stream_client *client, enum reason reason)
{
    char address[ADDRESS_TEXT_SIZE];
    log_debug(client->service->settings->name,
              "client %llu from %s ended: %s, %llu bytes from client, %llu bytes to client, %llu requests, "
              "%lld ms in all",
              (unsigned long long)client->number, address_print_client(&client->address, address),
              reason_name(reason), (unsigned long long)client->received, (unsigned long long)client->sent,
              (unsigned long long)client->requests, (long long)((clock_now() - client->accepted) / 1000));
}

void stream_client_end(struct stream_client *client, enum reason reason, bool reset)
{
    struct stream_service *service = client->service;
    if (client->mux != NULL) /* first, because exchanges end in there */
        mux_client_close(client->mux, clock_now());
    client_log_end(client, reason);
    if (client->told != NULL)
        events_client_close(client->told, reason, client->received, client->sent);
    list_remove(&client->node);
    list_remove(&client->dirty);
    timeout_stop(&client->timeout);
    hangup_forget(&service->hangups, &client->hangup);
    ev_io_stop(service->runtime->loop, &client->watcher);
    if (reset)
        socket_close_reset(client->watcher.fd);
    else
        close(client->watcher.fd);
    struct service_summary summary = {
        .reason = reason,
        .bytes_from_client = client->received,
        .bytes_to_client = client->sent,
    };
    struct address address = client->address;
    free(client);
    service->client_count--;
    service->owner.ended(service->owner.owner, &address, &summary);
}

bool stream_client_accept(struct stream_service *service, int descriptor, const struct address *address,
                          struct events_client *events)
{
    struct stream_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return false;
    client->service = service;
    client->address = *address;
    client->told = events;
    client->number = events != NULL ? events_client_number(events) : ++service->runtime->clients;
    client->accepted = clock_now();
    client->mux = mux_client_open(service->mux, client, client->number, client->accepted);
    if (client->mux == NULL) {
        free(client);
        return false;
    }
    ev_io_init(&client->watcher, client_ready, descriptor, 0);
    client->watcher.data = client;
    list_append(&service->clients, &client->node);
    service->client_count++;
    client_watch(client, EV_READ, client->accepted);
    if (service->leaving)
        mux_client_leave(client->mux, client->accepted);
    if (service->draining)
        stream_client_drain(client);
    return true;
}
