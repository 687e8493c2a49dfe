#include "harness/dialogue.h"

#include "harness/peer.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX   128
#define CHUNK         65536
#define VALUE_OFFSETS ((size_t)65536)

struct speaker {
    int socket;
    size_t number;
    size_t asked;    /* steps whose request is sent, or in `request` */
    size_t answered; /* steps whose answer was received whole */
    struct buffer request;
    struct buffer answer; /* what is yet to come of that of step `answered` */
    size_t piece;         /* bytes of one send() or recv() at most */
};

void dialogue_value(struct buffer *buffer, size_t client, size_t number, size_t size)
{
    static char bytes[DIALOGUE_VALUE_MAX + VALUE_OFFSETS];
    static bool made;

    if (!made) {
        uint32_t state = 7;

        for (size_t i = 0; i < sizeof(bytes); i++) {
            state = state * 1664525 + 1013904223;
            bytes[i] = (char)(state >> 24);
            if (i % 97 == 0)
                bytes[i] = i % 2 == 0 ? '\r' : '\n';
        }
        made = true;
    }
    buffer_append(buffer, bytes + (client * 997 + number * 131) % VALUE_OFFSETS, size);
}

size_t dialogue_size(size_t client, size_t number)
{
    static const size_t sizes[] = { 0,     100,   1,     3000,   16384, 40,  65535,
                                    65536, 65537, 20000, 262144, 2,     500, DIALOGUE_VALUE_MAX };
    size_t count = sizeof(sizes) / sizeof(sizes[0]);

    return sizes[(client * 5 + number) % count];
}

/* Sends what may be sent and is taken at once. */
static void speak(const struct dialogue *dialogue, struct speaker *speaker, struct place place)
{
    size_t part;
    ssize_t taken;

    if (speaker->request.length == 0) {
        dialogue->request(&speaker->request, speaker->number, speaker->asked++);
        if (speaker->request.failed)
            test_fail_at(place, "out of memory");
    }
    part = speaker->request.length < speaker->piece ? speaker->request.length : speaker->piece;
    taken = send(speaker->socket, buffer_bytes(&speaker->request), part, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken == -1 && errno != EAGAIN && errno != EINTR)
        test_fail_at(place, "client %zu, step %zu: send: %s", speaker->number, speaker->asked,
                     strerror(errno));
    if (taken > 0)
        buffer_consume(&speaker->request, (size_t)taken);
}

/* Makes ready what must come next, past steps without an answer; false: nothing may come now. */
static bool expect_next(const struct dialogue *dialogue, struct speaker *speaker, struct place place)
{
    while (speaker->answer.length == 0) {
        if (speaker->answered == speaker->asked)
            return false;
        dialogue->answer(&speaker->answer, speaker->number, speaker->answered);
        if (speaker->answer.failed)
            test_fail_at(place, "out of memory");
        if (speaker->answer.length == 0)
            speaker->answered++;
    }
    return true;
}

/* Compares bytes with the answers that must come now. */
static void compare(const struct dialogue *dialogue, struct speaker *speaker, const char *bytes, size_t count,
                    struct place place)
{
    while (count > 0) {
        size_t part;

        if (!expect_next(dialogue, speaker, place))
            test_fail_at(place, "client %zu got %zu bytes more than it asked for: \"%.*s\"", speaker->number,
                         count, (int)(count < 60 ? count : 60), bytes);
        part = count < speaker->answer.length ? count : speaker->answer.length;
        if (memcmp(bytes, buffer_bytes(&speaker->answer), part) != 0)
            test_fail_at(place, "client %zu, step %zu: got \"%.*s\" instead of \"%.*s\"", speaker->number,
                         speaker->answered, (int)(part < 60 ? part : 60), bytes, (int)(part < 60 ? part : 60),
                         buffer_bytes(&speaker->answer));
        buffer_consume(&speaker->answer, part);
        if (speaker->answer.length == 0)
            speaker->answered++;
        bytes += part;
        count -= part;
    }
}

static void listen_to_it(const struct dialogue *dialogue, struct speaker *speaker, struct place place)
{
    static char received[CHUNK];
    ssize_t got = recv(speaker->socket, received, speaker->piece, MSG_DONTWAIT);

    if (got == 0 || (got == -1 && errno != EAGAIN && errno != EINTR))
        test_fail_at(place, "client %zu, step %zu of %zu: %s", speaker->number, speaker->answered,
                     dialogue->steps, got == 0 ? "the connection was closed" : strerror(errno));
    if (got > 0)
        compare(dialogue, speaker, received, (size_t)got, place);
}

/* What a client waits for now; nothing if it is done. */
static short interest(const struct dialogue *dialogue, struct speaker *speaker, struct place place)
{
    bool expects = expect_next(dialogue, speaker, place);
    short events = 0;

    if (speaker->request.length > 0 ||
        (speaker->asked < dialogue->steps && speaker->asked < speaker->answered + dialogue->depth))
        events |= POLLOUT;
    if (expects || events != 0)
        events |= POLLIN;
    return events;
}

/* One turn over all clients; false when nobody has anything left to do. */
static bool turn(const struct dialogue *dialogue, struct speaker *speakers, struct place place)
{
    struct pollfd watched[CLIENTS_MAX];
    bool left = false;

    for (size_t i = 0; i < dialogue->clients; i++) {
        short events = interest(dialogue, &speakers[i], place);

        watched[i] = (struct pollfd){ .fd = events != 0 ? speakers[i].socket : -1, .events = events };
        left = left || events != 0;
    }
    if (!left)
        return false;
    if (poll(watched, dialogue->clients, test_remaining(test_deadline(TEST_PATIENCE))) <= 0)
        test_fail_at(place, "no client got on any more");
    for (size_t i = 0; i < dialogue->clients; i++) {
        if ((watched[i].revents & POLLOUT) != 0)
            speak(dialogue, &speakers[i], place);
        if ((watched[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            listen_to_it(dialogue, &speakers[i], place);
    }
    return true;
}

int64_t dialogue_run_at(const struct dialogue *dialogue, struct place place)
{
    static const size_t pieces[] = { CHUNK, 1500, CHUNK, 30000 };
    static struct speaker speakers[CLIENTS_MAX];
    int64_t begin = test_now();

    if (dialogue->clients > CLIENTS_MAX)
        test_fail_at(place, "too many clients");
    for (size_t i = 0; i < dialogue->clients; i++)
        speakers[i] = (struct speaker){ .socket = peer_connect_at(NULL, "127.0.0.1", dialogue->port, place),
                                        .number = i,
                                        .piece = pieces[i % 4] };
    while (turn(dialogue, speakers, place))
        ;
    for (size_t i = 0; i < dialogue->clients; i++) {
        peer_expect_silence_at(speakers[i].socket, 0, place);
        close(speakers[i].socket);
        buffer_free(&speakers[i].request);
        buffer_free(&speakers[i].answer);
    }
    return test_now() - begin;
}
