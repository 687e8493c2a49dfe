/* The clients of admin, and libmicrohttpd inside the loop. */
#include "admin/admin.h"

#include "admin/admin_parts.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Seconds without a byte after which libmicrohttpd lets a client go. */
#define CLIENT_TIMEOUT 60u

/* What libmicrohttpd may use for one client: request heads of browsers that carry many cookies fit. */
#define CLIENT_MEMORY ((size_t)32768)

/* Clients at a time; what is reserved: one for each, and epoll's. */
#define ADMIN_CLIENTS     32
#define ADMIN_DESCRIPTORS (ADMIN_CLIENTS + 1)

static struct admin_service *admin_of(struct service *service)
{
    return list_entry(service, struct admin_service, service);
}

/* Making answers may take one fifth of the time. Microseconds of a run after which further answers are put off;
 * of a run that needs no rest; and the length of a rest in terms of its run. */
#define RUN_TIME   1000
#define RUN_SHORT  500
#define REST_TIMES 4

/* Reports to the listener clients whose descriptors are closed by now. */
static void admin_reap(struct admin_service *admin)
{
    struct list_node *node;
    while ((node = list_first(&admin->gone)) != NULL) {
        struct admin_client *client = list_entry(node, struct admin_client, node);
        list_remove(node);
        admin->client_count--;
        admin->owner.ended(admin->owner.owner, &client->address,
                           &(struct service_summary){ .reason = client->reason });
        free(client);
    }
}

/* Sets the time of the next run: what libmicrohttpd asks for, but not before the rest is over. */
static void admin_set_timer(struct admin_service *admin)
{
    MHD_UNSIGNED_LONG_LONG milliseconds = 0;
    struct ev_loop *loop = admin->runtime->loop;
    int64_t rest = admin->rests_until - turn_now(loop);
    ev_timer_stop(loop, &admin->timer);
    if (rest > 0) {
        ev_io_stop(loop, &admin->watcher);
    } else {
        rest = 0;
        ev_io_start(loop, &admin->watcher);
        if (MHD_get_timeout(admin->daemon, &milliseconds) != MHD_YES)
            return;
    }
    ev_timer_set(&admin->timer, (double)milliseconds / 1e3 + (double)rest / 1e6, 0.0);
    ev_timer_start(loop, &admin->timer);
}

/* A client whose request did not come up in this run must not hold up the others. */
static void admin_forget_lost(struct admin_service *admin)
{
    list_foreach(&admin->waiting, node)
    {
        struct admin_client *client = list_entry(node, struct admin_client, turn);
        if (client->last_run != admin->run)
            list_remove(&client->turn);
    }
}

static void admin_run(struct admin_service *admin)
{
    admin->run++;
    admin->began = turn_refresh(&admin->runtime->turn);
    MHD_run(admin->daemon);
    admin_forget_lost(admin);
    admin_reap(admin);
    int64_t now = turn_refresh(&admin->runtime->turn);
    int64_t taken = now - admin->began;
    if (taken > RUN_SHORT && now + REST_TIMES * taken > admin->rests_until)
        admin->rests_until = now + REST_TIMES * taken;
    admin_set_timer(admin);
}

static void admin_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    if (events & EV_ERROR) { /* libev drops a watcher that it could not watch, unless it is set anew */
        ev_io_set(watcher, watcher->fd, EV_READ);
        ev_io_start(loop, watcher);
    }
    admin_run(watcher->data);
}

static void admin_timed(struct ev_loop *, ev_timer *watcher, int)
{
    admin_run(watcher->data);
}

static void admin_sample(struct ev_loop *, ev_timer *watcher, int)
{
    struct admin_service *admin = watcher->data;
    history_sample(&admin->book, &admin->source, admin->runtime->turn.now);
}

/* NULL: it is gone. */
static struct admin_client *admin_find(struct admin_service *admin, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    list_foreach(&admin->clients, node)
    {
        struct admin_client *client = list_entry(node, struct admin_client, node);
        if (info != NULL && client->descriptor == info->connect_fd)
            return client;
    }
    return NULL;
}

static void admin_move(struct admin_client *client, struct list *list)
{
    list_remove(&client->node);
    list_append(list, &client->node);
}

