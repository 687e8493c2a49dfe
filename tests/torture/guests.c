#include "guests.h"

#include "harness/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_MILLISECONDS 3

const char *guest_end_name(enum guest_end end)
{
    static const char *const names[] = { "served", "refused", "closed", "stuck", "wrong" };

    return names[end];
}

/* Bytes that no other request has. */
static void fill(char *text, size_t size, unsigned long serial)
{
    int head = snprintf(text, size, "%lu:", serial);

    for (size_t i = head > 0 ? (size_t)head : 0; i < size; i++)
        text[i] = (char)('a' + (serial + i / 7) % 26);
}

static void write_request(struct guest *guest, struct place place)
{
    static unsigned long serial;
    size_t size = guest->size > 24 ? guest->size : 24;
    char head[96] = "";
    const char *tail = "";
    char *text = malloc(size + 1);
    char *grown;
    size_t length;

    if (text == NULL)
        test_fail_at(place, "out of memory");
    fill(text, size, ++serial);
    if (guest->language == GUEST_REDIS) {
        snprintf(head, sizeof(head), "*2\r\n$3\r\nGET\r\n$%zu\r\n", size);
        tail = "\r\n";
    } else if (guest->language == GUEST_LINE) {
        tail = "\n";
    } else if (guest->language == GUEST_WEB) {
        snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                 guest->path);
        size = 0;
    }
    length = strlen(head) + size + strlen(tail);
    grown = realloc(guest->sent, guest->length + length);
    if (grown == NULL)
        test_fail_at(place, "out of memory");
    guest->sent = grown;
    memcpy(grown + guest->length, head, strlen(head));
    memcpy(grown + guest->length + strlen(head), text, size);
    memcpy(grown + guest->length + strlen(head) + size, tail, strlen(tail));
    guest->length += length;
    free(text);
}

/* The length of an error at the beginning of the text; 0: there is none. */
static size_t error_length(const struct guest *guest, const char *text, size_t length)
{
    const char *begin = guest->language == GUEST_REDIS ? "-ERR proximux: " : "ERROR";
    const char *end;

    if (guest->language == GUEST_RAW || length < strlen(begin) || memcmp(text, begin, strlen(begin)) != 0)
        return 0;
    end = memchr(text, '\n', length);
    return end != NULL ? (size_t)(end - text) + 1 : 0;
}

/* How the answers compare with the requests: the end of a guest, as far as it can be said. */
static enum guest_end judge_answers(const struct guest *guest)
{
    size_t each = guest->length / guest->requests;
    size_t place = 0;
    bool refused = false;

    for (size_t i = 0; i < guest->requests; i++) {
        size_t left = guest->got_length - place;
        size_t error = error_length(guest, guest->got + place, left);
        size_t compared = left < each ? left : each;
        const char *begin = guest->language == GUEST_REDIS ? "-ERR" : "ERROR";

        if (error > 0) {
            refused = true;
            place += error;
            continue;
        }
        if (guest->language != GUEST_RAW && left > 0 && left < 64 && guest->got[place] == begin[0])
            return GUEST_CLOSED; /* the beginning of one */
        if (compared > 0 && memcmp(guest->got + place, guest->sent + i * each, compared) != 0)
            return GUEST_WRONG;
        if (left < each)
            return GUEST_CLOSED;
        place += each;
    }
    if (place < guest->got_length) {
        /* an error that stands alone: why the connection is closed */
        size_t error = error_length(guest, guest->got + place, guest->got_length - place);

        return error == guest->got_length - place ? GUEST_REFUSED : GUEST_WRONG;
    }
    return refused ? GUEST_REFUSED : GUEST_SERVED;
}

static enum guest_end judge_page(const struct guest *guest)
{
    static const char sign[] = "HTTP/1.1 ";
    const char *length_field, *body;

    if (guest->got_length == 0)
        return GUEST_CLOSED;
    if (guest->got_length < sizeof(sign) + 3 || memcmp(guest->got, sign, strlen(sign)) != 0)
        return GUEST_WRONG;
    guest->got[guest->got_length] = '\0';
    if (strncmp(guest->got + strlen(sign), "200", 3) != 0)
        return GUEST_REFUSED;
    length_field = strcasestr(guest->got, "\r\nContent-Length: ");
    body = strstr(guest->got, "\r\n\r\n");
    if (length_field == NULL || body == NULL || length_field > body)
        return GUEST_CLOSED;
    if (strtoul(length_field + 18, NULL, 10) != guest->got_length - (size_t)(body + 4 - guest->got))
        return GUEST_CLOSED;
    return GUEST_SERVED;
}

static enum guest_end judge(const struct guest *guest)
{
    if (guest->vanishes)
        return GUEST_SERVED;
    return guest->language == GUEST_WEB ? judge_page(guest) : judge_answers(guest);
}

