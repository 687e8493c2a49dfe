#include "harness/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PEER_CHUNK 65536

/* An address as the kernel takes it. */
struct socket_address {
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un path;
    };
};

static struct socket_address make_address(const char *text, unsigned port, struct place place)
{
    struct socket_address address = { 0 };

    if (text[0] == '/') {
        address.path.sun_family = AF_UNIX;
        if (strlen(text) >= sizeof(address.path.sun_path))
            test_fail_at(place, "path too long: %s", text);
        memcpy(address.path.sun_path, text, strlen(text) + 1);
        address.length = sizeof(address.path);
    } else if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons((uint16_t)port);
        address.length = sizeof(address.v4);
    } else if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons((uint16_t)port);
        address.length = sizeof(address.v6);
    } else {
        test_fail_at(place, "no address: %s", text);
    }
    return address;
}

static int make_socket(const struct socket_address *address, struct place place)
{
    int made = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (made == -1)
        test_fail_at(place, "socket: %s", strerror(errno));
    return made;
}

/* Waits for events of one socket; false after the deadline. */
static bool wait_for(int socket, short events, int64_t deadline)
{
    struct pollfd watched = { .fd = socket, .events = events };

    for (;;) {
        int ready = poll(&watched, 1, test_remaining(deadline));

        if (ready > 0)
            return true;
        if (ready == 0 || errno != EINTR)
            return false;
    }
}

int peer_listen_at(const char *text, unsigned port, int backlog, struct place place)
{
    struct socket_address address = make_address(text, port, place);
    int made = make_socket(&address, place);

    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (address.any.sa_family == AF_INET6)
        setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 1 }, sizeof(int));
    if (bind(made, &address.any, address.length) == -1 || listen(made, backlog) == -1)
        test_fail_at(place, "listening on %s port %u: %s", text, port, strerror(errno));
    return made;
}

int peer_try_connect(const char *source, const char *text, unsigned port)
{
    struct socket_address address = make_address(text, port, HERE);
    int made = make_socket(&address, HERE);
    int error = 0;
    socklen_t length = sizeof(error);

    if (source != NULL) {
        struct socket_address from = make_address(source, 0, HERE);

        if (bind(made, &from.any, from.length) == -1)
            goto failed;
    }
    if (fcntl(made, F_SETFL, O_NONBLOCK) == -1)
        goto failed;
    if (connect(made, &address.any, address.length) == -1) {
        if (errno != EINPROGRESS)
            goto failed;
        if (!wait_for(made, POLLOUT, test_deadline(TEST_PATIENCE))) {
            errno = ETIMEDOUT;
            goto failed;
        }
        if (getsockopt(made, SOL_SOCKET, SO_ERROR, &error, &length) == -1)
            goto failed;
        if (error != 0) {
            errno = error;
            goto failed;
        }
    }
    fcntl(made, F_SETFL, 0);
    return made;

failed:
    error = errno;
    close(made);
    errno = error;
    return -1;
}

int peer_connect_at(const char *source, const char *text, unsigned port, struct place place)
{
    int made = peer_try_connect(source, text, port);

    if (made == -1)
        test_fail_at(place, "connecting to %s port %u: %s", text, port, strerror(errno));
    return made;
}

int peer_connect_begin_at(const char *text, unsigned port, struct place place)
{
    struct socket_address address = make_address(text, port, place);
    int made = make_socket(&address, place);

    if (fcntl(made, F_SETFL, O_NONBLOCK) == -1 ||
        (connect(made, &address.any, address.length) == -1 && errno != EINPROGRESS && errno != EAGAIN))
        test_fail_at(place, "connecting to %s port %u: %s", text, port, strerror(errno));
    return made;
}

int peer_accept_at(int listener, struct place place)
{
    int made;

    if (!wait_for(listener, POLLIN, test_deadline(TEST_PATIENCE)))
        test_fail_at(place, "no connection came");
    made = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (made == -1)
        test_fail_at(place, "accept: %s", strerror(errno));
    return made;
}

void peer_send_at(int socket, const void *data, size_t size, struct place place)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);
    size_t sent = 0;

    while (sent < size) {
        ssize_t taken;

        if (!wait_for(socket, POLLOUT, deadline))
            test_fail_at(place, "the other side took only %zu of %zu bytes", sent, size);
        taken = send(socket, (const char *)data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (taken == -1 && errno != EAGAIN && errno != EINTR)
            test_fail_at(place, "send after %zu of %zu bytes: %s", sent, size, strerror(errno));
        if (taken > 0)
            sent += (size_t)taken;
    }
}

