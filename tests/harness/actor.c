#include "harness/actor.h"

#include "harness/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACTOR_CHUNK 65536

/* What the kernel may hold of what is not read: little, so that a test need not send much to fill it. */
#define ACTOR_RECEIVE_BUFFER 65536

/* One connection, and the thread that serves it. Owned by its actor until that stops. */
struct actor_connection {
    struct actor_connection *next;
    struct actor *actor;
    pthread_t thread;
    int socket;
    char *input; /* a request so far */
    size_t length;
    size_t size;
};

/* The main thread owns it; those of the connections touch what is atomic, and the lock. */
struct actor {
    pthread_t thread;
    int listener;
    int stopper[2]; /* readable, once all is to end */
    struct actor_connection *connections;
    atomic_size_t accepted;
    atomic_size_t open;
    atomic_size_t requests;
    atomic_size_t bytes;
    pthread_mutex_t lock;
    pthread_cond_t released;
    size_t held;
    size_t releases;
    bool stops;
};

/* Waits for the socket, at the most so many milliseconds (negative: for ever). False: all is to end. */
static bool wait_for(const struct actor *actor, int socket, short events, int milliseconds)
{
    struct pollfd watched[] = {
        { .fd = actor->stopper[0], .events = POLLIN },
        { .fd = socket, .events = events },
    };

    while (poll(watched, 2, milliseconds) == -1)
        if (errno != EINTR)
            return false;
    return watched[0].revents == 0;
}

static bool give(const struct actor_connection *connection, const char *data, size_t size, int flags)
{
    while (size > 0) {
        ssize_t taken = send(connection->socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT | flags);

        if (taken == -1 && errno != EAGAIN)
            return false;
        if (taken == -1) {
            if (!wait_for(connection->actor, connection->socket, POLLOUT, -1))
                return false;
            continue;
        }
        data += taken;
        size -= (size_t)taken;
    }
    return true;
}

/* Waits for the next release. */
static bool hold(struct actor *actor)
{
    pthread_mutex_lock(&actor->lock);
    size_t before = actor->releases;
    actor->held++;
    while (actor->releases == before && !actor->stops)
        pthread_cond_wait(&actor->released, &actor->lock);
    actor->held--;
    bool goes_on = !actor->stops;
    pthread_mutex_unlock(&actor->lock);
    return goes_on;
}

/* Waits until the other side closes, or all is to end. */
static bool do_nothing(const struct actor_connection *connection)
{
    (void)wait_for(connection->actor, connection->socket, POLLRDHUP, -1);
    return false;
}

char actor_big_byte(size_t position, size_t size)
{
    return position + 1 == size ? '\n' : (char)('a' + position % 23);
}

static bool give_big(const struct actor_connection *connection, size_t size)
{
    static const size_t chunk = ACTOR_CHUNK;
    char data[ACTOR_CHUNK];

    for (size_t done = 0; done < size;) {
        size_t count = size - done < chunk ? size - done : chunk;

        for (size_t i = 0; i < count; i++)
            data[i] = actor_big_byte(done + i, size);
        if (!give(connection, data, count, 0))
            return false;
        done += count;
    }
    return true;
}

static bool give_slowly(const struct actor_connection *connection, char *text)
{
    int pause = (int)strtol(text, &text, 10);

    for (text += *text == ' '; *text != '\0'; text++)
        if (!give(connection, text, 1, 0) || !wait_for(connection->actor, -1, 0, pause))
            return false;
    return true;
}

/* Puts the answer's last byte and the end of the stream into one segment, so that nobody can see the one
 * without the other. */
static bool give_and_close(const struct actor_connection *connection, const char *text)
{
    if (give(connection, text, strlen(text), MSG_MORE))
        shutdown(connection->socket, SHUT_WR);
    return false;
}

/* Serves one request, which ends in "\n" and a NUL. Returns whether the connection goes on. */
static bool act(const struct actor_connection *connection, char *request)
{
    char *text = strchr(request, ' ');
    size_t word = text != NULL ? (size_t)(text - request) : strcspn(request, "\n");
    size_t length = strlen(text = text != NULL ? text + 1 : request + word);

#define IS(name) (word == sizeof(name) - 1 && memcmp(request, name, word) == 0)
    if (IS("echo"))
        return give(connection, text, length, 0);
    if (IS("half"))
        return give(connection, text, length / 2, 0) && hold(connection->actor) &&
               give(connection, text + length / 2, length - length / 2, 0);
    if (IS("hold"))
        return hold(connection->actor) && give(connection, text, length, 0);
    if (IS("silent") || IS("deaf"))
        return do_nothing(connection);
    if (IS("close"))
        return give_and_close(connection, text);
    if (IS("stray"))
        return give(connection, text, length, MSG_MORE) && give(connection, "stray\n", 6, 0);
    if (IS("drip"))
        return give_slowly(connection, text);
    if (IS("big"))
        return give_big(connection, strtoul(text, NULL, 10));
    if (IS("endless"))
        return give_big(connection, SIZE_MAX);
#undef IS
    return give(connection, "WHAT\n", 5, 0);
}

