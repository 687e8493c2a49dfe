#include "listener/bind.h"

#include "base/log.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What resolving and binding one entry of `listen` need to know. */
struct bind_work {
    const struct listener_settings *settings;
    const struct endpoint *endpoint; /* the entry */
    const struct bind_wish *wish;    /* the one that is being bound */
    const struct bind_means *means;
    struct bound_sockets *bound;
    int lacking; /* why an address of the entry can't be bound, where that is allowed; 0: all can */
    char *error;
    size_t error_size;
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

static bool bind_fail_at(const struct bind_work *work, const char *where, const char *why)
{
    snprintf(work->error, work->error_size, "can't listen on %s: %s", where, why);
    return false;
}

static bool bind_fail(const struct bind_work *work, const char *why)
{
    char text[300];
    return bind_fail_at(work, endpoint_print(work->endpoint, text, sizeof text), why);
}

/* ---- Which addresses ---- */

/* Whether the listener names an IPv4 address on this port (a name may have one), which a socket for both
 * families would collide with. */
static bool bind_names_ipv4_port(const struct listener_settings *settings, uint16_t port)
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

static bool bind_is_wished(const struct bind_wishes *wishes, const struct address *address)
{
    for (size_t i = 0; i < wishes->count; i++)
        if (address->family != AF_UNIX && address->family != AF_UNSPEC &&
            address_compare(&wishes->wishes[i].address, address) == 0)
            return true;
    return false;
}

static bool bind_resolve_add(const struct bind_work *work, struct bind_wishes *wishes,
                             const struct address *address)
{
    const struct listener_settings *settings = work->settings;
    if (bind_is_wished(wishes, address))
        return true;
    struct bind_wish *grown = reallocarray(wishes->wishes, wishes->count + 1, sizeof *grown);
    if (grown == NULL)
        return bind_fail(work, strerror(errno));
    wishes->wishes = grown;
    grown[wishes->count++] = (struct bind_wish){
        .entry = (size_t)(work->endpoint - settings->listen),
        .address = *address,
        .ipv6_only = address->family == AF_INET6 &&
                     (settings->ipv6_only || bind_names_ipv4_port(settings, address_port(address))),
        .may_lack = work->endpoint->kind == ENDPOINT_ANY || work->endpoint->kind == ENDPOINT_NAME,
    };
    return true;
}

static bool bind_resolve_any(const struct bind_work *work, struct bind_wishes *wishes)
{
    struct address v6 = { .family = AF_INET6 }; /* all zeros: any */
    struct address v4 = { .family = AF_INET };
    address_set_port(&v6, work->endpoint->port);
    address_set_port(&v4, work->endpoint->port);
    return bind_resolve_add(work, wishes, &v6) &&
           (work->settings->ipv6_only || bind_resolve_add(work, wishes, &v4));
}

static bool bind_resolve_name(const struct bind_work *work, struct bind_wishes *wishes)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    int status = getaddrinfo(work->endpoint->host, NULL, &hints, &found);
    if (status != 0)
        return bind_fail_at(work, work->endpoint->host,
                            status == EAI_SYSTEM ? strerror(errno) : gai_strerror(status));
    bool success = true;
    bool has_address = false;
    for (const struct addrinfo *entry = found; entry != NULL && success; entry = entry->ai_next) {
        struct address address;
        address_from_socket(entry->ai_addr, &address);
        if (work->settings->ipv6_only && address.family != AF_INET6)
            continue;
        has_address = true;
        address_set_port(&address, work->endpoint->port);
        success = bind_resolve_add(work, wishes, &address);
    }
    freeaddrinfo(found);
    return has_address ? success : bind_fail(work, "it has no IPv6 address");
}

static bool bind_resolve_entry(const struct bind_work *work, struct bind_wishes *wishes)
{
    switch (work->endpoint->kind) {
    case ENDPOINT_NUMERIC:
        return bind_resolve_add(work, wishes, &work->endpoint->address);
    case ENDPOINT_UNIX:
        return bind_resolve_add(work, wishes, &(struct address){ .family = AF_UNIX });
    case ENDPOINT_SYSTEMD:
        return bind_resolve_add(work, wishes, &(struct address){ .family = AF_UNSPEC });
    case ENDPOINT_ANY:
        return bind_resolve_any(work, wishes);
    case ENDPOINT_NAME:
        break;
    }
    return bind_resolve_name(work, wishes);
}

