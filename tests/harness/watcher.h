/* A client that asks the same again and again, in a thread of its own, one request after the other, and looks
 * at every byte of the answers and at how each of its connections ends. It says what has happened; whether
 * that is right is up to the test. */
#ifndef HARNESS_WATCHER_H
#define HARNESS_WATCHER_H

#include "harness/test.h"

#include <pthread.h>
#include <stdatomic.h>

enum watcher_end {
    WATCHER_RUNS,
    WATCHER_STOPPED, /* by watcher_stop(); its last connection ended in order as well */
    WATCHER_CLOSED,  /* the other side ended the connection in order, before any byte of an answer */
    WATCHER_REFUSED, /* it could not connect */
    WATCHER_FAILED,  /* anything else: a reset, a wrong answer, half an answer, silence */
};

/* Owned by the test; must stay where it is while it runs. The first members are the test's to fill in. */
struct watcher {
    const char *name;
    const char *path; /* of a unix socket; NULL: 127.0.0.1 */
    unsigned port;
    const char *request;
    size_t request_size;
    const char *beginning; /* of each answer, and its end; what lies between is not looked at */
    const char *end;
    bool stays;   /* one connection for all requests; else one for each */
    bool hurries; /* it asks again at once; else it leaves some time to others */

    pthread_t thread;
    atomic_bool stop;
    atomic_size_t answers;
    _Atomic(enum watcher_end) ended;
    char text[160]; /* how it has ended, for people */
};

/* Starts it, or starts it anew once it was stopped; the answers add up. */
#define watcher_start(watcher) watcher_start_at((watcher), HERE)
void watcher_start_at(struct watcher *watcher, struct place place);

/* Ends it, if it still runs, and waits for its thread. */
enum watcher_end watcher_stop(struct watcher *watcher);

#endif
