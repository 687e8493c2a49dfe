#include "listener/bind.h"

#include "base/log.h"
#include "net/folder.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What binding one entry of `listen` needs to know. */
struct bind_work {
    const struct listener_settings *settings;
    const struct endpoint *endpoint;
    uid_t owner;
    gid_t owner_group;
    struct inherited *inherited;
    struct bound_sockets *bound;
    char *error;
    size_t error_size;
    size_t bound_here; /* sockets that this entry has given */
    int skipped;       /* errno of the last address skipped, 0: none */
};

const char *bind_print(const struct bound_socket *socket, char *text, size_t size)
{
    char address[ADDRESS_TEXT_SIZE];
    if (socket->path != NULL)
        snprintf(text, size, "unix:%s", socket->path);
    else
        snprintf(text, size, "%s", address_print(&socket->address, address));
    return text;
}

static bool bind_fail(struct bind_work *work, const char *what, const char *why)
{
    snprintf(work->error, work->error_size, "can't listen on %s: %s", what, why);
    return false;
}

static struct bound_socket *bind_add(struct bind_work *work)
{
    struct bound_sockets *bound = work->bound;
    struct bound_socket *grown = reallocarray(bound->sockets, bound->count + 1, sizeof *grown);
    if (grown == NULL)
        return NULL;
    bound->sockets = grown;
    struct bound_socket *added = &grown[bound->count];
    memset(added, 0, sizeof *added);
    added->descriptor = -1;
    return added;
}

/* An error that says "this machine has no such family", not "this address is taken". */
static bool is_family_missing(int error)
{
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

/* Whether the listener names an IPv4 address on this port (a name may have one), which a socket for both
 * families would collide with. */
static bool names_ipv4_port(const struct listener_settings *settings, uint16_t port)
{
    for (size_t i = 0; i < settings->listen_count; i++) {
        const struct endpoint *endpoint = &settings->listen[i];
        if (endpoint->port == port &&
            (endpoint->kind == ENDPOINT_ANY || endpoint->kind == ENDPOINT_NAME ||
             (endpoint->kind == ENDPOINT_NUMERIC && endpoint->address.family == AF_INET)))
            return true;
    }
    return false;
}

static bool is_bound(const struct bound_sockets *bound, const struct address *address)
{
    for (size_t i = 0; i < bound->count; i++)
        if (bound->sockets[i].path == NULL && address_compare(&bound->sockets[i].address, address) == 0)
            return true;
    return false;
}

/* Binds one address. With `may_lack` a missing family is noted, not a failure. */
static bool bind_address(struct bind_work *work, const struct address *address, bool may_lack)
{
    const struct listener_settings *settings = work->settings;
    const struct socket_listen_options options = {
        .backlog = settings->backlog,
        .reuse_port = settings->reuse_port,
        .ipv6_only = settings->ipv6_only || names_ipv4_port(settings, address_port(address)),
    };
    char text[ADDRESS_TEXT_SIZE];
    if (is_bound(work->bound, address)) {
        work->bound_here++;
        return true;
    }
    struct bound_socket *added = bind_add(work);
    if (added == NULL)
        return bind_fail(work, address_print(address, text), strerror(errno));
    struct inherited_socket *inherited = inherited_at(work->inherited, address, NULL);
    added->descriptor = inherited != NULL ? inherited_claim(inherited) : socket_listen(address, &options);
    if (added->descriptor == -1) {
        int error = errno;
        if (!may_lack || !is_family_missing(error))
            return bind_fail(work, address_print(address, text), strerror(error));
        log_warning(settings->name, "not listening on %s: %s", address_print(address, text), strerror(error));
        work->skipped = error;
        return true;
    }
    added->address = *address;
    work->bound->count++;
    work->bound_here++;
    return true;
}

static bool bind_any(struct bind_work *work)
{
    struct address address = { .family = AF_INET6 };
    address.v6.sin6_addr = in6addr_any;
    address_set_port(&address, work->endpoint->port);
    if (!bind_address(work, &address, true))
        return false;
    if (work->settings->ipv6_only)
        return true;
    memset(&address, 0, sizeof address);
    address.family = AF_INET;
    address.v4.sin_addr.s_addr = htonl(INADDR_ANY);
    address_set_port(&address, work->endpoint->port);
    return bind_address(work, &address, true);
}

static bool bind_name(struct bind_work *work)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    int status = getaddrinfo(work->endpoint->host, NULL, &hints, &found);
    if (status != 0)
        return bind_fail(work, work->endpoint->host,
                         status == EAI_SYSTEM ? strerror(errno) : gai_strerror(status));
    bool success = true;
    for (const struct addrinfo *entry = found; entry != NULL && success; entry = entry->ai_next) {
        struct address address;
        address_from_socket(entry->ai_addr, &address);
        if (work->settings->ipv6_only && address.family != AF_INET6)
            continue;
        address_set_port(&address, work->endpoint->port);
        success = bind_address(work, &address, true);
    }
    freeaddrinfo(found);
    return success;
}

