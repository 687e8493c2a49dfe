#include "admin/ask.h"

#include "net/socket.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/* How long an instance may take over its whole answer, milliseconds. */
#define PATIENCE 5000

/* A longer answer does not come from Proximux. */
#define ANSWER_MAX ((size_t)256 * 1024 * 1024)

/* One try at one address. */
struct ask {
    int descriptor;
    struct timespec deadline;
    const char *path;
    char host[ADDRESS_TEXT_SIZE]; /* for the field Host */
    struct buffer answer;
    char reason[200]; /* why it failed */
};

static bool ask_fail(struct ask *ask, const char *reason)
{
    snprintf(ask->reason, sizeof ask->reason, "%s", reason);
    return false;
}

static int remaining(const struct ask *ask)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t left =
        ((int64_t)ask->deadline.tv_sec - now.tv_sec) * 1000 + (ask->deadline.tv_nsec - now.tv_nsec) / 1000000;
    return left > 0 ? (int)left : 0;
}

static bool wait_for(struct ask *ask, short events)
{
    struct pollfd entry = { .fd = ask->descriptor, .events = events };
    int count;
    do
        count = poll(&entry, 1, remaining(ask));
    while (count == -1 && errno == EINTR);
    if (count == 1)
        return true;
    return ask_fail(ask, count == 0 ? "it takes connections, but does not answer" : strerror(errno));
}

static bool finish_connecting(struct ask *ask, int connect_errno)
{
    if (ask->descriptor == -1)
        return ask_fail(ask, strerror(errno));
    if (connect_errno == 0)
        return true;
    if (!wait_for(ask, POLLOUT))
        return false;
    int error = socket_error(ask->descriptor);
    return error == 0 || ask_fail(ask, strerror(error));
}

static bool send_request(struct ask *ask)
{
    char request[512];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                          ask->path, ask->host);
    /* so few bytes fit into the buffer of a new connection */
    if (send(ask->descriptor, request, (size_t)length, MSG_NOSIGNAL) == length)
        return true;
    return ask_fail(ask, strerror(errno));
}

static bool receive_answer(struct ask *ask)
{
    char bytes[16384];
    for (;;) {
        if (!wait_for(ask, POLLIN))
            return false;
        ssize_t length = recv(ask->descriptor, bytes, sizeof bytes, 0);
        if (length == -1 && socket_would_wait(errno))
            continue;
        if (length == -1)
            return ask_fail(ask, strerror(errno));
        if (length == 0)
            return true;
        buffer_append(&ask->answer, bytes, (size_t)length);
        if (ask->answer.failed || ask->answer.length > ANSWER_MAX)
            return ask_fail(ask, "the answer is too long");
    }
}

/* The number in the field Content-Length of a head that ends with a zero byte; -1 if it has none. */
static long long content_length(const char *head)
{
    static const char name[] = "\r\nContent-Length:";
    const char *field = strcasestr(head, name);
    return field == NULL ? -1 : strtoll(field + sizeof name - 1, NULL, 10);
}

/* Cuts the answer down to its body, and sees that all of that is there. */
static bool take_body(struct ask *ask)
{
    int status = 0;
    buffer_append(&ask->answer, "", 1); /* ends the text */
    if (ask->answer.failed)
        return ask_fail(ask, strerror(ENOMEM));
    char *text = buffer_bytes(&ask->answer);
    char *end = strstr(text, "\r\n\r\n");
    if (end == NULL || sscanf(text, "HTTP/1.%*1[01] %d", &status) != 1)
        return ask_fail(ask, "what answers there is not Proximux");
    end[2] = '\0';
    long long length = content_length(text);
    buffer_consume(&ask->answer, (size_t)(end + 4 - text));
    buffer_truncate(&ask->answer, ask->answer.length - 1);
    if (status == 403 || status == 404) /* another program, or a version that does not know the path */
        return ask_fail(ask, "what answers there does not know of this");
    if (status != 200 || length != (long long)ask->answer.length)
        return ask_fail(ask, "the answer is not complete");
    return true;
}

static bool exchange(struct ask *ask, int connect_errno)
{
    bool success =
        finish_connecting(ask, connect_errno) && send_request(ask) && receive_answer(ask) && take_body(ask);
    if (ask->descriptor != -1)
        close(ask->descriptor);
    ask->descriptor = -1;
    return success;
}

static void ask_begin(struct ask *ask)
{
    buffer_free(&ask->answer);
    clock_gettime(CLOCK_MONOTONIC, &ask->deadline);
    ask->deadline.tv_sec += PATIENCE / 1000;
}

static bool try_unix(struct ask *ask, const char *path)
{
    ask_begin(ask);
    snprintf(ask->host, sizeof ask->host, "localhost");
    ask->descriptor = socket_connect_unix(path);
    return exchange(ask, errno);
}

static bool try_address(struct ask *ask, const struct address *address)
{
    ask_begin(ask);
    address_print(address, ask->host);
    ask->descriptor = socket_connect(address);
    return exchange(ask, errno);
}

/* A name, or "*", by each address that the machine has for it. */
static bool try_name(struct ask *ask, const struct endpoint *endpoint)
{
    const char *name = endpoint->kind == ENDPOINT_ANY ? "localhost" : endpoint->host;
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    int status = getaddrinfo(name, NULL, &hints, &found);
    if (status != 0)
        return ask_fail(ask, gai_strerror(status));
    bool success = false;
    for (const struct addrinfo *entry = found; entry != NULL && !success; entry = entry->ai_next) {
        struct address address;
        address_from_socket(entry->ai_addr, &address);
        address_set_port(&address, endpoint->port);
        success = try_address(ask, &address);
    }
    freeaddrinfo(found);
    return success;
}

/* A listener on all addresses is asked at the loopback address. */
static bool try_numeric(struct ask *ask, const struct address *address)
{
    struct address own = *address;
    if (own.family == AF_INET && own.v4.sin_addr.s_addr == htonl(INADDR_ANY))
        own.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (own.family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&own.v6.sin6_addr))
        own.v6.sin6_addr = in6addr_loopback;
    return try_address(ask, &own);
}

static bool try_endpoint(struct ask *ask, const struct endpoint *endpoint)
{
    switch (endpoint->kind) {
    case ENDPOINT_UNIX:
        return try_unix(ask, endpoint->host);
    case ENDPOINT_NUMERIC:
        return try_numeric(ask, &endpoint->address);
    case ENDPOINT_SYSTEMD:
        return ask_fail(ask, "only systemd knows where that is");
    case ENDPOINT_NAME:
    case ENDPOINT_ANY:
        break;
    }
    return try_name(ask, endpoint);
}

bool ask_running(const struct listener_settings *admin, const char *path, struct buffer *body, char *error,
                 size_t error_size)
{
    struct ask ask = { .path = path, .descriptor = -1 };
    bool success = false;
    size_t used = 0;
    error[0] = '\0';
    for (size_t i = 0; i < admin->listen_count && !success; i++) {
        char address[160];
        success = try_endpoint(&ask, &admin->listen[i]);
        if (!success && used < error_size)
            used += (size_t)snprintf(error + used, error_size - used, "%s%s: %s", i == 0 ? "" : "; ",
                                     endpoint_print(&admin->listen[i], address, sizeof address), ask.reason);
    }
    if (success)
        buffer_move(body, &ask.answer);
    buffer_free(&ask.answer);
    return success;
}