bool bind_resolve(const struct listener_settings *settings, struct bind_wishes *wishes, char *error,
                  size_t error_size)
{
    struct bind_work work = { .settings = settings, .error = error, .error_size = error_size };
    *wishes = (struct bind_wishes){ 0 };
    for (size_t i = 0; i < settings->listen_count; i++) {
        work.endpoint = &settings->listen[i];
        if (!bind_resolve_entry(&work, wishes)) {
            bind_wishes_free(wishes);
            return false;
        }
    }
    return true;
}

void bind_wishes_free(struct bind_wishes *wishes)
{
    free(wishes->wishes);
    *wishes = (struct bind_wishes){ 0 };
}

/* ---- Sockets ---- */

bool bind_matches(const struct bound_socket *socket, const struct listener_settings *settings,
                  const struct bind_wish *wish)
{
    if (socket->descriptor == -1)
        return false;
    if (wish->address.family == AF_UNSPEC)
        return socket->systemd_name != NULL &&
               strcmp(socket->systemd_name, settings->listen[wish->entry].host) == 0;
    if (socket->path != NULL)
        return wish->address.family == AF_UNIX &&
               strcmp(socket->path, settings->listen[wish->entry].host) == 0 &&
               socket_is_file(socket->path, &socket->file);
    return address_compare(&socket->address, &wish->address) == 0 && socket->ipv6_only == wish->ipv6_only;
}

static int bind_tcp_socket(const struct bind_work *work)
{
    const struct listener_settings *settings = work->settings;
    const struct bind_running *running = work->means->running;
    struct socket_options options = {
        .backlog = settings->backlog,
        .reuse_port = settings->reuse_port,
        .ipv6_only = work->wish->ipv6_only,
        .user = work->means->user,
    };
    struct inherited_socket *inherited = inherited_at(work->means->inherited, &work->wish->address, NULL);
    if (inherited != NULL)
        return inherited_claim(inherited);
    if (running != NULL && running->make_way(running->data, work->wish))
        options.reuse_port = true;
    int descriptor = socket_listen(&work->wish->address, &options);
    if (descriptor != -1 && options.reuse_port != settings->reuse_port)
        socket_set_reuse_port(descriptor, settings->reuse_port);
    return descriptor;
}

static bool bind_tcp(struct bind_work *work, struct bound_socket *added)
{
    char text[ADDRESS_TEXT_SIZE];
    added->address = work->wish->address;
    added->ipv6_only = work->wish->ipv6_only;
    added->descriptor = bind_tcp_socket(work);
    if (added->descriptor != -1)
        return true;
    int error = errno;
    bool is_family_missing = error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
    address_print(&added->address, text);
    if (!work->wish->may_lack || !is_family_missing)
        return bind_fail_at(work, text, strerror(error));
    log_warning(work->settings->name, "not listening on %s: %s", text, strerror(error));
    work->lacking = error;
    return true;
}

/* Takes over a socket that was passed. What systemd has made stays its own; the path of one that an upgrade passes
 * is the other process's until bind_adopt(). */
static bool bind_claim(const struct bind_work *work, struct bound_socket *added,
                       struct inherited_socket *inherited)
{
    bool is_systemds = strcmp(inherited->name, INHERITED_BY_ADDRESS) != 0;
    added->systemd_name = is_systemds ? strdup(inherited->name) : NULL;
    added->path = inherited->path != NULL ? strdup(inherited->path) : NULL;
    if ((is_systemds && added->systemd_name == NULL) || (inherited->path != NULL && added->path == NULL)) {
        free(added->systemd_name);
        free(added->path);
        return bind_fail(work, strerror(ENOMEM));
    }
    if (is_systemds && added->path != NULL)
        socket_find_file(added->path, &added->file);
    added->address = inherited->address;
    added->descriptor = inherited_claim(inherited);
    return true;
}

