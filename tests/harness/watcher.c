#include "harness/watcher.h"

#include "harness/peer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Milliseconds between an answer and the next request of one that does not hurry. */
#define WATCHER_PAUSE 2

static bool watcher_end(struct watcher *watcher, enum watcher_end end, const char *what)
{
    snprintf(watcher->text, sizeof(watcher->text), "%s, after %zu answers: %s", what,
             atomic_load(&watcher->answers), errno != 0 ? strerror(errno) : "the other side has ended");
    atomic_store(&watcher->ended, end);
    return false;
}

/* Like recv(), but not for ever. */
static ssize_t receive(int client, char *bytes, size_t size)
{
    if (peer_readable(client, test_remaining(test_deadline(3 * TEST_PATIENCE))))
        return recv(client, bytes, size, 0);
    errno = ETIMEDOUT;
    return -1;
}

/* One request and its answer, which is all that may come. */
static bool watcher_ask(struct watcher *watcher, int client)
{
    char answer[1024] = "";
    size_t length = 0, beginning = strlen(watcher->beginning), end = strlen(watcher->end);

    errno = 0;
    if (send(client, watcher->request, watcher->request_size, MSG_NOSIGNAL) != (ssize_t)watcher->request_size)
        return watcher_end(watcher, WATCHER_FAILED, "sending");
    while (length < end || memcmp(answer + length - end, watcher->end, end) != 0) {
        errno = 0;
        ssize_t got = receive(client, answer + length, sizeof(answer) - length);
        if (got <= 0)
            return watcher_end(watcher, got == 0 && length == 0 ? WATCHER_CLOSED : WATCHER_FAILED,
                               "waiting for an answer");
        length += (size_t)got;
    }
    if (length < beginning || memcmp(answer, watcher->beginning, beginning) != 0) {
        errno = EBADMSG;
        return watcher_end(watcher, WATCHER_FAILED, "reading an answer");
    }
    atomic_fetch_add(&watcher->answers, 1);
    if (!watcher->hurries)
        nanosleep(&(struct timespec){ .tv_nsec = WATCHER_PAUSE * 1000000 }, NULL);
    return true;
}

/* It ends its own side first, and must see the other one's end, no reset. */
static bool watcher_leave(struct watcher *watcher, int client)
{
    char byte;

    peer_end(client);
    errno = 0;
    if (receive(client, &byte, 1) == 0)
        return true;
    return watcher_end(watcher, WATCHER_FAILED, "leaving");
}

/* One connection. */
static bool watcher_visit(struct watcher *watcher)
{
    int client = peer_try_connect(NULL, watcher->path != NULL ? watcher->path : "127.0.0.1", watcher->port);
    bool is_well;

    if (client == -1)
        return watcher_end(watcher,
                           errno == ECONNREFUSED || errno == ENOENT ? WATCHER_REFUSED : WATCHER_FAILED,
                           "connecting");
    do
        is_well = watcher_ask(watcher, client);
    while (is_well && watcher->stays && !atomic_load(&watcher->stop));
    is_well = is_well && watcher_leave(watcher, client);
    close(client);
    return is_well;
}

static void *watcher_run(void *data)
{
    struct watcher *watcher = data;

    while (watcher_visit(watcher))
        if (atomic_load(&watcher->stop)) {
            atomic_store(&watcher->ended, WATCHER_STOPPED);
            break;
        }
    return NULL;
}

void watcher_start_at(struct watcher *watcher, struct place place)
{
    atomic_store(&watcher->stop, false);
    atomic_store(&watcher->ended, WATCHER_RUNS);
    if (pthread_create(&watcher->thread, NULL, watcher_run, watcher) != 0)
        test_fail_at(place, "no thread could be started");
}

enum watcher_end watcher_stop(struct watcher *watcher)
{
    atomic_store(&watcher->stop, true);
    pthread_join(watcher->thread, NULL);
    return atomic_load(&watcher->ended);
}
