#include "listener/listener_proxy_header.h"

#include "net/proxy_header.h"
#include "net/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* A proxy sends its header with the first bytes; the rest of this time is for lost packets. */
#define HEADER_TIMEOUT 5000

/* One connection whose header is not complete. Owned by the waits; freed in header_wait_end(). */
struct header_wait {
    struct list_node node;
    struct header_waits *waits;
    struct proxy_header header;
    struct address sender;
    struct timeout timeout;
    ev_io watcher;
};

/* Every wait ends here. */
static void header_wait_end(struct header_wait *wait, enum reason reason)
{
    struct header_waits *waits = wait->waits;
    struct address sender = wait->sender;
    bool is_named = reason == REASON_NONE && wait->header.has_addresses;
    struct address client = is_named ? wait->header.source : sender;
    struct address destination = wait->header.destination;
    int descriptor = wait->watcher.fd;
    ev_io_stop(waits->runtime->loop, &wait->watcher);
    timeout_stop(&wait->timeout);
    list_remove(&wait->node);
    waits->count--;
    free(wait);
    waits->ended(waits->owner, descriptor, &sender, &client, is_named ? &destination : NULL, reason);
}

/* Takes bytes that were only looked at so far out of the socket, where they still are. */
static bool header_wait_take(const struct header_wait *wait, size_t count)
{
    char *buffer = wait->waits->runtime->read_buffer;
    return recv(wait->watcher.fd, buffer, count, 0) == (ssize_t)count;
}

/* Reads what has come of the header, and not a byte more. */
static void header_wait_progress(struct header_wait *wait)
{
    char *buffer = wait->waits->runtime->read_buffer;
    size_t used;
    ssize_t length = recv(wait->watcher.fd, buffer, RUNTIME_READ_SIZE, MSG_PEEK);
    if (length == -1 && socket_would_wait(errno))
        return;
    if (length <= 0) {
        /* A connection that ends without a byte is a health check of a load balancer. */
        bool is_empty = wait->header.total == 0;
        enum reason left = length == 0 ? REASON_CLIENT_CLOSED : REASON_CLIENT_RESET;
        header_wait_end(wait, is_empty ? left : REASON_PROTOCOL_ERROR);
        return;
    }
    enum proxy_header_result result = proxy_header_read(&wait->header, buffer, (size_t)length, &used);
    if (result == PROXY_HEADER_BROKEN)
        header_wait_end(wait, REASON_PROTOCOL_ERROR);
    else if (!header_wait_take(wait, used))
        header_wait_end(wait, REASON_INTERNAL);
    else if (result == PROXY_HEADER_DONE)
        header_wait_end(wait, REASON_NONE);
}

static void header_wait_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    if (events & EV_ERROR) /* the kernel can't watch it */
        header_wait_end(watcher->data, REASON_INTERNAL);
    else
        header_wait_progress(watcher->data);
}

static void header_wait_timed_out(struct timer *timer, struct timeout *timeout)
{
    (void)timer;
    header_wait_end(list_entry(timeout, struct header_wait, timeout), REASON_PROTOCOL_ERROR);
}

void header_waits_init(struct header_waits *waits, struct runtime *runtime, header_ended *ended, void *owner)
{
    *waits = (struct header_waits){ .runtime = runtime, .ended = ended, .owner = owner };
    list_init(&waits->waiting);
    timer_init(&waits->timer, runtime->loop, HEADER_TIMEOUT, header_wait_timed_out, waits);
}

void header_waits_add(struct header_waits *waits, int descriptor, const struct address *sender)
{
    struct header_wait *wait = calloc(1, sizeof *wait);
    if (wait == NULL) {
        waits->ended(waits->owner, descriptor, sender, sender, NULL, REASON_INTERNAL);
        return;
    }
    wait->waits = waits;
    wait->sender = *sender;
    ev_io_init(&wait->watcher, header_wait_ready, descriptor, EV_READ);
    wait->watcher.data = wait;
    list_append(&waits->waiting, &wait->node);
    waits->count++;
    ev_io_start(waits->runtime->loop, &wait->watcher);
    timer_start(&waits->timer, &wait->timeout, waits->runtime->turn.now);
    header_wait_progress(wait); /* mostly it is there already */
}

void header_waits_close(struct header_waits *waits, enum reason reason)
{
    struct list_node *node;
    while ((node = list_first(&waits->waiting)) != NULL)
        header_wait_end(list_entry(node, struct header_wait, node), reason);
    timer_stop(&waits->timer);
}
