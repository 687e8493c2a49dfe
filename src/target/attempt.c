#include "target/attempt.h"

#include "net/socket.h"
#include "target/target_name.h"

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

struct attempt {
    struct target_attempt attempt; /* says who owns it */
    struct target *target;
    struct target_name_waiter waiter;
    struct address *addresses;
    size_t count;
    size_t next; /* of the addresses */
    int descriptor;
    bool has_no_slot; /* as it turned out once the name was looked up */
    int64_t begun;    /* microseconds */
    ev_io watcher;
    ev_timer unix_retry;
    struct timeout timeout;
    enum reason failure;
    char failure_text[160];
};

static void attempt_next_address(struct attempt *attempt);

static struct ev_loop *attempt_loop(const struct attempt *attempt)
{
    return target_loop_of(attempt->target->set)->runtime->loop;
}

static void attempt_stop(struct attempt *attempt)
{
    list_remove(&attempt->waiter.node);
    timeout_stop(&attempt->timeout);
    ev_io_stop(attempt_loop(attempt), &attempt->watcher); /* a result that was fed in is forgotten with it */
    ev_timer_stop(attempt_loop(attempt), &attempt->unix_retry);
}

static void attempt_close(struct attempt *attempt)
{
    attempt_stop(attempt);
    if (attempt->descriptor != -1)
        close(attempt->descriptor);
    attempt->descriptor = -1;
}

static void attempt_free(struct attempt *attempt)
{
    free(attempt->addresses);
    free(attempt);
}

/* Results are delivered from the loop, never from inside target_connect(). */
static void attempt_deliver_soon(struct attempt *attempt)
{
    ev_feed_event(attempt_loop(attempt), &attempt->watcher, EV_CUSTOM);
}

static void attempt_fail(struct attempt *attempt)
{
    target_attempt_failed(&attempt->attempt, attempt->failure, attempt->failure_text,
                          turn_now(attempt_loop(attempt)));
    attempt_free(attempt);
}

static void attempt_yield(struct attempt *attempt)
{
    target_attempt_yielded(&attempt->attempt, turn_now(attempt_loop(attempt)));
    attempt_free(attempt);
}

static void attempt_succeed(struct attempt *attempt)
{
    struct target *target = attempt->target;
    const struct keep_alive_settings *keep_alive = &target->settings->keep_alive;
    int64_t now = turn_now(attempt_loop(attempt));
    if (keep_alive->enabled)
        socket_keep_alive(attempt->descriptor, keep_alive->idle, keep_alive->interval, keep_alive->count);
    histogram_record(&target->counters->connect, now - attempt->begun);
    if (attempt->count > 0)
        target->good_address = attempt->addresses[attempt->next - 1];
    if (target->name != NULL && target->set->hooks->keeps_connections)
        target_name_keep_fresh(target->name);
    target_attempt_succeeded(&attempt->attempt, attempt->descriptor, now);
    attempt_free(attempt);
}

/* Notes why the address that was tried last did not do. */
static void attempt_note_failure(struct attempt *attempt, enum reason reason, const char *text)
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
static bool is_connected_to_itself(const struct attempt *attempt)
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
    struct attempt *attempt = watcher->data;
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
    if (attempt->has_no_slot)
        attempt_yield(attempt);
    else if (attempt->descriptor == -1)
        attempt_fail(attempt);
    else
        attempt_succeed(attempt);
}

void attempt_timed_out(struct timer *timer, struct timeout *timeout)
{
    struct attempt *attempt = list_entry(timeout, struct attempt, timeout);
    char text[64];
    snprintf(text, sizeof text, "no connection within %lld ms", (long long)(timer->list.duration / 1000));
    attempt_note_failure(attempt, REASON_CONNECT_TIMEOUT, text);
    attempt_close(attempt);
    attempt_next_address(attempt);
}

/* Waits for the outcome of the connect() that was just started. */
static void attempt_wait(struct attempt *attempt, int connect_errno)
{
    if (connect_errno == 0) {
        attempt_deliver_soon(attempt);
        return;
    }
    ev_io_set(&attempt->watcher, attempt->descriptor, EV_WRITE);
    ev_io_start(attempt_loop(attempt), &attempt->watcher);
    timer_start(&target_loop_of(attempt->target->set)->connect_timer, &attempt->timeout,
                turn_now(attempt_loop(attempt)));
}

static void attempt_connect_unix(struct attempt *attempt)
{
    attempt->descriptor = socket_connect_unix(attempt->target->settings->endpoint.host);
    if (attempt->descriptor != -1) {
        attempt_wait(attempt, errno);
    } else if (errno == EAGAIN) {
        if (!list_linked(&attempt->timeout.node))
            timer_start(&target_loop_of(attempt->target->set)->connect_timer, &attempt->timeout,
                        turn_now(attempt_loop(attempt)));
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

static void attempt_next_address(struct attempt *attempt)
{
    while (attempt->next < attempt->count) {
        const struct address *address = &attempt->addresses[attempt->next++];
        attempt->descriptor = socket_connect(address);
        if (attempt->descriptor != -1) {
            int error = errno;
            own_sockets_connect(&target_loop_of(attempt->target->set)->runtime->own_sockets,
                                attempt->descriptor, address, attempt->target->set->settings.listener);
            attempt_wait(attempt, error);
            return;
        }
        attempt_note_failure(attempt, REASON_TARGET_REFUSED, strerror(errno));
    }
    attempt_deliver_soon(attempt);
}

/* Copies the addresses to try, the one that worked last first. */
static bool attempt_take_addresses(struct attempt *attempt, const struct address *addresses, size_t count)
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

static void attempt_resolved(struct target_name_waiter *waiter)
{
    struct attempt *attempt = list_entry(waiter, struct attempt, waiter);
    const struct target *target = attempt->target;
    const struct endpoint *endpoint = &target->settings->endpoint;
    const struct address *addresses = &endpoint->address;
    size_t count = 1;
    if (target->name != NULL)
        addresses = target_name_addresses(target->name, &count);
    if (count == 0) {
        attempt->failure = REASON_TARGET_REFUSED;
        snprintf(attempt->failure_text, sizeof attempt->failure_text, "%.60s can't be looked up: %s",
                 endpoint->host, target_name_failure(target->name));
        attempt_deliver_soon(attempt);
    } else if (target->name != NULL && !target_resolved(attempt->target, addresses, count)) {
        attempt->has_no_slot = true;
        attempt_deliver_soon(attempt);
    } else if (!attempt_take_addresses(attempt, addresses, count)) {
        attempt_note_failure(attempt, REASON_INTERNAL, strerror(errno));
        attempt_deliver_soon(attempt);
    } else {
        attempt_next_address(attempt);
    }
}

struct target_attempt *attempt_start(struct target *target)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL)
        return NULL;
    attempt->target = target;
    attempt->waiter.answered = attempt_resolved;
    attempt->descriptor = -1;
    attempt->begun = turn_now(attempt_loop(attempt));
    ev_init(&attempt->watcher, attempt_event);
    attempt->watcher.data = attempt;
    ev_init(&attempt->unix_retry, attempt_retry_unix);
    attempt->unix_retry.data = attempt;
    if (target->settings->endpoint.kind == ENDPOINT_UNIX)
        attempt_connect_unix(attempt);
    else if (target->name == NULL || target_name_wait(target->name, &attempt->waiter))
        attempt_resolved(&attempt->waiter);
    return &attempt->attempt;
}

void attempt_cancel(struct target_attempt *cancelled)
{
    struct attempt *attempt = list_entry(cancelled, struct attempt, attempt);
    attempt_close(attempt);
    attempt_free(attempt);
}
