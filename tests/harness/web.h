/* A client of the program's own pages: one request, its whole answer, and what metrics say. */
#ifndef HARNESS_WEB_H
#define HARNESS_WEB_H

#include "harness/test.h"

/* Owned by the caller: web_free(). */
struct web_answer {
    int status; /* 0: the connection ended without an answer */
    char *head; /* status line and fields */
    char *body;
    size_t length;
};

/* Asks for a path; `address` and `port` as for peer_connect(), `host` is what the field Host says (NULL: an
 * HTTP/1.0 request without one). */
#define web_get(address, port, host, path) web_get_at((address), (port), (host), (path), HERE)
struct web_answer web_get_at(const char *address, unsigned port, const char *host, const char *path,
                             struct place place);

/* Sends a whole request as it is written, and reads until the other side closes. */
#define web_ask(address, port, request) web_ask_at((address), (port), (request), HERE)
struct web_answer web_ask_at(const char *address, unsigned port, const char *request, struct place place);

void web_free(struct web_answer *answer);

/* The value of the sample `name`, labels included, in metrics; fails the test if there is none. */
#define web_metric(metrics, name) web_metric_at((metrics), (name), HERE)
long long web_metric_at(const char *metrics, const char *name, struct place place);

/* Asks 127.0.0.1 for its metrics anew and gives the value of one. */
#define web_figure(port, name) web_figure_at((port), (name), HERE)
long long web_figure_at(unsigned port, const char *name, struct place place);

/* Asks 127.0.0.1 for a path: whether the answer has this text; its status. */
bool web_has(unsigned port, const char *path, const char *text);
int web_status(unsigned port, const char *path);

#endif
