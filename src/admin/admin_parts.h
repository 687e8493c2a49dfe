/* The parts of admin, and how they work together. Used inside this room only.
 *
 *   admin.c    clients, and libmicrohttpd inside the loop
 *   http.c     which answer a request gets
 *   metrics.c, status.c, table.c, page.html   what the answers are made of */
#ifndef ADMIN_ADMIN_PARTS_H
#define ADMIN_ADMIN_PARTS_H

#include "admin/admin.h"
#include "admin/history.h"
#include "base/list.h"

#include <ev.h>
#include <microhttpd.h>

/* Owned by its service; freed in admin_reap() only. */
struct admin_client {
    struct list_node node; /* in `clients`, or in `gone` */
    struct address address;
    int descriptor; /* libmicrohttpd's: it is closed there */
    enum reason reason;
    struct list_node turn; /* in `waiting`, if it waits */
    bool waits;            /* its request is read, and has been put off */
    uint64_t asked;        /* the run in which it last came to that */
};

/* Owned by the listener. */
struct admin_service {
    struct service service;
    struct runtime *runtime;
    struct listener_settings *settings;
    struct service_owner owner;
    struct admin_source source;
    struct MHD_Daemon *daemon;
    ev_io watcher; /* of the daemon's epoll descriptor */
    ev_timer timer;
    ev_timer sampling; /* of the history */
    struct history_book book;
    struct list clients; /* who had an answer, or came in, longest ago is the first */
    struct list gone;    /* whom libmicrohttpd has let go, or is about to */
    struct list waiting; /* for an answer; the first one is the next */
    uint64_t run;        /* of libmicrohttpd */
    int64_t began;       /* microseconds: when that did */
    int64_t rests_until; /* microseconds; the traffic's time until then */
    size_t client_count;
    size_t descriptors; /* reserved in the account */
};

/* Whether a request of this method only wants to read. */
bool admin_http_reads(const char *method);

/* Whether the answer for this path is short and must not wait behind long ones. */
bool admin_http_is_quick(const char *url);

/* Answers one request. MHD_NO closes the connection. */
enum MHD_Result admin_http_answer(const struct admin_service *admin, struct MHD_Connection *connection,
                                  const char *url, const char *method);

#endif