void peer_receive_at(int socket, void *data, size_t size, struct place place)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);
    size_t received = 0;

    while (received < size) {
        ssize_t got;

        if (!wait_for(socket, POLLIN, deadline))
            test_fail_at(place, "only %zu of %zu bytes came", received, size);
        got = recv(socket, (char *)data + received, size - received, MSG_DONTWAIT);
        if (got == 0)
            test_fail_at(place, "end after %zu of %zu bytes", received, size);
        if (got == -1 && errno != EAGAIN && errno != EINTR)
            test_fail_at(place, "receive after %zu of %zu bytes: %s", received, size, strerror(errno));
        if (got > 0)
            received += (size_t)got;
    }
}

void peer_expect_text_at(int socket, const char *text, struct place place)
{
    char received[4096];
    size_t length = strlen(text);

    if (length > sizeof(received))
        test_fail_at(place, "text too long for peer_expect_text()");
    peer_receive_at(socket, received, length, place);
    if (memcmp(received, text, length) != 0)
        test_fail_at(place, "received \"%.*s\" instead of \"%s\"", (int)length, received, text);
}

/* What comes next: bytes (their number), 0 for an end, -1 with errno; -1 and ETIMEDOUT for nothing in time.
 */
static ssize_t receive_next(int socket, char *data, size_t size)
{
    if (!wait_for(socket, POLLIN, test_deadline(TEST_PATIENCE))) {
        errno = ETIMEDOUT;
        return -1;
    }
    return recv(socket, data, size, MSG_DONTWAIT);
}

void peer_expect_end_at(int socket, struct place place)
{
    char data[64];
    ssize_t got = receive_next(socket, data, sizeof(data));

    if (got > 0)
        test_fail_at(place, "%zd bytes or more came instead of the end", got);
    if (got == -1)
        test_fail_at(place, "no end came: %s", strerror(errno));
}

void peer_expect_reset_at(int socket, struct place place)
{
    char data[64];
    ssize_t got = receive_next(socket, data, sizeof(data));

    if (got >= 0)
        test_fail_at(place, "%s instead of a reset", got == 0 ? "an end came" : "bytes came");
    if (errno != ECONNRESET && errno != EPIPE)
        test_fail_at(place, "no reset came: %s", strerror(errno));
}

void peer_expect_closed_at(int socket, struct place place)
{
    static char data[PEER_CHUNK];
    ssize_t got;

    do
        got = receive_next(socket, data, sizeof(data));
    while (got > 0);
    if (got == -1 && errno != ECONNRESET && errno != EPIPE)
        test_fail_at(place, "the connection was not closed: %s", strerror(errno));
}

bool peer_readable(int socket, int milliseconds)
{
    return wait_for(socket, POLLIN, test_now() + milliseconds);
}

bool peer_writable(int socket, int milliseconds)
{
    return wait_for(socket, POLLOUT, test_now() + milliseconds);
}

void peer_expect_silence_at(int socket, int milliseconds, struct place place)
{
    int64_t begin = test_now();

    if (peer_readable(socket, milliseconds))
        test_fail_at(place, "something came after %d of %d ms", (int)(test_now() - begin), milliseconds);
}

void peer_end(int socket)
{
    shutdown(socket, SHUT_WR);
}

void peer_reset(int socket)
{
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(socket);
}

unsigned peer_port(int socket)
{
    struct socket_address address = { .length = sizeof(struct sockaddr_un) };

    if (getsockname(socket, &address.any, &address.length) == -1)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

bool peer_have_ipv6(void)
{
    struct sockaddr_in6 loopback = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = probe != -1 && bind(probe, (struct sockaddr *)&loopback, sizeof(loopback)) == 0;

    if (probe != -1)
        close(probe);
    return bound;
}

unsigned peer_free_port_at(struct place place)
{
    struct socket_address address = make_address(peer_have_ipv6() ? "::" : "0.0.0.0", 0, place);
    int holder = make_socket(&address, place);

    setsockopt(holder, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (bind(holder, &address.any, address.length) == -1)
        test_fail_at(place, "no free port: %s", strerror(errno));
    return peer_port(holder); /* the holder stays open on purpose: it keeps the port ours */
}

void peer_make_deaf_at(struct peer_deaf *deaf, const char *address, struct place place)
{
    size_t room = sizeof(deaf->fillers) / sizeof(deaf->fillers[0]);

    deaf->port = peer_free_port_at(place);
    deaf->listener = peer_listen_at(address, deaf->port, 0, place);
    deaf->filler_count = 0;
    for (;;) {
        int filler;

        if (deaf->filler_count == room)
            test_fail_at(place, "the backlog takes more than %zu connections", room);
        filler = peer_connect_begin_at(address, deaf->port, place);
        deaf->fillers[deaf->filler_count++] = filler;
        if (!wait_for(filler, POLLOUT, test_now() + 100))
            return; /* this one hangs, and so will the next */
    }
}

void peer_close_deaf(struct peer_deaf *deaf)
{
    for (size_t i = 0; i < deaf->filler_count; i++)
        close(deaf->fillers[i]);
    close(deaf->listener);
}
