#include "target/attempt.h"

#include "base/clock.h"
#include "net/socket.h"
#include "target/health.h"
#include "target/place.h"
#include "target/refresh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How soon a unix socket whose backlog is full is tried again: nothing tells when it has room. */
#define UNIX_RETRY_SECONDS 0.01

/* Where Linux takes the local ports of connections from, by default: there a connection to a closed port of
 * this machine can meet itself. */
#define EPHEMERAL_PORT_MIN 32768

/* Owned by its target until its result is delivered or it is cancelled. */
struct target_attempt {
    struct target *target;
    target_result *result;
    void *data;
    struct list_node node; /* while it waits for the name */
    struct address *addresses;
    size_t count;
    size_t next; /* of the addresses */
    int descriptor;
    int64_t begun; /* microseconds */
    ev_io watcher;
    ev_timer unix_retry;
    struct timeout timeout;
    enum reason failure;
    char failure_text[160];
};

static void attempt_next_address(struct target_attempt *attempt);

struct target_attempt *target_attempt_waiting(struct list_node *node)
{
    return list_entry(node, struct target_attempt, node);
}

static struct ev_loop *attempt_loop(const struct target_attempt *attempt)
{
    return attempt->target->set->runtime->loop;
}

static void attempt_stop(struct target_attempt *attempt)
{
    list_remove(&attempt->node);
    timeout_stop(&attempt->timeout);
    ev_io_stop(attempt_loop(attempt), &attempt->watcher); /* a result that was fed in is forgotten with it */
    ev_timer_stop(attempt_loop(attempt), &attempt->unix_retry);
}

static void attempt_close(struct target_attempt *attempt)
{
    attempt_stop(attempt);
    if (attempt->descriptor != -1)
        close(attempt->descriptor);
    attempt->descriptor = -1;
}

static void attempt_free(struct target_attempt *attempt)
{
    free(attempt->addresses);
    free(attempt);
}

/* Results are delivered from the loop, never from inside target_connect(). */
static void attempt_deliver_soon(struct target_attempt *attempt)
{
    ev_feed_event(attempt_loop(attempt), &attempt->watcher, EV_CUSTOM);
}

static void attempt_fail(struct target_attempt *attempt)
{
    struct target *target = attempt->target;
    target->connections--;
    target->counters.connect_failures[attempt->failure]++;
    target_health_failed(target, attempt, attempt->failure, attempt->failure_text);
    attempt->result(attempt->data, target, -1);
    attempt_free(attempt);
    place_freed(target);
}

static void attempt_succeed(struct target_attempt *attempt)
{
    struct target *target = attempt->target;
    const struct keep_alive_settings *keep_alive = &target->settings->keep_alive;
    if (keep_alive->enabled)
        socket_keep_alive(attempt->descriptor, (int)((keep_alive->idle + 999) / 1000),
                          (int)((keep_alive->interval + 999) / 1000), (int)keep_alive->count);
    target->counters.opened++;
    histogram_record(&target->counters.connect, clock_now() - attempt->begun);
    if (attempt->count > 0)
        target->good_address = attempt->addresses[attempt->next - 1];
    bool came_up = target_health_connected(target, attempt);
    target_refresh_start(target);
    attempt->result(attempt->data, target, attempt->descriptor);
    attempt_free(attempt);
    if (came_up)
        target_set_notify(target->set);
}

/* Notes why the address that was tried last did not do. */
static void attempt_note_failure(struct target_attempt *attempt, enum reason reason, const char *text)
{
    char address[ADDRESS_TEXT_SIZE];
    attempt->failure = reason;
    if (attempt->target->name != NULL && attempt->next > 0)
        snprintf(attempt->failure_text, sizeof attempt->failure_text, "%s: %s",
                 address_print(&attempt->addresses[attempt->next - 1], address), text);
    else
        snprintf(attempt->failure_text, sizeof attempt->failure_text, "%s", text);
}

/* A connection to a port of this machine that nobody listens on can, by chance, be given that very port as
 * its own and so connect to itself. */
static bool is_connected_to_itself(const struct target_attempt *attempt)
{
    if (attempt->count == 0 || address_port(&attempt->addresses[attempt->next - 1]) < EPHEMERAL_PORT_MIN)
        return false;
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    struct address address;
    if (getsockname(attempt->descriptor, (struct sockaddr *)&own, &length) == -1)
        return false;
    address_from_socket((const struct sockaddr *)&own, &address);
    return address_compare(&address, &attempt->addresses[attempt->next - 1]) == 0;
}

static void attempt_event(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    struct target_attempt *attempt = watcher->data;
    if (!(events & EV_CUSTOM)) {
        int error = events & EV_ERROR ? ENOMEM : socket_error(attempt->descriptor);
        if (error == 0 && is_connected_to_itself(attempt))
            error = ECONNREFUSED;
        if (error != 0) {
            attempt_note_failure(attempt, REASON_TARGET_REFUSED, strerror(error));
            attempt_close(attempt);
            attempt_next_address(attempt);
            return;
        }
    }
    attempt_stop(attempt);
    if (attempt->descriptor == -1)
        attempt_fail(attempt);
    else
        attempt_succeed(attempt);
}

