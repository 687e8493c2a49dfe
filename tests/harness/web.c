#include "harness/web.h"

#include "harness/peer.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads to the end of the stream; a reset ends it as well. */
static char *read_all(int socket, size_t *length, struct place place)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);
    size_t capacity = 65536;
    char *text = malloc(capacity);
    *length = 0;
    for (;;) {
        struct pollfd poll_entry = { .fd = socket, .events = POLLIN };
        if (text == NULL || poll(&poll_entry, 1, test_remaining(deadline)) != 1)
            test_fail_at(place, "no end of the answer came, only %zu bytes", *length);
        ssize_t count = recv(socket, text + *length, capacity - *length - 1, 0);
        if (count <= 0)
            break;
        *length += (size_t)count;
        if (capacity - *length < 4096) {
            capacity *= 2;
            char *grown = realloc(text, capacity);
            if (grown == NULL)
                free(text);
            text = grown;
        }
    }
    text[*length] = '\0';
    return text;
}

struct web_answer web_ask_at(const char *address, unsigned port, const char *request, struct place place)
{
    struct web_answer answer = { 0 };
    size_t length;
    int socket = peer_connect_at(NULL, address, port, place);
    /* who is turned away may see a reset here */
    (void)!send(socket, request, strlen(request), MSG_NOSIGNAL);
    char *text = read_all(socket, &length, place);
    close(socket);
    char *end = strstr(text, "\r\n\r\n");
    answer.head = text;
    if (end == NULL)
        return answer;
    end[2] = '\0';
    answer.body = end + 4;
    answer.length = length - (size_t)(answer.body - text);
    if (sscanf(text, "HTTP/1.%*d %d ", &answer.status) != 1)
        test_fail_at(place, "no status in \"%s\"", text);
    return answer;
}

struct web_answer web_get_at(const char *address, unsigned port, const char *host, const char *path,
                             struct place place)
{
    char request[512];
    if (host == NULL)
        snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
    else
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path,
                 host);
    return web_ask_at(address, port, request, place);
}

void web_free(struct web_answer *answer)
{
    free(answer->head);
    *answer = (struct web_answer){ 0 };
}

long long web_metric_at(const char *metrics, const char *name, struct place place)
{
    size_t length = strlen(name);
    for (const char *line = metrics; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            return strtoll(line + length, NULL, 10);
    }
    test_fail_at(place, "the metrics have no %s", name);
}

long long web_figure_at(unsigned port, const char *name, struct place place)
{
    struct web_answer answer = web_get_at("127.0.0.1", port, "127.0.0.1", "/metrics", place);
    long long value = web_metric_at(answer.body, name, place);
    web_free(&answer);
    return value;
}

bool web_has(unsigned port, const char *path, const char *text)
{
    struct web_answer answer = web_get("127.0.0.1", port, "localhost", path);
    bool has = strstr(answer.body, text) != NULL;

    web_free(&answer);
    return has;
}

int web_status(unsigned port, const char *path)
{
    struct web_answer answer = web_get("127.0.0.1", port, "localhost", path);
    int status = answer.status;

    web_free(&answer);
    return status;
}
