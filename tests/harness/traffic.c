#include "harness/traffic.h"

#include "harness/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TRAFFIC_CLIENTS 8
#define TRAFFIC_TEXT    640

/* Milliseconds between an answer and the next request. */
#define TRAFFIC_PAUSE 2

struct traffic_client {
    int socket;
    char answer[TRAFFIC_TEXT]; /* that is expected */
    size_t length;
    size_t received;
    int64_t asked;
    atomic_size_t answers;
    atomic_bool outstanding;
};

/* The thread owns the clients; others read what is atomic. `trouble` is for the main thread once the thread
 * has ended. */
struct traffic {
    pthread_t thread;
    int stopper[2];
    size_t count;
    struct traffic_client clients[TRAFFIC_CLIENTS];
    int64_t slowest;
    size_t errors;
    char trouble[2 * TRAFFIC_TEXT];
    atomic_bool failed;
};

static bool ask(struct traffic *traffic, size_t number)
{
    struct traffic_client *client = &traffic->clients[number];
    size_t round = atomic_load(&client->answers);
    char request[TRAFFIC_TEXT + 8];

    client->length = (size_t)snprintf(client->answer, TRAFFIC_TEXT, "traffic %zu.%zu %0*d\n", number, round,
                                      (int)((number * 31 + round * 17) % 500) + 1, 0);
    client->received = 0;
    client->asked = test_now();
    atomic_store(&client->outstanding, true);
    int length = snprintf(request, sizeof(request), "echo %s", client->answer);
    if (send(client->socket, request, (size_t)length, MSG_NOSIGNAL) == length)
        return true;
    snprintf(traffic->trouble, sizeof(traffic->trouble), "client %zu could not send request %zu: %s", number,
             round, strerror(errno));
    return false;
}

static void answered(struct traffic *traffic, struct traffic_client *client)
{
    int64_t took = test_now() - client->asked;

    if (took > traffic->slowest)
        traffic->slowest = took;
    atomic_store(&client->outstanding, false);
    atomic_fetch_add(&client->answers, 1);
}

static bool receive(struct traffic *traffic, size_t number)
{
    struct traffic_client *client = &traffic->clients[number];
    char data[TRAFFIC_TEXT];
    ssize_t got = recv(client->socket, data + client->received, sizeof(data) - client->received, 0);

    if (got > 0) {
        memcpy(data, client->answer, client->received); /* they were right */
        size_t length = client->received + (size_t)got;

        if (length == 6 && memcmp(data, "ERROR\n", 6) == 0) {
            traffic->errors++;
            answered(traffic, client);
            return true;
        }
        if (length <= client->length && memcmp(data, client->answer, length) == 0) {
            client->received = length;
            if (length == client->length)
                answered(traffic, client);
            return true;
        }
    }
    snprintf(traffic->trouble, sizeof(traffic->trouble),
             "client %zu got %zd bytes \"%.*s\" instead of \"%s\"", number, got, (int)(got > 0 ? got : 0),
             data + client->received, client->answer + client->received);
    return false;
}

static bool take_turn(struct traffic *traffic, const struct pollfd *watched, bool stops)
{
    for (size_t i = 0; i < traffic->count; i++) {
        if (!atomic_load(&traffic->clients[i].outstanding)) {
            if (!stops && !ask(traffic, i))
                return false;
        } else if (watched[i].revents != 0 && !receive(traffic, i)) {
            return false;
        }
    }
    return true;
}

/* Fills one entry a client and one for the stop; returns how many requests are unanswered. */
static size_t look(struct traffic *traffic, struct pollfd *watched)
{
    size_t unanswered = 0;

    for (size_t i = 0; i < traffic->count; i++) {
        bool outstanding = atomic_load(&traffic->clients[i].outstanding);

        watched[i] = (struct pollfd){ .fd = outstanding ? traffic->clients[i].socket : -1, .events = POLLIN };
        unanswered += outstanding;
    }
    watched[traffic->count] = (struct pollfd){ .fd = traffic->stopper[0], .events = POLLIN };
    return unanswered;
}

/* Whoever has an answer asks again after a pause. At the end only the answers still due are waited for. */
static void *run(void *data)
{
    struct traffic *traffic = data;
    struct pollfd watched[TRAFFIC_CLIENTS + 1];
    int64_t deadline = 0; /* of the end */

    for (;;) {
        size_t unanswered = look(traffic, watched);
        int wait = unanswered < traffic->count ? TRAFFIC_PAUSE : -1;

        if (deadline != 0 && unanswered == 0)
            return NULL;
        if (deadline != 0) {
            wait = test_remaining(deadline);
            watched[traffic->count].fd = -1;
        }
        int ready = poll(watched, traffic->count + 1, wait);
        if (deadline != 0 && ready == 0) {
            snprintf(traffic->trouble, sizeof(traffic->trouble), "an answer did not come at all");
            return NULL;
        }
        if (ready >= 0 && deadline == 0 && watched[traffic->count].revents != 0)
            deadline = test_deadline(TEST_PATIENCE);
        if (ready >= 0 && !take_turn(traffic, watched, deadline != 0)) {
            atomic_store(&traffic->failed, true);
            return NULL;
        }
    }
}

struct traffic *traffic_start_at(unsigned port, size_t clients, struct place place)
{
    struct traffic *traffic = calloc(1, sizeof(*traffic));

    if (traffic == NULL || clients > TRAFFIC_CLIENTS || pipe2(traffic->stopper, O_CLOEXEC) == -1)
        test_fail_at(place, "traffic: %s", strerror(errno));
    traffic->count = clients;
    for (size_t i = 0; i < clients; i++)
        traffic->clients[i].socket = peer_connect_at(NULL, "127.0.0.1", port, place);
    if (pthread_create(&traffic->thread, NULL, run, traffic) != 0)
        test_fail_at(place, "traffic: no thread");
    return traffic;
}

void traffic_go_on_at(struct traffic *traffic, size_t answers, struct place place)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);
    size_t aims[TRAFFIC_CLIENTS];

    for (size_t i = 0; i < traffic->count; i++)
        aims[i] = atomic_load(&traffic->clients[i].answers) + answers;
    for (size_t i = 0; i < traffic->count;) {
        if (atomic_load(&traffic->clients[i].answers) >= aims[i]) {
            i++;
        } else if (atomic_load(&traffic->failed)) {
            pthread_join(traffic->thread, NULL);
            test_fail_at(place, "traffic: %s", traffic->trouble);
        } else if (test_now() >= deadline) {
            test_fail_at(place, "traffic: client %zu has no more answers", i);
        } else {
            test_pause();
        }
    }
}

size_t traffic_outstanding(struct traffic *traffic)
{
    size_t count = 0;

    for (size_t i = 0; i < traffic->count; i++)
        count += atomic_load(&traffic->clients[i].outstanding);
    return count;
}

void traffic_stop_at(struct traffic *traffic, int64_t milliseconds, size_t errors, struct place place)
{
    int64_t limit = test_deadline(milliseconds) - test_now();

    close(traffic->stopper[1]);
    pthread_join(traffic->thread, NULL);
    for (size_t i = 0; i < traffic->count; i++)
        close(traffic->clients[i].socket);
    close(traffic->stopper[0]);
    if (traffic->trouble[0] != '\0')
        test_fail_at(place, "traffic: %s", traffic->trouble);
    if (traffic->errors > errors)
        test_fail_at(place, "traffic: %zu errors", traffic->errors);
    if (traffic->slowest > limit)
        test_fail_at(place, "traffic: an answer took %lld ms", (long long)traffic->slowest);
    free(traffic);
}