/* libmicrohttpd has taken a client, or is about to close it. */
static void admin_notified(void *data, struct MHD_Connection *connection, void **,
                           enum MHD_ConnectionNotificationCode code)
{
    struct admin_service *admin = data;
    struct admin_client *client = admin_find(admin, connection);
    if (code != MHD_CONNECTION_NOTIFY_CLOSED || client == NULL)
        return;
    list_remove(&client->turn);
    admin_move(client, &admin->gone);
}

/* libmicrohttpd has sent an answer; its client is the last one now that is closed for being idle. If it has read the
 * request together with the end behind it, it would wait as for an idle client: the shutdown makes it see that end. */
static void admin_completed(void *data, struct MHD_Connection *connection, void **,
                            enum MHD_RequestTerminationCode)
{
    struct admin_service *admin = data;
    struct admin_client *client = admin_find(admin, connection);
    char byte;
    if (client == NULL)
        return;
    admin_move(client, &admin->clients);
    if (recv(client->descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        shutdown(client->descriptor, SHUT_RD);
}

/* Whether this client's request may be answered now; if not, libmicrohttpd calls again. */
static bool admin_may_answer(struct admin_service *admin, struct MHD_Connection *connection)
{
    struct admin_client *client = admin_find(admin, connection);
    int64_t now = turn_refresh(&admin->runtime->turn); /* answers before this one took their time */
    if (client == NULL)
        return true;
    const struct list_node *first = list_first(&admin->waiting);
    client->last_run = admin->run;
    if (now >= admin->rests_until && now - admin->began < RUN_TIME &&
        (first == NULL || first == &client->turn)) {
        list_remove(&client->turn);
        return true;
    }
    if (!list_linked(&client->turn)) {
        list_append(&admin->waiting, &client->turn);
        admin_move(client, &admin->clients);
    }
    return false;
}

/* libmicrohttpd calls this first when the head of a request is read, then for each piece of a body, which is
 * thrown away, and at the end. An answer before the end closes the connection. */
static enum MHD_Result admin_requested(void *data, struct MHD_Connection *connection, const char *url,
                                       const char *method, const char *, const char *, size_t *upload_size,
                                       void **request)
{
    static char begun;
    bool reads = admin_http_reads(method);
    if (reads && (*request == NULL || *upload_size > 0)) {
        *request = &begun;
        *upload_size = 0;
        return MHD_YES;
    }
    if (reads && !admin_http_is_quick(url) && !admin_may_answer(data, connection))
        return MHD_YES;
    return admin_http_answer(data, connection, url, method);
}

/* Ends a client: libmicrohttpd sees the end of its socket, and closes it. */
static void admin_cut_off(struct admin_client *client, enum reason reason)
{
    client->reason = reason;
    shutdown(client->descriptor, SHUT_RDWR);
}

/* Makes room for one more client. */
static bool admin_make_room(struct admin_service *admin)
{
    const struct list_node *first = list_first(&admin->clients);
    if (admin->client_count < ADMIN_CLIENTS)
        return true;
    if (first != NULL) {
        admin_cut_off(list_entry(first, struct admin_client, node), REASON_OVER_LIMIT);
        admin_run(admin);
    }
    return admin->client_count < ADMIN_CLIENTS;
}

static void admin_start(struct service *service)
{
    struct admin_service *admin = admin_of(service);
    admin_sample(admin->runtime->loop, &admin->sampling, 0);
    ev_timer_start(admin->runtime->loop, &admin->sampling);
    admin->owner.ready(admin->owner.owner);
}

static void admin_accept(struct service *service, const struct service_client *accepted)
{
    const struct address *address = accepted->address;
    int descriptor = accepted->descriptor;
    struct admin_service *admin = admin_of(service);
    bool has_room = admin_make_room(admin);
    struct admin_client *client = has_room ? calloc(1, sizeof *client) : NULL;
    if (client == NULL) {
        struct service_summary summary = { .reason = has_room ? REASON_INTERNAL : REASON_OVER_LIMIT };
        close(descriptor);
        admin->owner.ended(admin->owner.owner, address, &summary);
        return;
    }
    client->address = *address;
    client->descriptor = descriptor;
    client->reason = REASON_CLIENT_CLOSED;
    list_append(&admin->clients, &client->node);
    admin->client_count++;
    socklen_t length = address->family == AF_UNIX ? sizeof address->family : address_length(address);
    if (MHD_add_connection(admin->daemon, descriptor, &address->any, length) != MHD_YES) {
        /* libmicrohttpd has closed it, and may have called admin_notified(). */
        client->reason = REASON_INTERNAL;
        admin_move(client, &admin->gone);
        admin_reap(admin);
    }
    admin_set_timer(admin);
}

/* Requests are answered at once, so that nothing is left to finish. */
static void admin_drain(struct service *)
{
}

static void admin_close(struct service *service, enum reason reason)
{
    struct admin_service *admin = admin_of(service);
    list_foreach(&admin->clients, node) admin_cut_off(list_entry(node, struct admin_client, node), reason);
    admin_run(admin);
}

static size_t admin_clients(const struct service *service)
{
    return list_entry(service, const struct admin_service, service)->client_count;
}

static size_t admin_none(const struct service *)
{
    return 0;
}

static void admin_destroy(struct service *service)
{
    struct admin_service *admin = admin_of(service);
    struct ev_loop *loop = admin->runtime->loop;
    ev_io_stop(loop, &admin->watcher);
    ev_timer_stop(loop, &admin->timer);
    ev_timer_stop(loop, &admin->sampling);
    if (admin->daemon != NULL)
        MHD_stop_daemon(admin->daemon); /* calls admin_notified() for each client */
    admin_reap(admin);
    history_free(&admin->book);
    descriptors_return(&admin->runtime->descriptors, ADMIN_DESCRIPTORS);
    listener_settings_release(admin->settings);
    free(admin);
}

static const struct service_functions admin_functions = {
    .descriptors_per_client = 0,
    .start = admin_start,
    .accept = admin_accept,
    .drain = admin_drain,
    .close = admin_close,
    .clients = admin_clients,
    .waiting = admin_none,
    .in_flight = admin_none,
    .targets = admin_none,
    .destroy = admin_destroy,
};

/* libmicrohttpd without threads or sockets of its own, and its epoll descriptor in our loop. False with
 * errno. */
static bool admin_start_daemon(struct admin_service *admin)
{
    admin->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, admin_requested, admin,
        MHD_OPTION_NOTIFY_CONNECTION, admin_notified, admin, MHD_OPTION_NOTIFY_COMPLETED, admin_completed,
        admin, MHD_OPTION_CONNECTION_LIMIT, (unsigned)ADMIN_CLIENTS, MHD_OPTION_CONNECTION_TIMEOUT,
        CLIENT_TIMEOUT, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CLIENT_MEMORY, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        admin->daemon == NULL ? NULL : MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL) {
        errno = ENOMEM;
        return false;
    }
    ev_io_set(&admin->watcher, info->epoll_fd, EV_READ);
    ev_io_start(admin->runtime->loop, &admin->watcher);
    return true;
}

struct service *admin_service_create(struct runtime *runtime, struct listener_settings *settings,
                                     const struct service_owner *owner, const struct admin_source *source)
{
    if (!descriptors_reserve(&runtime->descriptors, ADMIN_DESCRIPTORS)) {
        errno = EMFILE;
        return NULL;
    }
    struct admin_service *admin = calloc(1, sizeof *admin);
    if (admin == NULL) {
        descriptors_return(&runtime->descriptors, ADMIN_DESCRIPTORS);
        return NULL;
    }
    admin->service.functions = &admin_functions;
    admin->runtime = runtime;
    admin->settings = listener_settings_reference(settings);
    admin->owner = *owner;
    admin->source = *source;
    list_init(&admin->clients);
    list_init(&admin->gone);
    list_init(&admin->waiting);
    ev_init(&admin->watcher, admin_readable);
    ev_init(&admin->timer, admin_timed);
    ev_timer_init(&admin->sampling, admin_sample, HISTORY_SECONDS, HISTORY_SECONDS);
    admin->watcher.data = admin;
    admin->timer.data = admin;
    admin->sampling.data = admin;
    history_init(&admin->book);
    if (admin_start_daemon(admin))
        return &admin->service;
    int error = errno;
    admin_destroy(&admin->service);
    errno = error;
    return NULL;
}
