#include "net/resolver.h"

#include "base/list.h"
#include "base/log.h"
#include "base/turn.h"

#include <ares.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOOKUP_LIMIT_SECONDS   5.0
#define TTL_MIN_SECONDS        1
#define TTL_MAX_SECONDS        300
#define RETRY_FAILED_SECONDS   1
#define PAUSE_MAX_SECONDS      1.0 /* between calls of c-ares while a question is open */
#define RESOLVER_CONFIGURATION "/etc/resolv.conf"
#define SERVER_TIMEOUT_MS      1500
#define SERVER_TRIES           2

/* A socket that c-ares wants watched. Owned by the resolver. */
struct resolver_socket {
    struct list_node node;
    ev_io watcher;
};

struct resolver {
    struct ev_loop *loop;
    ares_channel channel;
    struct list sockets; /* struct resolver_socket */
    struct list names;   /* struct resolver_name */
    ev_timer retransmission;
    struct stat configuration; /* of resolv.conf when it was read last */
    bool renewing;             /* answers that come now only say that the old channel ends */
};

/* One question to c-ares, which owns it until its callback; `name` is NULL once nobody waits for the answer. */
struct resolver_query {
    struct resolver_name *name;
};

struct resolver_name {
    struct list_node node;
    struct resolver *resolver;
    const char *source;
    const char *host;
    resolver_callback *callback;
    void *data;
    struct resolver_query *query; /* pending, or NULL */
    struct resolver_answer answer;
    ev_timer limit; /* active: a look-up is under way; pending, fed with an event: one has ended */
};

static void resolver_set_timer(struct resolver *resolver)
{
    struct timeval next;
    ev_timer_stop(resolver->loop, &resolver->retransmission);
    const struct timeval *due = ares_timeout(resolver->channel, NULL, &next);
    if (due == NULL)
        return; /* nothing is pending */
    double seconds = (double)due->tv_sec + (double)due->tv_usec / 1e6;
    ev_timer_set(&resolver->retransmission, seconds < PAUSE_MAX_SECONDS ? seconds : PAUSE_MAX_SECONDS, 0.0);
    ev_timer_start(resolver->loop, &resolver->retransmission);
}

static void resolver_timer_fired(struct ev_loop *, ev_timer *watcher, int)
{
    struct resolver *resolver = watcher->data;
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolver_set_timer(resolver);
}

static void resolver_socket_ready(struct ev_loop *, ev_io *watcher, int events)
{
    struct resolver *resolver = watcher->data;
    ares_process_fd(resolver->channel, (events & EV_READ) ? watcher->fd : ARES_SOCKET_BAD,
                    (events & EV_WRITE) ? watcher->fd : ARES_SOCKET_BAD);
    resolver_set_timer(resolver);
}

/* c-ares says which of its sockets to watch for what; neither means that it closes the socket. */
static void resolver_socket_changed(void *data, ares_socket_t descriptor, int readable, int writable)
{
    struct resolver *resolver = data;
    struct resolver_socket *socket = NULL;
    list_foreach(&resolver->sockets, node)
    {
        if (list_entry(node, struct resolver_socket, node)->watcher.fd == descriptor)
            socket = list_entry(node, struct resolver_socket, node);
    }
    if (socket == NULL && (readable || writable)) {
        socket = calloc(1, sizeof *socket);
        if (socket == NULL)
            return; /* the look-up runs into its limit, which is all that can be said here */
        ev_init(&socket->watcher, resolver_socket_ready);
        socket->watcher.data = resolver;
        list_append(&resolver->sockets, &socket->node);
    }
    if (socket == NULL)
        return;
    ev_io_stop(resolver->loop, &socket->watcher);
    if (readable || writable) {
        ev_io_set(&socket->watcher, descriptor, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
        ev_io_start(resolver->loop, &socket->watcher);
    } else {
        list_remove(&socket->node);
        free(socket);
    }
}

/* Takes note of resolv.conf, all zero if it is not there. Whether it has changed. */
static bool resolver_note_configuration(struct resolver *resolver)
{
    const struct stat old = resolver->configuration;
    struct stat *now = &resolver->configuration;
    if (stat(RESOLVER_CONFIGURATION, now) == -1)
        memset(now, 0, sizeof *now);
    return now->st_ino != old.st_ino || now->st_dev != old.st_dev || now->st_size != old.st_size ||
           now->st_mtim.tv_sec != old.st_mtim.tv_sec || now->st_mtim.tv_nsec != old.st_mtim.tv_nsec;
}

static int resolver_open_channel(struct resolver *resolver, ares_channel *channel)
{
    struct ares_options options = {
        .timeout = SERVER_TIMEOUT_MS,
        .tries = SERVER_TRIES,
        .sock_state_cb = resolver_socket_changed,
        .sock_state_cb_data = resolver,
    };
    resolver_note_configuration(resolver);
    return ares_init_options(channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
}

struct resolver *resolver_create(struct ev_loop *loop, char *error, size_t error_size)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL) {
        snprintf(error, error_size, "%s", strerror(errno));
        return NULL;
    }
    resolver->loop = loop;
    list_init(&resolver->sockets);
    list_init(&resolver->names);
    ev_timer_init(&resolver->retransmission, resolver_timer_fired, 0.0, 0.0);
    resolver->retransmission.data = resolver;
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status == ARES_SUCCESS)
        status = resolver_open_channel(resolver, &resolver->channel);
    if (status == ARES_SUCCESS)
        return resolver;
    ares_library_cleanup();
    snprintf(error, error_size, "%s", ares_strerror(status));
    free(resolver);
    return NULL;
}