static bool bind_unix(const struct bind_work *work, struct bound_socket *added)
{
    const char *path = work->endpoint->host;
    const struct unix_settings *unix_socket = &work->settings->unix_socket;
    const struct bind_means *means = work->means;
    const struct socket_options options = {
        .backlog = work->settings->backlog,
        .mode = unix_socket->mode,
        .user = unix_socket->user != (uid_t)-1 ? unix_socket->user : means->user,
        .group = unix_socket->group != (gid_t)-1 ? unix_socket->group : means->group,
    };
    char reason[160];
    struct inherited_socket *inherited = inherited_at(means->inherited, NULL, path);
    if (!socket_make_folder(path, means->user, means->group))
        return bind_fail(work, strerror(errno));
    if (inherited != NULL)
        return bind_claim(work, added, inherited);
    added->address.family = AF_UNIX;
    added->path = strdup(path);
    if (added->path == NULL)
        return bind_fail(work, strerror(errno));
    added->descriptor = socket_listen_unix(path, &options, &added->file, reason, sizeof reason);
    if (added->descriptor != -1)
        return true;
    free(added->path);
    return bind_fail(work, reason);
}

/* Room for one more; it counts when `bound->count` does. NULL, with the error said, when memory is short. */
static struct bound_socket *bind_add(const struct bind_work *work)
{
    struct bound_sockets *bound = work->bound;
    struct bound_socket *grown = reallocarray(bound->sockets, bound->count + 1, sizeof *grown);
    if (grown == NULL) {
        bind_fail(work, strerror(errno));
        return NULL;
    }
    bound->sockets = grown;
    grown[bound->count] = (struct bound_socket){
        .descriptor = -1,
        .reuse_port = work->settings->reuse_port,
    };
    return &grown[bound->count];
}

/* Takes what runs for this wish. */
static bool bind_running(const struct bind_work *work)
{
    const struct bind_running *running = work->means->running;
    struct bound_socket *origin;
    while (running != NULL && (origin = running->find(running->data, work->settings, work->wish)) != NULL) {
        struct bound_socket *added = bind_add(work);
        if (added == NULL)
            return false;
        *added = *origin;
        added->origin = origin;
        work->bound->count++;
        if (work->wish->address.family != AF_UNSPEC)
            break;
    }
    return true;
}

static bool bind_systemd(const struct bind_work *work)
{
    struct inherited_socket *inherited;
    while ((inherited = inherited_named(work->means->inherited, work->endpoint->host)) != NULL) {
        if (inherited->address.family == AF_UNSPEC)
            return bind_fail(work, "what systemd has passed is no stream socket that listens");
        struct bound_socket *added = bind_add(work);
        if (added == NULL || !bind_claim(work, added, inherited))
            return false;
        added->ipv6_only = socket_option(added->descriptor, IPPROTO_IPV6, IPV6_V6ONLY) == 1;
        work->bound->count++;
    }
    return true;
}

/* Binds what is wished for, unless it runs. */
static bool bind_one(struct bind_work *work)
{
    size_t before = work->bound->count;
    if (!bind_running(work))
        return false;
    if (work->bound->count > before)
        return true;
    if (work->wish->address.family == AF_UNSPEC)
        return bind_systemd(work);
    struct bound_socket *added = bind_add(work);
    if (added == NULL)
        return false;
    bool success = work->wish->address.family == AF_UNIX ? bind_unix(work, added) : bind_tcp(work, added);
    work->bound->count += added->descriptor != -1;
    return success;
}

/* Binds the wishes of one entry, from `*next` on. */
static bool bind_entry(struct bind_work *work, const struct bind_wishes *wishes, size_t *next)
{
    size_t entry = wishes->wishes[*next].entry;
    size_t before = work->bound->count;
    work->endpoint = &work->settings->listen[entry];
    work->lacking = 0;
    for (; *next < wishes->count && wishes->wishes[*next].entry == entry; (*next)++) {
        work->wish = &wishes->wishes[*next];
        if (!bind_one(work))
            return false;
    }
    if (work->bound->count > before)
        return true;
    return bind_fail(work, work->endpoint->kind == ENDPOINT_SYSTEMD
                               ? "systemd has passed no socket of that name"
                               : strerror(work->lacking));
}