/* Serves the requests that are whole. */
static bool act_on_input(struct actor_connection *connection)
{
    char *input = connection->input;
    char *end;

    while ((end = memchr(input, '\n', connection->length)) != NULL) {
        size_t length = (size_t)(end - input) + 1;
        char after = input[length];

        atomic_fetch_add(&connection->actor->requests, 1);
        input[length] = '\0';
        if (!act(connection, input))
            return false;
        input[length] = after;
        memmove(input, input + length, connection->length - length);
        connection->length -= length;
    }
    if (connection->length >= 5 && memcmp(input, "deaf ", 5) == 0)
        return do_nothing(connection);
    return true;
}

static bool receive(struct actor_connection *connection)
{
    if (connection->size - connection->length < ACTOR_CHUNK) {
        connection->size = 2 * connection->size + ACTOR_CHUNK;
        connection->input = realloc(connection->input, connection->size + 1);
        if (connection->input == NULL)
            abort();
    }
    if (!wait_for(connection->actor, connection->socket, POLLIN, -1))
        return false;
    ssize_t got = recv(connection->socket, connection->input + connection->length,
                       connection->size - connection->length, 0);
    if (got <= 0)
        return false;
    connection->length += (size_t)got;
    atomic_fetch_add(&connection->actor->bytes, (size_t)got);
    return true;
}

static void *serve(void *data)
{
    struct actor_connection *connection = data;

    while (receive(connection) && act_on_input(connection))
        continue;
    if (wait_for(connection->actor, -1, 0, 0))
        close(connection->socket);
    else
        peer_reset(connection->socket);
    atomic_fetch_sub(&connection->actor->open, 1);
    free(connection->input);
    return NULL;
}

static void *listen_for_connections(void *data)
{
    struct actor *actor = data;

    while (wait_for(actor, actor->listener, POLLIN, -1)) {
        struct actor_connection *connection;
        int made = accept4(actor->listener, NULL, NULL, SOCK_CLOEXEC);

        if (made == -1)
            continue;
        connection = calloc(1, sizeof(*connection));
        if (connection == NULL)
            abort();
        connection->actor = actor;
        connection->socket = made;
        connection->next = actor->connections;
        actor->connections = connection;
        atomic_fetch_add(&actor->open, 1);
        atomic_fetch_add(&actor->accepted, 1);
        if (pthread_create(&connection->thread, NULL, serve, connection) != 0)
            abort();
    }
    return NULL;
}

struct actor *actor_start_at(unsigned port, struct place place)
{
    struct actor *actor = calloc(1, sizeof(*actor));

    if (actor == NULL || pipe2(actor->stopper, O_CLOEXEC) == -1)
        test_fail_at(place, "actor: %s", strerror(errno));
    actor->listener = peer_listen_at("127.0.0.1", port, 64, place);
    setsockopt(actor->listener, SOL_SOCKET, SO_RCVBUF, &(int){ ACTOR_RECEIVE_BUFFER }, sizeof(int));
    pthread_mutex_init(&actor->lock, NULL);
    pthread_cond_init(&actor->released, NULL);
    if (pthread_create(&actor->thread, NULL, listen_for_connections, actor) != 0)
        test_fail_at(place, "actor: no thread");
    return actor;
}

size_t actor_accepted(struct actor *actor)
{
    return atomic_load(&actor->accepted);
}

size_t actor_open(struct actor *actor)
{
    return atomic_load(&actor->open);
}

size_t actor_requests(struct actor *actor)
{
    return atomic_load(&actor->requests);
}

size_t actor_bytes(struct actor *actor)
{
    return atomic_load(&actor->bytes);
}

size_t actor_held(struct actor *actor)
{
    pthread_mutex_lock(&actor->lock);
    size_t held = actor->held;
    pthread_mutex_unlock(&actor->lock);
    return held;
}

void actor_release(struct actor *actor)
{
    pthread_mutex_lock(&actor->lock);
    actor->releases++;
    pthread_cond_broadcast(&actor->released);
    pthread_mutex_unlock(&actor->lock);
}

void actor_stop(struct actor *actor)
{
    /* In this order, so that nobody connects once the first connection is gone, and all of them reset. */
    shutdown(actor->listener, SHUT_RDWR);
    close(actor->stopper[1]); /* which the other end shows as a hang-up */
    pthread_mutex_lock(&actor->lock);
    actor->stops = true;
    pthread_cond_broadcast(&actor->released);
    pthread_mutex_unlock(&actor->lock);
    pthread_join(actor->thread, NULL);
    close(actor->listener);
    while (actor->connections != NULL) {
        struct actor_connection *connection = actor->connections;

        actor->connections = connection->next;
        pthread_join(connection->thread, NULL);
        free(connection);
    }
    close(actor->stopper[0]);
    pthread_mutex_destroy(&actor->lock);
    pthread_cond_destroy(&actor->released);
    free(actor);
}
