#include "listener/greeting.h"

#include "net/proxy_header.h"
#include "net/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* A proxy sends its header with the first bytes; the rest of this time is for lost packets. */
#define GREETING_TIMEOUT 5000

/* One connection that has not said whom it brings. Owned by the greetings; freed in greeting_end(). */
struct greeting {
    struct list_node node;
    struct greetings *greetings;
    struct proxy_header header;
    struct address sender;
    struct timeout timeout;
    ev_io watcher;
};

/* The one place where greetings end. */
static void greeting_end(struct greeting *greeting, enum reason reason)
{
    struct greetings *greetings = greeting->greetings;
    struct address sender = greeting->sender;
    bool is_named = reason == REASON_NONE && greeting->header.has_addresses;
    struct address client = is_named ? greeting->header.source : sender;
    struct address destination = greeting->header.destination;
    int descriptor = greeting->watcher.fd;
    ev_io_stop(greetings->runtime->loop, &greeting->watcher);
    timeout_stop(&greeting->timeout);
    list_remove(&greeting->node);
    greetings->count--;
    free(greeting);
    greetings->ended(greetings->owner, descriptor, &sender, &client, is_named ? &destination : NULL, reason);
}

/* Takes bytes that were only looked at so far out of the socket, where they still are. */
static bool greeting_take(const struct greeting *greeting, size_t count)
{
    char *buffer = greeting->greetings->runtime->read_buffer;
    return recv(greeting->watcher.fd, buffer, count, 0) == (ssize_t)count;
}

/* Reads what has come of the header, and not a byte more. */
static void greeting_progress(struct greeting *greeting)
{
    char *buffer = greeting->greetings->runtime->read_buffer;
    size_t used;
    ssize_t length = recv(greeting->watcher.fd, buffer, RUNTIME_READ_SIZE, MSG_PEEK);
    if (length == -1 && socket_would_wait(errno))
        return;
    if (length <= 0) {
        /* Who leaves without a word was looking whether we are there. */
        bool said_nothing = greeting->header.total == 0;
        enum reason left = length == 0 ? REASON_CLIENT_CLOSED : REASON_CLIENT_RESET;
        greeting_end(greeting, said_nothing ? left : REASON_PROTOCOL_ERROR);
        return;
    }
    enum proxy_header_result result = proxy_header_read(&greeting->header, buffer, (size_t)length, &used);
    if (result == PROXY_HEADER_BROKEN)
        greeting_end(greeting, REASON_PROTOCOL_ERROR);
    else if (!greeting_take(greeting, used))
        greeting_end(greeting, REASON_INTERNAL);
    else if (result == PROXY_HEADER_DONE)
        greeting_end(greeting, REASON_NONE);
}

static void greeting_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    if (events & EV_ERROR) /* the kernel can't watch it */
        greeting_end(watcher->data, REASON_INTERNAL);
    else
        greeting_progress(watcher->data);
}

static void greeting_timed_out(struct timer *timer, struct timeout *timeout)
{
    (void)timer;
    greeting_end(list_entry(timeout, struct greeting, timeout), REASON_PROTOCOL_ERROR);
}

void greetings_init(struct greetings *greetings, struct runtime *runtime, greeting_ended *ended, void *owner)
{
    *greetings = (struct greetings){ .runtime = runtime, .ended = ended, .owner = owner };
    list_init(&greetings->waiting);
    timer_init(&greetings->timer, runtime->loop, GREETING_TIMEOUT, greeting_timed_out, greetings);
}

void greetings_add(struct greetings *greetings, int descriptor, const struct address *sender)
{
    struct greeting *greeting = calloc(1, sizeof *greeting);
    if (greeting == NULL) {
        greetings->ended(greetings->owner, descriptor, sender, sender, NULL, REASON_INTERNAL);
        return;
    }
    greeting->greetings = greetings;
    greeting->sender = *sender;
    ev_io_init(&greeting->watcher, greeting_ready, descriptor, EV_READ);
    greeting->watcher.data = greeting;
    list_append(&greetings->waiting, &greeting->node);
    greetings->count++;
    ev_io_start(greetings->runtime->loop, &greeting->watcher);
    timer_start(&greetings->timer, &greeting->timeout, greetings->runtime->turn.now);
    greeting_progress(greeting); /* mostly it is there already */
}

void greetings_close(struct greetings *greetings, enum reason reason)
{
    struct list_node *node;
    while ((node = list_first(&greetings->waiting)) != NULL)
        greeting_end(list_entry(node, struct greeting, node), reason);
    timer_stop(&greetings->timer);
}
