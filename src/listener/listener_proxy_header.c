/* Connections of trusted proxies, which have to begin with a PROXY header: the header names the client. */
#include "listener/listener_parts.h"

#include "net/proxy_header.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* A proxy sends its header with the first bytes; the rest of this time is for lost packets. */
#define HEADER_TIMEOUT 5000

/* One connection whose header is not complete. Owned by the listener, in the list of its timer; freed in
 * header_wait_end(). */
struct header_wait {
    struct timeout timeout;
    struct listener *listener;
    struct proxy_header header;
    struct address sender;
    ev_io watcher;
};

/* Every wait ends here. */
static void header_wait_end(struct header_wait *wait, enum reason reason)
{
    struct listener *listener = wait->listener;
    int descriptor = wait->watcher.fd;
    ev_io_stop(listener->runtime->loop, &wait->watcher);
    timeout_stop(&wait->timeout);
    listener->header_waits--;
    if (reason == REASON_NONE && wait->header.has_addresses) {
        admission_admit(listener, descriptor, &wait->sender, &wait->header.source, &wait->header.destination);
    } else if (reason == REASON_NONE) {
        admission_admit(listener, descriptor, &wait->sender, &wait->sender, NULL);
    } else if (reason == REASON_CLIENT_CLOSED || reason == REASON_CLIENT_RESET) {
        /* A health check: load balancers connect every few seconds and send nothing. */
        close(descriptor);
        descriptors_return(&listener->runtime->descriptors, listener_descriptors_each(listener));
    } else {
        admission_refuse(listener, descriptor, &wait->sender, reason);
    }
    free(wait);
    listener_check_emptied(listener);
}

/* Reads what has come of the header, and not a byte more. */
static void header_wait_progress(struct header_wait *wait)
{
    char *buffer = wait->listener->runtime->read_buffer;
    int descriptor = wait->watcher.fd;
    size_t used;
    ssize_t length = recv(descriptor, buffer, RUNTIME_READ_SIZE, MSG_PEEK);
    if (length == -1 && socket_would_wait(errno))
        return;
    if (length <= 0) {
        enum reason left = length == 0 ? REASON_CLIENT_CLOSED : REASON_CLIENT_RESET;
        header_wait_end(wait, wait->header.total == 0 ? left : REASON_PROTOCOL_ERROR);
        return;
    }
    enum proxy_header_result result = proxy_header_read(&wait->header, buffer, (size_t)length, &used);
    if (result == PROXY_HEADER_BROKEN)
        header_wait_end(wait, REASON_PROTOCOL_ERROR);
    else if (recv(descriptor, buffer, used, 0) != (ssize_t)used) /* out of the socket, where it still is */
        header_wait_end(wait, REASON_INTERNAL);
    else if (result == PROXY_HEADER_DONE)
        header_wait_end(wait, REASON_NONE);
}

static void header_wait_ready(struct ev_loop *, ev_io *watcher, int events)
{
    if (events & EV_ERROR) /* the kernel can't watch it */
        header_wait_end(watcher->data, REASON_INTERNAL);
    else
        header_wait_progress(watcher->data);
}

static void header_wait_timed_out(struct timer *, struct timeout *timeout)
{
    header_wait_end(list_entry(timeout, struct header_wait, timeout), REASON_PROTOCOL_ERROR);
}

void header_waits_init(struct listener *listener)
{
    timer_init(&listener->header_timer, listener->runtime->loop, HEADER_TIMEOUT, header_wait_timed_out, NULL);
}

void header_waits_add(struct listener *listener, int descriptor, const struct address *sender)
{
    struct header_wait *wait = calloc(1, sizeof *wait);
    if (wait == NULL) {
        admission_refuse(listener, descriptor, sender, REASON_INTERNAL);
        return;
    }
    wait->listener = listener;
    wait->sender = *sender;
    ev_io_init(&wait->watcher, header_wait_ready, descriptor, EV_READ);
    wait->watcher.data = wait;
    listener->header_waits++;
    ev_io_start(listener->runtime->loop, &wait->watcher);
    timer_start(&listener->header_timer, &wait->timeout, listener->runtime->turn.now);
    header_wait_progress(wait); /* mostly it is there already */
}

void header_waits_close(struct listener *listener, enum reason reason)
{
    struct list_node *node;
    while ((node = list_first(&listener->header_timer.list.entries)) != NULL)
        header_wait_end(list_entry(node, struct header_wait, timeout.node), reason);
    timer_stop(&listener->header_timer);
}
