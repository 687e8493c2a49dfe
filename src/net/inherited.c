#include "net/inherited.h"

#include "base/log.h"
#include "net/socket.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define INHERITED_MAX 4096 /* more than any unit passes */

/* The value of a variable as a number from 0 to `most`; -1 if it is none. */
static long read_variable(const char *name, long most)
{
    const char *text = getenv(name);
    if (text == NULL || *text == '\0' || strspn(text, "0123456789") != strlen(text))
        return -1;
    long number = strtol(text, NULL, 10);
    return number <= most ? number : -1;
}

/* Finds out where the socket listens. False when memory is short. */
static bool find_address(struct inherited_socket *inherited)
{
    struct sockaddr_un own = { .sun_family = AF_UNSPEC }; /* the longest of listening sockets */
    socklen_t length = sizeof own - 1;                    /* so that its path ends */
    if (socket_option(inherited->descriptor, SOL_SOCKET, SO_TYPE) != SOCK_STREAM ||
        socket_option(inherited->descriptor, SOL_SOCKET, SO_ACCEPTCONN) != 1 ||
        getsockname(inherited->descriptor, (struct sockaddr *)&own, &length) == -1)
        return true;
    address_from_socket((const struct sockaddr *)&own, &inherited->address);
    if (inherited->address.family != AF_UNIX)
        return true;
    inherited->path = strdup(own.sun_path); /* empty: an abstract one */
    return inherited->path != NULL;
}

/* Takes over one descriptor, which has the next of `names`. False when memory is short. */
static bool take_socket(struct inherited *inherited, int descriptor, char **names)
{
    struct inherited_socket *taken = &inherited->sockets[inherited->count++];
    const char *name = strsep(names, ":");
    int flags = fcntl(descriptor, F_GETFL);
    taken->descriptor = flags == -1 ? -1 : descriptor; /* it may be announced, but not there */
    taken->name = strdup(name != NULL ? name : "unknown");
    if (taken->name == NULL)
        return false;
    if (flags == -1)
        return true;
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
    fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
    return find_address(taken);
}

bool inherited_take(struct inherited *inherited)
{
    bool success = true;
    long count = read_variable("LISTEN_FDS", INHERITED_MAX);
    char *names = getenv("LISTEN_FDNAMES"); /* cut into its words, and then removed */
    *inherited = (struct inherited){ 0 };
    if (count > 0 && read_variable("LISTEN_PID", INT32_MAX) == getpid()) {
        inherited->sockets = calloc((size_t)count, sizeof *inherited->sockets);
        success = inherited->sockets != NULL;
        for (int i = 0; success && i < count; i++)
            success = take_socket(inherited, INHERITED_FIRST + i, &names);
    }
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
    return success;
}

struct inherited_socket *inherited_named(struct inherited *inherited, const char *name)
{
    for (size_t i = 0; i < inherited->count; i++) {
        struct inherited_socket *found = &inherited->sockets[i];
        if (found->descriptor != -1 && strcmp(found->name, name) == 0)
            return found;
    }
    return NULL;
}

struct inherited_socket *inherited_at(struct inherited *inherited, const struct address *address,
                                      const char *path)
{
    for (size_t i = 0; i < inherited->count; i++) {
        struct inherited_socket *found = &inherited->sockets[i];
        bool is_it = path != NULL ? found->path != NULL && strcmp(found->path, path) == 0
                                  : found->path == NULL && address_compare(&found->address, address) == 0;
        if (is_it && found->descriptor != -1)
            return found;
    }
    return NULL;
}

int inherited_claim(struct inherited_socket *socket)
{
    int descriptor = socket->descriptor;
    socket->descriptor = -1;
    return descriptor;
}

void inherited_report(const struct inherited *inherited)
{
    char text[ADDRESS_TEXT_SIZE];
    for (size_t i = 0; i < inherited->count; i++) {
        const struct inherited_socket *left = &inherited->sockets[i];
        if (left->descriptor != -1)
            log_warning(NULL, "closing a socket that no listener wants, passed as \"%s\": %s", left->name,
                        left->path != NULL ? left->path : address_print(&left->address, text));
    }
}

void inherited_release(struct inherited *inherited, bool removes_paths)
{
    for (size_t i = 0; i < inherited->count; i++) {
        struct inherited_socket *left = &inherited->sockets[i];
        bool is_left = left->descriptor != -1;
        if (is_left)
            close(left->descriptor);
        if (is_left && removes_paths && left->path != NULL && left->path[0] == '/' &&
            strcmp(left->name, INHERITED_BY_ADDRESS) == 0) {
            const char *obstacle = socket_remove_stale(left->path);
            if (obstacle != NULL)
                log_debug(NULL, "%s stays: %s", left->path, obstacle);
        }
        free(left->name);
        free(left->path);
    }
    free(inherited->sockets);
    *inherited = (struct inherited){ 0 };
}
