#include "harness/echo.h"

#include "harness/peer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define ECHO_BUFFER 65536

/* One connection: owned by the thread, kept in the list of its echo server. */
struct echo_connection {
    struct echo_connection *previous;
    struct echo_connection *next;
    int socket;
    char *pending; /* what the client did not take yet; NULL: nothing, and we read */
    size_t pending_size;
};

/* The server. The thread owns everything but the counters, which others read. */
struct echo {
    pthread_t thread;
    int listener;
    int poller;
    int stopper;
    unsigned port;
    const char *greeting;
    struct echo_connection *connections;
    atomic_size_t accepted;
    atomic_size_t open;
    atomic_size_t most;
    char *buffer;
};

static void watch(struct echo *echo, int operation, int socket, uint32_t events, void *what)
{
    struct epoll_event event = { .events = events, .data.ptr = what };

    if (epoll_ctl(echo->poller, operation, socket, &event) == -1)
        abort();
}

static void close_connection(struct echo *echo, struct echo_connection *connection)
{
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        echo->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    /* closing is not enough: a process that was just forked may hold the socket until it becomes a program */
    epoll_ctl(echo->poller, EPOLL_CTL_DEL, connection->socket, NULL);
    close(connection->socket);
    free(connection->pending);
    free(connection);
    atomic_fetch_sub(&echo->open, 1);
}

/* Looks at how many there are at this moment: ends that have come may not have been read yet. */
static void count_most(struct echo *echo)
{
    size_t count = 0;
    char byte;

    for (const struct echo_connection *other = echo->connections; other != NULL; other = other->next)
        count += recv(other->socket, &byte, 1, MSG_PEEK) != 0;
    if (count > atomic_load(&echo->most))
        atomic_store(&echo->most, count);
}

static void accept_connection(struct echo *echo)
{
    int made = accept4(echo->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct echo_connection *connection;

    if (made == -1)
        return;
    connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        abort();
    connection->socket = made;
    connection->next = echo->connections;
    if (connection->next != NULL)
        connection->next->previous = connection;
    echo->connections = connection;
    atomic_fetch_add(&echo->open, 1);
    atomic_fetch_add(&echo->accepted, 1);
    count_most(echo);
    if (echo->greeting != NULL)
        send(made, echo->greeting, strlen(echo->greeting), MSG_NOSIGNAL);
    watch(echo, EPOLL_CTL_ADD, made, EPOLLIN, connection);
}

/* Sends; keeps what is not taken, and then waits for room instead of for bytes. False: the client is gone. */
static bool give_back(struct echo *echo, struct echo_connection *connection, const char *data, size_t size)
{
    ssize_t taken = send(connection->socket, data, size, MSG_NOSIGNAL);
    char *rest;

    if (taken == -1 && errno != EAGAIN)
        return false;
    if (taken == -1)
        taken = 0;
    if ((size_t)taken == size) {
        if (connection->pending != NULL)
            watch(echo, EPOLL_CTL_MOD, connection->socket, EPOLLIN, connection);
        free(connection->pending);
        connection->pending = NULL;
        return true;
    }
    rest = malloc(size - (size_t)taken);
    if (rest == NULL)
        abort();
    memcpy(rest, data + taken, size - (size_t)taken);
    if (connection->pending == NULL)
        watch(echo, EPOLL_CTL_MOD, connection->socket, EPOLLOUT, connection);
    free(connection->pending);
    connection->pending = rest;
    connection->pending_size = size - (size_t)taken;
    return true;
}

static void serve(struct echo *echo, struct echo_connection *connection)
{
    ssize_t got;

    if (connection->pending != NULL) {
        if (!give_back(echo, connection, connection->pending, connection->pending_size))
            close_connection(echo, connection);
        return;
    }
    got = recv(connection->socket, echo->buffer, ECHO_BUFFER, 0);
    if (got == -1 && errno == EAGAIN)
        return;
    if (got <= 0 || !give_back(echo, connection, echo->buffer, (size_t)got))
        close_connection(echo, connection);
}

static void *run(void *data)
{
    struct echo *echo = data;
    struct epoll_event events[64];

    for (;;) {
        int count = epoll_wait(echo->poller, events, 64, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &echo->stopper)
                return NULL;
            if (events[i].data.ptr == &echo->listener)
                accept_connection(echo);
            else
                serve(echo, events[i].data.ptr);
        }
    }
}

struct echo *echo_start_at(const char *address, unsigned port, const char *greeting, struct place place)
{
    struct echo *echo = calloc(1, sizeof(*echo));

    if (echo == NULL)
        test_fail_at(place, "out of memory");
    echo->port = port != 0 || address[0] == '/' ? port : peer_free_port_at(place);
    echo->listener = peer_listen_at(address, echo->port, 4096, place);
    echo->greeting = greeting;
    echo->buffer = malloc(ECHO_BUFFER);
    echo->poller = epoll_create1(EPOLL_CLOEXEC);
    echo->stopper = eventfd(0, EFD_CLOEXEC);
    if (echo->buffer == NULL || echo->poller == -1 || echo->stopper == -1)
        test_fail_at(place, "echo server: %s", strerror(errno));
    watch(echo, EPOLL_CTL_ADD, echo->listener, EPOLLIN, &echo->listener);
    watch(echo, EPOLL_CTL_ADD, echo->stopper, EPOLLIN, &echo->stopper);
    if (pthread_create(&echo->thread, NULL, run, echo) != 0)
        test_fail_at(place, "echo server: no thread");
    return echo;
}

unsigned echo_port(const struct echo *echo)
{
    return echo->port;
}

size_t echo_accepted(struct echo *echo)
{
    return atomic_load(&echo->accepted);
}

size_t echo_open(struct echo *echo)
{
    return atomic_load(&echo->open);
}

size_t echo_most(struct echo *echo)
{
    return atomic_load(&echo->most);
}

void echo_stop(struct echo *echo)
{
    uint64_t one = 1;

    if (write(echo->stopper, &one, sizeof(one)) != sizeof(one))
        abort();
    pthread_join(echo->thread, NULL);
    while (echo->connections != NULL)
        close_connection(echo, echo->connections);
    close(echo->listener);
    close(echo->poller);
    close(echo->stopper);
    free(echo->buffer);
    free(echo);
}