void target_attempt_timed_out(struct timer *timer, struct timeout *timeout)
{
    struct target_attempt *attempt = list_entry(timeout, struct target_attempt, timeout);
    char text[64];
    snprintf(text, sizeof text, "no connection within %lld ms", (long long)(timer->list.duration / 1000));
    attempt_note_failure(attempt, REASON_CONNECT_TIMEOUT, text);
    attempt_close(attempt);
    attempt_next_address(attempt);
}

/* Waits for the outcome of the connect() that was just started. */
static void attempt_wait(struct target_attempt *attempt, int connect_errno)
{
    if (connect_errno == 0) {
        attempt_deliver_soon(attempt);
        return;
    }
    ev_io_set(&attempt->watcher, attempt->descriptor, EV_WRITE);
    ev_io_start(attempt_loop(attempt), &attempt->watcher);
    timer_start(&attempt->target->set->connect_timer, &attempt->timeout, clock_now());
}

static void attempt_connect_unix(struct target_attempt *attempt)
{
    attempt->descriptor = socket_connect_unix(attempt->target->settings->endpoint.host);
    if (attempt->descriptor != -1) {
        attempt_wait(attempt, errno);
    } else if (errno == EAGAIN) {
        if (!list_linked(&attempt->timeout.node))
            timer_start(&attempt->target->set->connect_timer, &attempt->timeout, clock_now());
        ev_timer_set(&attempt->unix_retry, UNIX_RETRY_SECONDS, 0.0);
        ev_timer_start(attempt_loop(attempt), &attempt->unix_retry);
    } else {
        attempt_note_failure(attempt, REASON_TARGET_REFUSED, strerror(errno));
        timeout_stop(&attempt->timeout);
        attempt_deliver_soon(attempt);
    }
}

static void attempt_retry_unix(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    attempt_connect_unix(watcher->data);
}

static void attempt_next_address(struct target_attempt *attempt)
{
    while (attempt->next < attempt->count) {
        attempt->descriptor = socket_connect(&attempt->addresses[attempt->next++]);
        if (attempt->descriptor != -1) {
            attempt_wait(attempt, errno);
            return;
        }
        attempt_note_failure(attempt, REASON_TARGET_REFUSED, strerror(errno));
    }
    attempt_deliver_soon(attempt);
}

/* Copies the addresses to try, the one that worked last first. */
static bool attempt_take_addresses(struct target_attempt *attempt, const struct address *addresses,
                                   size_t count)
{
    const struct target *target = attempt->target;
    attempt->addresses = calloc(count, sizeof *attempt->addresses);
    if (attempt->addresses == NULL)
        return false;
    size_t start = 0;
    for (size_t i = 0; i < count; i++)
        if (address_compare_host(&addresses[i], &target->good_address) == 0)
            start = i;
    for (size_t i = 0; i < count; i++) {
        attempt->addresses[i] = addresses[(start + i) % count];
        address_set_port(&attempt->addresses[i], target->settings->endpoint.port);
    }
    attempt->count = count;
    return true;
}

void target_attempt_resolved(struct target_attempt *attempt)
{
    const struct endpoint *endpoint = &attempt->target->settings->endpoint;
    const struct address *addresses = &endpoint->address;
    size_t count = 1;
    if (attempt->target->name != NULL)
        addresses = resolver_addresses(attempt->target->name, &count);
    if (count == 0) {
        attempt->failure = REASON_TARGET_REFUSED;
        snprintf(attempt->failure_text, sizeof attempt->failure_text, "%.60s can't be looked up: %s",
                 endpoint->host, resolver_failure(attempt->target->name));
        attempt_deliver_soon(attempt);
    } else if (!attempt_take_addresses(attempt, addresses, count)) {
        attempt_note_failure(attempt, REASON_INTERNAL, strerror(errno));
        attempt_deliver_soon(attempt);
    } else {
        attempt_next_address(attempt);
    }
}

struct target_attempt *target_connect(struct target *target, target_result *result, void *data)
{
    struct target_attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL)
        return NULL;
    attempt->target = target;
    attempt->result = result;
    attempt->data = data;
    attempt->descriptor = -1;
    attempt->begun = clock_now();
    ev_init(&attempt->watcher, attempt_event);
    attempt->watcher.data = attempt;
    ev_init(&attempt->unix_retry, attempt_retry_unix);
    attempt->unix_retry.data = attempt;
    target->connections++;
    target_health_started(target, attempt);
    if (target->settings->endpoint.kind == ENDPOINT_UNIX)
        attempt_connect_unix(attempt);
    else if (target->name != NULL && !resolver_lookup(target->name))
        list_append(&target->waiting, &attempt->node);
    else
        target_attempt_resolved(attempt);
    return attempt;
}

void target_cancel(struct target_attempt *attempt)
{
    struct target *target = attempt->target;
    attempt_close(attempt);
    target_health_cancelled(target, attempt);
    attempt_free(attempt);
    target_release(target);
}