void resolver_destroy(struct resolver *resolver)
{
    if (resolver == NULL)
        return;
    ares_destroy(resolver->channel); /* ends abandoned queries and closes the sockets through the callbacks */
    ev_timer_stop(resolver->loop, &resolver->retransmission);
    ares_library_cleanup();
    free(resolver);
}

static void resolver_name_failed(struct resolver_name *name, const char *reason)
{
    if (name->answer.failure[0] == '\0' && name->answer.count > 0)
        log_warning(name->source, "%s can't be looked up: %s; its last addresses stay in use", name->host,
                    reason);
    snprintf(name->answer.failure, sizeof name->answer.failure, "%s", reason);
    name->answer.fresh_until = turn_now(name->resolver->loop) + RETRY_FAILED_SECONDS * 1000000;
}

static void resolver_name_answered(struct resolver_name *name, const struct ares_addrinfo_node *nodes)
{
    size_t count = 0;
    int ttl = TTL_MAX_SECONDS;
    for (const struct ares_addrinfo_node *node = nodes; node != NULL; node = node->ai_next) {
        count++;
        if (node->ai_ttl < ttl)
            ttl = node->ai_ttl;
    }
    if (ttl < TTL_MIN_SECONDS) /* names of the hosts file have none */
        ttl = TTL_MIN_SECONDS;
    struct address *addresses = count == 0 ? NULL : calloc(count, sizeof *addresses);
    if (addresses == NULL) {
        resolver_name_failed(name, count == 0 ? "it has no address" : strerror(ENOMEM));
        return;
    }
    if (name->answer.failure[0] != '\0' && name->answer.count > 0)
        log_info(name->source, "%s can be looked up again", name->host);
    name->answer.failure[0] = '\0';
    free(name->answer.addresses);
    name->answer.addresses = addresses;
    name->answer.count = count;
    for (const struct ares_addrinfo_node *node = nodes; node != NULL; node = node->ai_next)
        address_from_socket(node->ai_addr, addresses++);
    name->answer.fresh_until = turn_now(name->resolver->loop) + (int64_t)ttl * 1000000;
}

/* The look-up of `name` is over. c-ares says so at any time, also inside the question for another name: the
 * owner is called by the loop. */
static void resolver_name_finish(struct resolver_name *name)
{
    name->query = NULL;
    ev_timer_stop(name->resolver->loop, &name->limit);
    ev_feed_event(name->resolver->loop, &name->limit, EV_CUSTOM);
}

static void resolver_answered(void *data, int status, int, struct ares_addrinfo *answer)
{
    struct resolver_query *query = data;
    struct resolver_name *name = query->name;
    if (name != NULL && name->resolver->renewing) {
        name->query = NULL; /* it is asked again */
    } else if (name != NULL) {
        if (status == ARES_SUCCESS)
            resolver_name_answered(name, answer->nodes);
        else
            resolver_name_failed(name, ares_strerror(status));
        resolver_name_finish(name);
    }
    if (answer != NULL)
        ares_freeaddrinfo(answer);
    free(query);
}