static void finish(struct guest *guest, enum guest_end end)
{
    enum guest_end judged = judge(guest);

    guest->over = true;
    guest->end = judged == GUEST_WRONG || (judged != GUEST_CLOSED && end != GUEST_STUCK) ? judged : end;
    if (guest->socket != -1) {
        if (guest->vanishes)
            peer_reset(guest->socket);
        else
            close(guest->socket);
    }
    guest->socket = -1;
}

/* All answers are there. A guest whose stream has ended, and that of a web page, waits for the end. */
static bool has_all(const struct guest *guest)
{
    enum guest_end judged;

    if (guest->language == GUEST_WEB || guest->half_close)
        return false;
    if (guest->language == GUEST_RAW && guest->got_length < guest->length)
        return false;
    judged = judge_answers(guest);
    return judged == GUEST_SERVED || judged == GUEST_REFUSED || judged == GUEST_WRONG;
}

static void begin(struct guest *guest, struct place place)
{
    guest->length = guest->written = guest->got_length = 0;
    guest->sent = NULL;
    guest->got = NULL;
    guest->got_room = 0;
    guest->over = guest->has_ended = false;
    guest->resume = 0;
    for (size_t i = 0; i < guest->requests; i++)
        write_request(guest, place);
    guest->socket = peer_try_connect(NULL, "127.0.0.1", guest->port);
    if (guest->socket == -1)
        finish(guest, GUEST_CLOSED);
}

static void talk(struct guest *guest)
{
    size_t limit = guest->length;
    ssize_t taken;

    if (guest->pauses && guest->written <= guest->length / 2) {
        limit = guest->length / 2;
        if (guest->written == limit) {
            if (guest->resume == 0)
                guest->resume = test_now() + PAUSE_MILLISECONDS;
            if (test_now() < guest->resume)
                return;
            limit = guest->length;
        }
    }
    if (guest->written < limit) {
        taken = send(guest->socket, guest->sent + guest->written, limit - guest->written,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
        if (taken > 0)
            guest->written += (size_t)taken;
        else if (taken == -1 && errno != EAGAIN)
            guest->written = guest->length; /* what comes is still read */
    }
    if (guest->written < guest->length || guest->has_ended)
        return;
    guest->has_ended = true;
    if (guest->vanishes)
        finish(guest, GUEST_SERVED);
    else if (guest->half_close)
        peer_end(guest->socket);
}

/* False: nothing came. */
static bool listen_to(struct guest *guest, struct place place)
{
    ssize_t got;

    if (guest->got_room - guest->got_length < 65536) {
        char *grown = realloc(guest->got, guest->got_room + 262144 + 1);

        if (grown == NULL)
            test_fail_at(place, "out of memory");
        guest->got = grown;
        guest->got_room += 262144;
    }
    got = recv(guest->socket, guest->got + guest->got_length, guest->got_room - guest->got_length,
               MSG_DONTWAIT);
    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got > 0)
        guest->got_length += (size_t)got;
    if (got <= 0)
        finish(guest, GUEST_CLOSED);
    else if (has_all(guest))
        finish(guest, GUEST_SERVED);
    return true;
}

/* Fills in what to wait for; false: all are over. `wait` becomes the milliseconds. */
static bool watch(struct guest *guests, size_t count, struct pollfd *watched, int *wait)
{
    bool any = false;

    for (size_t i = 0; i < count; i++) {
        bool waits = guests[i].resume > test_now();

        watched[i] = (struct pollfd){ .fd = guests[i].over ? -1 : guests[i].socket, .events = POLLIN };
        if (guests[i].over)
            continue;
        any = true;
        if (waits)
            *wait = PAUSE_MILLISECONDS;
        else if (!guests[i].has_ended)
            watched[i].events |= POLLOUT;
    }
    return any;
}

void guests_run_at(struct guest *guests, size_t count, int milliseconds, struct place place)
{
    struct pollfd watched[GUESTS_MAX];
    int64_t deadline = test_deadline(milliseconds);
    int wait = milliseconds;

    for (size_t i = 0; i < count; i++)
        begin(&guests[i], place);
    while (watch(guests, count, watched, &wait) && test_now() < deadline) {
        poll(watched, count, wait < test_remaining(deadline) ? wait : test_remaining(deadline));
        wait = milliseconds;
        for (size_t i = 0; i < count; i++) {
            if (!guests[i].over)
                talk(&guests[i]);
            if (!guests[i].over && watched[i].revents & (POLLIN | POLLHUP | POLLERR) &&
                listen_to(&guests[i], place))
                deadline = test_deadline(milliseconds);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!guests[i].over)
            finish(&guests[i], GUEST_STUCK);
        free(guests[i].sent);
        free(guests[i].got);
        guests[i].sent = guests[i].got = NULL;
    }
}
