/* Both ends for tests/bench/outages, which compiles it.
 *
 *   outages_peer device PORT                          a modbus device: each request is answered at once
 *   outages_peer client PROTOCOL PORT PAUSE SECONDS   asks again and again, PAUSE milliseconds apart
 *
 * A client writes a line for each request: when it was asked, and had its answer or failed, in seconds since 1970, and
 * "ok" or what went wrong. It is patient (10 s), and stays connected, but for postgresql, where each asks anew. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE     10.0
#define MAX_CLIENTS  64
#define MBAP_REQUEST 12

struct protocol {
    const char *name;
    const char *request;
    size_t length;
    const char *good; /* the answer is whole, and right, when this is in it */
    size_t good_length;
    bool connects_anew;
};

#define BYTES(text) text, sizeof(text) - 1

static const struct protocol protocols[] = {
    { "redis", BYTES("PING\r\n"), BYTES("+PONG\r\n"), false },
    { "http", BYTES("GET /page HTTP/1.1\r\nHost: here\r\n\r\n"), BYTES("page\n"), false },
    { "modbus", BYTES("\0\7\0\0\0\6\1\3\0\0\0\1"), BYTES("\1\3\2\0\52"), false },
    { "postgresql", BYTES("\0\0\0\51\0\3\0\0user\0postgres\0database\0postgres\0\0Q\0\0\0\15select 1\0"),
      BYTES("SELECT 1\0Z\0\0\0\5I"), true },
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void rest(long milliseconds)
{
    nanosleep(&(struct timespec){ milliseconds / 1000, milliseconds % 1000 * 1000000 }, NULL);
}

static struct sockaddr_in address_of(const char *port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)atoi(port)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int client_connect(const char *port)
{
    struct sockaddr_in address = address_of(port);
    int socket_ = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(socket_, (struct sockaddr *)&address, sizeof address) == 0)
        return socket_;
    close(socket_);
    return -1;
}

/* NULL: it was answered; else what went wrong. */
static const char *client_ask(int socket_, const struct protocol *protocol)
{
    char answer[8192];
    size_t length = 0;
    double end = now() + PATIENCE;
    if (send(socket_, protocol->request, protocol->length, MSG_NOSIGNAL) != (ssize_t)protocol->length)
        return "reset";
    while (memmem(answer, length, protocol->good, protocol->good_length) == NULL) {
        struct pollfd watched = { .fd = socket_, .events = POLLIN };
        double left = end - now();
        if (left <= 0 || poll(&watched, 1, (int)(left * 1000) + 1) == 0)
            return "silent";
        ssize_t count = recv(socket_, answer + length, sizeof answer - length, 0);
        if (count <= 0)
            return length > 0 ? "error" : count == 0 ? "closed" : "reset";
        length += (size_t)count;
        bool is_error = answer[0] == '-' || (length > 9 && memcmp(answer, "HTTP/1.1 5", 10) == 0) ||
                        (protocol->name[0] == 'm' && length > 7 && answer[7] & 0x80);
        if (is_error || length == sizeof answer)
            return "error";
    }
    return NULL;
}

static int client(const char *name, const char *port, long pause, double seconds)
{
    const struct protocol *protocol = protocols;
    double end = now() + seconds;
    int socket_ = -1;
    while (strcmp(protocol->name, name) != 0)
        protocol++;
    while (now() < end) {
        double begin = now();
        if (socket_ == -1)
            socket_ = client_connect(port);
        const char *failure = socket_ == -1 ? "refused" : client_ask(socket_, protocol);
        printf("%.3f %.3f %s\n", begin, now(), failure == NULL ? "ok" : failure);
        if (socket_ != -1 && (failure != NULL || protocol->connects_anew)) {
            close(socket_);
            socket_ = -1;
        }
        rest(pause);
    }
    return 0;
}

/* Function 3, one register of 42: transaction and unit come back. */
static bool device_answer(int socket_)
{
    unsigned char request[MBAP_REQUEST];
    if (recv(socket_, request, sizeof request, MSG_WAITALL) != sizeof request)
        return false;
    unsigned char answer[11] = { request[0], request[1], 0, 0, 0, 5, request[6], request[7], 2, 0, 42 };
    return send(socket_, answer, sizeof answer, MSG_NOSIGNAL) == sizeof answer;
}

static int device(const char *port)
{
    struct pollfd watched[MAX_CLIENTS];
    nfds_t count = 1;
    struct sockaddr_in address = address_of(port);
    watched[0] = (struct pollfd){ .fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN };
    setsockopt(watched[0].fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (bind(watched[0].fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(watched[0].fd, 100) != 0)
        return 1;
    for (;;) {
        watched[0].events = count < MAX_CLIENTS ? POLLIN : 0;
        poll(watched, count, -1);
        for (nfds_t i = count - 1; i > 0; i--)
            if (watched[i].revents != 0 && !device_answer(watched[i].fd)) {
                close(watched[i].fd);
                watched[i] = watched[--count];
            }
        if (watched[0].revents != 0)
            watched[count++] = (struct pollfd){ .fd = accept(watched[0].fd, NULL, NULL), .events = POLLIN };
    }
}

int main(int count, char **arguments)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 3 && strcmp(arguments[1], "device") == 0)
        return device(arguments[2]);
    if (count == 6 && strcmp(arguments[1], "client") == 0)
        return client(arguments[2], arguments[3], atol(arguments[4]), atof(arguments[5]));
    return 2;
}