bool bind_open(const struct listener_settings *settings, const struct bind_wishes *wishes,
               const struct bind_means *means, struct bound_sockets *bound, char *error, size_t error_size)
{
    struct bind_work work = {
        .settings = settings,
        .means = means,
        .bound = bound,
        .error = error,
        .error_size = error_size,
    };
    *bound = (struct bound_sockets){ 0 };
    for (size_t next = 0; next < wishes->count;) {
        if (!bind_entry(&work, wishes, &next)) {
            bind_close(bound);
            return false;
        }
    }
    return true;
}

/* What is allowed with a unix socket that stays. Without the rights of root an owner that was set can't be set
 * again. */
static void bind_apply_unix(const struct listener_settings *settings, const struct bound_socket *socket)
{
    const struct unix_settings *wanted = &settings->unix_socket;
    struct stat status;
    bool is_as_wanted = lstat(socket->path, &status) == 0 && (status.st_mode & 07777) == wanted->mode &&
                        (wanted->user == (uid_t)-1 || wanted->user == status.st_uid) &&
                        (wanted->group == (gid_t)-1 || wanted->group == status.st_gid);
    if (socket->systemd_name != NULL || is_as_wanted)
        return;
    if (chmod(socket->path, wanted->mode) == -1 || lchown(socket->path, wanted->user, wanted->group) == -1)
        log_warning(settings->name, "unix:%s: its mode or owner can't be set: %s", socket->path,
                    strerror(errno));
}

void bind_take_over(const struct listener_settings *settings, struct bound_sockets *bound)
{
    for (size_t i = 0; i < bound->count; i++) {
        struct bound_socket *socket = &bound->sockets[i];
        socket->is_wanted = false;
        socket->is_taken = false;
        if (socket->path != NULL)
            bind_apply_unix(settings, socket);
        if (socket->origin == NULL)
            continue;
        socket->origin->descriptor = -1;
        socket->origin->path = NULL;
        socket->origin->systemd_name = NULL;
        socket->origin = NULL;
        socket->reuse_port = settings->reuse_port;
        listen(socket->descriptor, settings->backlog);
        if (socket->path == NULL)
            socket_set_reuse_port(socket->descriptor, settings->reuse_port);
    }
}

void bind_forget_taken(struct bound_sockets *bound)
{
    size_t count = 0;
    for (size_t i = 0; i < bound->count; i++)
        if (bound->sockets[i].descriptor != -1)
            bound->sockets[count++] = bound->sockets[i];
    bound->count = count;
}

bool bind_listen(const struct listener_settings *settings, uid_t owner, gid_t owner_group,
                 struct inherited *inherited, struct bound_sockets *bound, char *error, size_t error_size)
{
    const struct bind_means means = { .user = owner, .group = owner_group, .inherited = inherited };
    struct bind_wishes wishes;
    *bound = (struct bound_sockets){ 0 };
    if (!bind_resolve(settings, &wishes, error, error_size))
        return false;
    bool success = bind_open(settings, &wishes, &means, bound, error, error_size);
    bind_wishes_free(&wishes);
    return success;
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

void bind_stop_listening(const struct bound_socket *socket)
{
    if (socket->systemd_name == NULL)
        socket_stop_listening(socket->descriptor, socket->path != NULL);
}

void bind_close(struct bound_sockets *bound)
{
    for (size_t i = 0; i < bound->count; i++) {
        struct bound_socket *socket = &bound->sockets[i];
        if (socket->descriptor == -1 || socket->origin != NULL)
            continue;
        if (socket->path != NULL && socket->systemd_name == NULL)
            socket_unlink(socket->path, &socket->file);
        close(socket->descriptor);
        free(socket->path);
        free(socket->systemd_name);
    }
    free(bound->sockets);
    *bound = (struct bound_sockets){ 0 };
}

void bind_leave(struct bound_sockets *bound)
{
    for (size_t i = 0; i < bound->count; i++)
        bound->sockets[i].file = (struct socket_file){ 0 };
    bind_close(bound);
}