static bool bind_unix(struct bind_work *work)
{
    const char *path = work->endpoint->host;
    const struct unix_settings *unix_socket = &work->settings->unix_socket;
    const struct socket_unix_options options = {
        .backlog = work->settings->backlog,
        .mode = unix_socket->mode,
        .user = unix_socket->user != (uid_t)-1 ? unix_socket->user : work->owner,
        .group = unix_socket->group != (gid_t)-1 ? unix_socket->group : work->owner_group,
    };
    char reason[160];
    char name[160];
    snprintf(name, sizeof name, "unix:%s", path);
    struct bound_socket *added = bind_add(work);
    if (added == NULL)
        return bind_fail(work, name, strerror(errno));
    if (!folder_make_for(path, work->owner, work->owner_group))
        return bind_fail(work, name, strerror(errno));
    added->path = strdup(path);
    if (added->path == NULL)
        return bind_fail(work, name, strerror(errno));
    added->address.family = AF_UNIX;
    struct inherited_socket *inherited = inherited_at(work->inherited, NULL, path);
    if (inherited != NULL) /* `file` stays empty: until bind_adopt() the path is another process's */
        added->descriptor = inherited_claim(inherited);
    else
        added->descriptor = socket_listen_unix(path, &options, &added->file, reason, sizeof reason);
    if (added->descriptor == -1) {
        free(added->path);
        return bind_fail(work, name, reason);
    }
    work->bound->count++;
    work->bound_here++;
    return true;
}

/* Takes over one socket that systemd has passed. */
static bool bind_passed(struct bind_work *work, struct inherited_socket *inherited)
{
    char name[300];
    endpoint_print(work->endpoint, name, sizeof name);
    if (inherited->address.family == AF_UNSPEC)
        return bind_fail(work, name, "what systemd has passed is no stream socket that listens");
    struct bound_socket *added = bind_add(work);
    if (added == NULL)
        return bind_fail(work, name, strerror(errno));
    added->systemd_name = strdup(inherited->name);
    added->path = inherited->path != NULL ? strdup(inherited->path) : NULL;
    if (added->systemd_name == NULL || (inherited->path != NULL && added->path == NULL)) {
        free(added->systemd_name);
        free(added->path);
        return bind_fail(work, name, strerror(ENOMEM));
    }
    added->address = inherited->address;
    added->descriptor = inherited_claim(inherited);
    work->bound->count++;
    work->bound_here++;
    return true;
}

static bool bind_systemd(struct bind_work *work)
{
    struct inherited_socket *inherited;
    size_t next = 0;
    char name[300];
    while ((inherited = inherited_named(work->inherited, work->endpoint->host, &next)) != NULL)
        if (!bind_passed(work, inherited))
            return false;
    if (work->bound_here > 0)
        return true;
    return bind_fail(work, endpoint_print(work->endpoint, name, sizeof name),
                     "systemd has passed no socket of that name");
}

static bool bind_entry(struct bind_work *work)
{
    char text[160];
    bool success = false;
    switch (work->endpoint->kind) {
    case ENDPOINT_NUMERIC:
        return bind_address(work, &work->endpoint->address, false);
    case ENDPOINT_UNIX:
        return bind_unix(work);
    case ENDPOINT_SYSTEMD:
        return bind_systemd(work);
    case ENDPOINT_NAME:
        success = bind_name(work);
        break;
    case ENDPOINT_ANY:
        success = bind_any(work);
        break;
    }
    if (success && work->bound_here == 0)
        return bind_fail(work, endpoint_print(work->endpoint, text, sizeof text),
                         work->skipped != 0 ? strerror(work->skipped) : "it has no IPv6 address");
    return success;
}

bool bind_listen(const struct listener_settings *settings, uid_t owner, gid_t owner_group,
                 struct inherited *inherited, struct bound_sockets *bound, char *error, size_t error_size)
{
    memset(bound, 0, sizeof *bound);
    for (size_t i = 0; i < settings->listen_count; i++) {
        struct bind_work work = {
            .settings = settings,
            .endpoint = &settings->listen[i],
            .owner = owner,
            .owner_group = owner_group,
            .inherited = inherited,
            .bound = bound,
            .error = error,
            .error_size = error_size,
        };
        if (!bind_entry(&work)) {
            bind_close(bound);
            return false;
        }
    }
    return true;
}

void bind_adopt(struct bound_sockets *bound)
{
    for (size_t i = 0; i < bound->count; i++) {
        struct bound_socket *socket = &bound->sockets[i];
        bool is_adopted = socket->path != NULL && socket->systemd_name == NULL && socket->file.inode == 0;
        if (is_adopted && !socket_find_file(socket->path, &socket->file))
            log_debug(NULL, "%s: %s", socket->path, strerror(errno));
    }
}

static void bind_end(struct bound_sockets *bound, bool paths_too)
{
    for (size_t i = 0; i < bound->count; i++) {
        struct bound_socket *socket = &bound->sockets[i];
        if (paths_too && socket->path != NULL && socket->systemd_name == NULL)
            socket_unlink(socket->path, &socket->file);
        close(socket->descriptor);
        free(socket->path);
        free(socket->systemd_name);
    }
    free(bound->sockets);
    memset(bound, 0, sizeof *bound);
}

void bind_leave(struct bound_sockets *bound)
{
    bind_end(bound, false);
}

void bind_close(struct bound_sockets *bound)
{
    bind_end(bound, true);
}