/* Nobody waits for the answer any more. */
static void resolver_name_forget_query(struct resolver_name *name)
{
    if (name->query != NULL)
        name->query->name = NULL;
    name->query = NULL;
}

/* The look-up of a name has ended, or its time has. */
static void resolver_name_event(struct ev_loop *, ev_timer *watcher, int events)
{
    struct resolver_name *name = watcher->data;
    if (events & EV_TIMER) {
        resolver_name_forget_query(name);
        resolver_name_failed(name, "no answer in time");
    }
    name->callback(name->data);
}

static void resolver_ask(struct resolver_name *name)
{
    struct resolver_query *query = calloc(1, sizeof *query);
    if (query == NULL) {
        resolver_name_failed(name, strerror(errno));
        resolver_name_finish(name);
        return;
    }
    query->name = name;
    name->query = query;
    struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    ares_getaddrinfo(name->resolver->channel, name->host, NULL, &hints, resolver_answered, query);
    resolver_set_timer(name->resolver);
}

void resolver_renew(struct resolver *resolver)
{
    ares_channel channel;
    int status = resolver_open_channel(resolver, &channel);
    if (status != ARES_SUCCESS) {
        log_error(NULL, "%s can't be taken up: %s", RESOLVER_CONFIGURATION, ares_strerror(status));
        return;
    }
    resolver->renewing = true;
    ares_destroy(resolver->channel);
    resolver->renewing = false;
    resolver->channel = channel;
    list_foreach(&resolver->names, node)
    {
        struct resolver_name *name = list_entry(node, struct resolver_name, node);
        if (ev_is_active(&name->limit) && name->query == NULL)
            resolver_ask(name);
    }
}

/* Takes over what is known of the same host for another target, such as the one that a reload replaces: if
 * the resolver fails just now, these are its last addresses. False when memory is short. */
static bool resolver_name_inherit(struct resolver_name *name)
{
    const struct resolver_answer *best = NULL;
    list_foreach(&name->resolver->names, node)
    {
        const struct resolver_name *other = list_entry(node, struct resolver_name, node);
        if (other->answer.count > 0 && strcmp(other->host, name->host) == 0 &&
            (best == NULL || other->answer.fresh_until > best->fresh_until))
            best = &other->answer;
    }
    if (best == NULL)
        return true;
    size_t size = best->count * sizeof *best->addresses;
    name->answer = *best;
    name->answer.addresses = malloc(size);
    if (name->answer.addresses != NULL)
        memcpy(name->answer.addresses, best->addresses, size);
    return name->answer.addresses != NULL;
}

struct resolver_name *resolver_add(struct resolver *resolver, const char *source, const char *host,
                                   resolver_callback *callback, void *data)
{
    struct resolver_name *name = calloc(1, sizeof *name);
    if (name == NULL)
        return NULL;
    name->resolver = resolver;
    name->source = source;
    name->host = host;
    name->callback = callback;
    name->data = data;
    ev_timer_init(&name->limit, resolver_name_event, LOOKUP_LIMIT_SECONDS, 0.0);
    name->limit.data = name;
    if (!resolver_name_inherit(name)) {
        free(name);
        return NULL;
    }
    list_append(&resolver->names, &name->node);
    return name;
}

void resolver_remove(struct resolver_name *name)
{
    resolver_name_forget_query(name);
    ev_timer_stop(name->resolver->loop, &name->limit);
    list_remove(&name->node);
    free(name->answer.addresses);
    free(name);
}

bool resolver_lookup(struct resolver_name *name)
{
    struct ev_loop *loop = name->resolver->loop;
    if (name->query == NULL) {
        if (turn_now(loop) < name->answer.fresh_until)
            return true;
        if (resolver_note_configuration(name->resolver))
            resolver_renew(name->resolver);
        bool is_pending = ev_is_pending(&name->limit);
        ev_timer_set(&name->limit, LOOKUP_LIMIT_SECONDS, 0.0);
        ev_timer_start(loop, &name->limit);
        resolver_ask(name);
        if (name->query == NULL && !is_pending)
            ev_clear_pending(loop, &name->limit); /* the return from here says it */
    }
    /* While the resolver fails, nobody waits for it who has addresses: it is asked in the background. */
    return name->query == NULL || (name->answer.failure[0] != '\0' && name->answer.count > 0);
}

const struct resolver_answer *resolver_answer(const struct resolver_name *name)
{
    return &name->answer;
}
