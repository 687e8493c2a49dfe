#include "harness/flow.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define FLOW_PERIOD 65521 /* a prime: a buffer lost, doubled or swapped changes the bytes that follow */
#define FLOW_CHUNK  262144

/* The bytes of a flow at one place, and how many of them can be read from there on. */
static const char *flow_bytes(size_t position, size_t *size)
{
    static char bytes[FLOW_PERIOD + FLOW_CHUNK];
    static bool made;

    if (!made) {
        uint32_t state = 1;

        for (size_t i = 0; i < sizeof(bytes); i++) {
            if (i < FLOW_PERIOD) {
                state = state * 1664525 + 1013904223;
                bytes[i] = (char)(state >> 24);
            } else {
                bytes[i] = bytes[i - FLOW_PERIOD];
            }
        }
        made = true;
    }
    *size = FLOW_CHUNK;
    return bytes + position % FLOW_PERIOD;
}

/* Sends what the socket takes at once; returns how much. */
static size_t push(int socket, size_t position, size_t size, struct place place)
{
    size_t part;
    const char *bytes = flow_bytes(position, &part);
    ssize_t taken;

    if (part > size - position)
        part = size - position;
    taken = send(socket, bytes, part, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken == -1 && errno != EAGAIN && errno != EINTR)
        test_fail_at(place, "send after %zu of %zu bytes: %s", position, size, strerror(errno));
    return taken > 0 ? (size_t)taken : 0;
}

/* Receives and checks what is there; returns how much. */
static size_t pull(int socket, size_t position, size_t size, struct place place)
{
    static char received[FLOW_CHUNK];
    size_t part;
    const char *bytes = flow_bytes(position, &part);
    ssize_t got;

    if (part > size - position)
        part = size - position;
    got = recv(socket, received, part, MSG_DONTWAIT);
    if (got == 0)
        test_fail_at(place, "end after %zu of %zu bytes", position, size);
    if (got == -1 && errno != EAGAIN && errno != EINTR)
        test_fail_at(place, "receive after %zu of %zu bytes: %s", position, size, strerror(errno));
    if (got <= 0)
        return 0;
    if (memcmp(bytes, received, (size_t)got) != 0)
        test_fail_at(place, "wrong bytes between %zu and %zu", position, position + (size_t)got);
    return (size_t)got;
}

void flow_transfer_at(int from, int to, size_t size, void (*each)(void *data), void *data, struct place place)
{
    size_t sent = 0, received = 0, next_call = size / 100;

    while (received < size) {
        struct pollfd watched[2] = { { .fd = sent < size ? from : -1, .events = POLLOUT },
                                     { .fd = to, .events = POLLIN } };

        if (poll(watched, 2, test_remaining(test_deadline(TEST_PATIENCE))) <= 0)
            test_fail_at(place, "the flow stopped: %zu bytes sent, %zu received of %zu", sent, received,
                         size);
        if (watched[0].revents != 0)
            sent += push(from, sent, size, place);
        if (watched[1].revents != 0)
            received += pull(to, received, size, place);
        if (each != NULL && received >= next_call) {
            each(data);
            next_call += size / 100 + 1;
        }
    }
}

size_t flow_send_until_full_at(int socket, size_t limit, struct place place)
{
    size_t sent = 0;

    while (sent < limit) {
        struct pollfd watched = { .fd = socket, .events = POLLOUT };

        if (poll(&watched, 1, test_remaining(test_deadline(300))) <= 0)
            break;
        sent += push(socket, sent, limit, place);
    }
    return sent;
}

void flow_receive_at(int socket, size_t position, size_t size, struct place place)
{
    while (position < size) {
        struct pollfd watched = { .fd = socket, .events = POLLIN };

        if (poll(&watched, 1, test_remaining(test_deadline(TEST_PATIENCE))) <= 0)
            test_fail_at(place, "only %zu of %zu bytes came", position, size);
        position += pull(socket, position, size, place);
    }
}
