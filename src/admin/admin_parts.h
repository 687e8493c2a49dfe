/* The parts of admin. Used inside this room only.
 *
 *   admin.c        clients and their turns, and libmicrohttpd inside the loop
 *   admin_http.c   which answer a request gets
 *   metrics.c, status.c, table.c, page.html   the content of the answers */
#ifndef ADMIN_ADMIN_PARTS_H
#define ADMIN_ADMIN_PARTS_H

#include "admin/admin.h"
#include "admin/history.h"
#include "base/list.h"

#include <ev.h>
#include <microhttpd.h>

/* The text of page.html; the build turns it into a string. */
extern const char page_html[];

/* Owned by its service; freed in admin_reap() only. */
struct admin_client {
    struct list_node node; /* in `clients`, or in `gone` */
    struct address address;
    int descriptor; /* libmicrohttpd's: it is closed there */
    enum reason reason;
    struct list_node turn; /* in `waiting`, while its request is read and its answer put off */
    uint64_t last_run;     /* the run in which its request last came up */
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
    struct list clients; /* by their last activity, the oldest first */
    struct list gone;    /* that libmicrohttpd has closed, or is about to */
    struct list waiting; /* for an answer; the first one is the next */
    uint64_t run;        /* number of the present run of libmicrohttpd */
    int64_t began;       /* microseconds: the beginning of that run */
    int64_t rests_until; /* microseconds: until then the loop belongs to the traffic */
    size_t client_count;
};

/* Whether a request of this method only wants to read. */
bool admin_http_reads(const char *method);

/* Whether the answer for this path is short and must not wait behind long ones. */
bool admin_http_is_quick(const char *url);

/* Answers one request. MHD_NO closes the connection. */
enum MHD_Result admin_http_answer(const struct admin_service *admin, struct MHD_Connection *connection,
                                  const char *url, const char *method);

#endif
