/* Asks a running instance at its admin address. */
#include "admin/admin.h"

#include "base/clock.h"
#include "net/socket.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long an instance may take over its whole answer, microseconds. */
#define ASK_PATIENCE 5000000

/* A longer answer does not come from Proximux. */
#define ASK_ANSWER_MAX ((size_t)256 * 1024 * 1024)

/* One try at one address. */
struct ask {
    int descriptor;
    int64_t deadline; /* of clock_now() */
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

static bool ask_wait(struct ask *ask, short events)
{
    struct pollfd entry = { .fd = ask->descriptor, .events = events };
    int count;
    do {
        int64_t left = ask->deadline - clock_now();
        count = poll(&entry, 1, left > 0 ? (int)(left / 1000) : 0);
    } while (count == -1 && errno == EINTR);
    if (count == 1)
        return true;
    return ask_fail(ask, count == 0 ? "it takes connections, but does not answer" : strerror(errno));
}

static bool ask_send(struct ask *ask)
{
    char request[512];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                          ask->path, ask->host);
    if (!ask_wait(ask, POLLOUT))
        return false;
    int error = socket_error(ask->descriptor);
    if (error != 0)
        return ask_fail(ask, strerror(error));
    /* so few bytes fit into the buffer of a new connection */
    if (send(ask->descriptor, request, (size_t)length, MSG_NOSIGNAL) == length)
        return true;
    return ask_fail(ask, strerror(errno));
}

static bool ask_receive(struct ask *ask)
{
    char bytes[16384];
    for (;;) {
        if (!ask_wait(ask, POLLIN))
            return false;
        ssize_t length = recv(ask->descriptor, bytes, sizeof bytes, 0);
        if (length == -1 && socket_would_wait(errno))
            continue;
        if (length == -1)
            return ask_fail(ask, strerror(errno));
        if (length == 0)
            return true;
        buffer_append(&ask->answer, bytes, (size_t)length);
        if (ask->answer.failed || ask->answer.length > ASK_ANSWER_MAX)
            return ask_fail(ask, "the answer is too long");
    }
}

/* Cuts the answer down to its body, and sees that all of that is there. */
static bool ask_take_body(struct ask *ask)
{
    static const char field[] = "\r\nContent-Length:";
    int status = 0;
    buffer_append(&ask->answer, "", 1); /* ends the text */
    if (ask->answer.failed)
        return ask_fail(ask, strerror(ENOMEM));
    char *text = buffer_bytes(&ask->answer);
    char *end = strstr(text, "\r\n\r\n");
    if (end == NULL || sscanf(text, "HTTP/1.%*1[01] %d", &status) != 1)
        return ask_fail(ask, "what answers there is not Proximux");
    end[2] = '\0';
    const char *found = strcasestr(text, field);
    long long length = found == NULL ? -1 : strtoll(found + sizeof field - 1, NULL, 10);
    buffer_consume(&ask->answer, (size_t)(end + 4 - text));
    buffer_truncate(&ask->answer, ask->answer.length - 1);
    if (status == 403 || status == 404) /* another program, or a version that does not know the path */
        return ask_fail(ask, "what answers there does not know of this");
    if (status != 200 || length != (long long)ask->answer.length)
        return ask_fail(ask, "the answer is not complete");
    return true;
}

/* Asks at a path or at an address. */
static bool ask_at(struct ask *ask, const char *path, const struct address *address)
{
    buffer_free(&ask->answer);
    ask->deadline = clock_now() + ASK_PATIENCE;
    if (path != NULL)
        snprintf(ask->host, sizeof ask->host, "localhost");
    else
        address_print(address, ask->host);
    ask->descriptor = path != NULL ? socket_connect_unix(path) : socket_connect(address);
    if (ask->descriptor == -1)
        return ask_fail(ask, strerror(errno));
    bool success = ask_send(ask) && ask_receive(ask) && ask_take_body(ask);
    close(ask->descriptor);
    return success;
}

/* Asks at each address that the machine has for a name. Linux takes the address of a listener on all addresses, as
 * one to connect to, for the loopback address. */
static bool ask_by_name(struct ask *ask, const char *name, uint16_t port)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    int status = getaddrinfo(name, NULL, &hints, &found);
    if (status != 0)
        return ask_fail(ask, gai_strerror(status));
    bool success = false;
    for (const struct addrinfo *entry = found; entry != NULL && !success; entry = entry->ai_next) {
        struct address address;
        address_from_socket(entry->ai_addr, &address);
        address_set_port(&address, port);
        success = ask_at(ask, NULL, &address);
    }
    freeaddrinfo(found);
    return success;
}

static bool ask_endpoint(struct ask *ask, const struct endpoint *endpoint)
{
    switch (endpoint->kind) {
    case ENDPOINT_UNIX:
        return ask_at(ask, endpoint->host, NULL);
    case ENDPOINT_SYSTEMD:
        return ask_fail(ask, "only systemd knows where that is");
    case ENDPOINT_ANY:
        return ask_by_name(ask, "localhost", endpoint->port);
    case ENDPOINT_NUMERIC:
    case ENDPOINT_NAME:
        break;
    }
    return ask_by_name(ask, endpoint->host, endpoint->port);
}

bool admin_ask(const struct listener_settings *admin, const char *path, struct buffer *body, char *error)
{
    struct ask ask = { .path = path };
    bool success = false;
    size_t used = 0;
    error[0] = '\0';
    for (size_t i = 0; i < admin->listen_count && !success; i++) {
        char address[160];
        success = ask_endpoint(&ask, &admin->listen[i]);
        if (!success && used < ADMIN_ASK_ERROR_SIZE)
            used +=
                (size_t)snprintf(error + used, ADMIN_ASK_ERROR_SIZE - used, "%s%s: %s", i == 0 ? "" : "; ",
                                 endpoint_print(&admin->listen[i], address, sizeof address), ask.reason);
    }
    if (success)
        buffer_move(body, &ask.answer);
    buffer_free(&ask.answer);
    return success;
}
