#include "net/socket.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static int close_keeping_errno(int descriptor)
{
    int error = errno;
    close(descriptor);
    errno = error;
    return -1;
}

static bool set_flag(int descriptor, int level, int option, int value)
{
    return setsockopt(descriptor, level, option, &value, sizeof value) == 0;
}

int socket_listen(const struct address *address, const struct socket_options *options)
{
    int descriptor = socket(address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor == -1)
        return -1;
    bool is_v6 = address->family == AF_INET6;
    bool success = set_flag(descriptor, SOL_SOCKET, SO_REUSEADDR, 1) &&
                   (!options->reuse_port || set_flag(descriptor, SOL_SOCKET, SO_REUSEPORT, 1)) &&
                   (!is_v6 || set_flag(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, options->ipv6_only)) &&
                   (options->user == (uid_t)-1 || fchown(descriptor, options->user, (gid_t)-1) == 0) &&
                   bind(descriptor, &address->any, address_length(address)) == 0 &&
                   listen(descriptor, options->backlog) == 0;
    return success ? descriptor : close_keeping_errno(descriptor);
}

void socket_set_reuse_port(int descriptor, bool reuse)
{
    set_flag(descriptor, SOL_SOCKET, SO_REUSEPORT, reuse);
}

void socket_stop_listening(int descriptor, bool is_unix)
{
    /* The filter sees segments from their TCP header on. Only those that begin a connection are dropped: the
     * ends of handshakes that are under way still have to come in. */
    struct sock_filter drop_beginnings[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct tcphdr, th_flags)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = { sizeof drop_beginnings / sizeof *drop_beginnings, drop_beginnings };
    if (is_unix)
        shutdown(descriptor, SHUT_RD);
    else
        setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* endpoint_parse() made sure that the path fits. */
static struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

bool socket_make_folder(const char *path, uid_t user, gid_t group)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return true;
    char *folder = strndup(path, (size_t)(slash - path));
    if (folder == NULL)
        return false;
    bool success = mkdir(folder, 0755) == 0;
    if (success) /* the umask may have taken rights away */
        success = chmod(folder, 0755) == 0 && lchown(folder, user, group) == 0;
    else
        success = errno == EEXIST;
    free(folder); /* leaves errno as it is */
    return success;
}

const char *socket_remove_stale(const char *path)
{
    struct stat status;
    if (lstat(path, &status) == -1)
        return errno == ENOENT ? NULL : strerror(errno);
    if (!S_ISSOCK(status.st_mode))
        return "a file that is no socket is in the way";
    int descriptor = socket_connect_unix(path);
    if (descriptor != -1)
        close(descriptor);
    if (descriptor != -1 || errno == EAGAIN) /* EAGAIN: its backlog is full */
        return "another process listens there";
    if (errno == ECONNREFUSED && unlink(path) == 0)
        return NULL;
    return errno == ENOENT ? NULL : strerror(errno);
}

bool socket_find_file(const char *path, struct socket_file *file)
{
    struct stat status;
    if (lstat(path, &status) == -1)
        return false;
    file->device = status.st_dev;
    file->inode = status.st_ino;
    return true;
}

int socket_listen_unix(const char *path, const struct socket_options *options, struct socket_file *file,
                       char *error, size_t error_size)
{
    const char *obstacle = socket_remove_stale(path);
    if (obstacle != NULL) {
        snprintf(error, error_size, "%s", obstacle);
        return -1;
    }
    const struct sockaddr_un address = unix_address(path);
    const char *step = "socket";
    *file = (struct socket_file){ 0 };
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor == -1)
        goto fail;
    step = "bind";
    if (bind(descriptor, (const struct sockaddr *)&address, sizeof address) == -1)
        goto fail;
    step = "stat";
    if (!socket_find_file(path, file))
        goto fail;
    /* Until it listens every connect() is refused, so nobody gets in before owner and mode are right. */
    step = "setting the owner";
    if (lchown(path, options->user, options->group) == -1)
        goto fail;
    step = "setting the mode";
    if (chmod(path, options->mode) == -1)
        goto fail;
    step = "listen";
    if (listen(descriptor, options->backlog) == 0)
        return descriptor;
fail:
    snprintf(error, error_size, "%s: %s", step, strerror(errno));
    socket_unlink(path, file); /* if it was bound */
    if (descriptor != -1)
        close(descriptor);
    return -1;
}

bool socket_is_file(const char *path, const struct socket_file *file)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISSOCK(status.st_mode) && status.st_dev == file->device &&
           status.st_ino == file->inode;
}

void socket_unlink(const char *path, const struct socket_file *file)
{
    if (socket_is_file(path, file))
        unlink(path);
}

static int start_connecting(const struct sockaddr *address, socklen_t length)
{
    int descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor == -1)
        return -1;
    if (address->sa_family != AF_UNIX)
        socket_no_delay(descriptor);
    errno = 0;
    if (connect(descriptor, address, length) == -1 && errno != EINPROGRESS)
        return close_keeping_errno(descriptor);
    return descriptor;
}

int socket_connect(const struct address *address)
{
    return start_connecting(&address->any, address_length(address));
}

int socket_connect_unix(const char *path)
{
    const struct sockaddr_un address = unix_address(path);
    return start_connecting((const struct sockaddr *)&address, sizeof address);
}

int socket_option(int descriptor, int level, int option)
{
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(descriptor, level, option, &value, &length) == -1 ? -1 : value;
}

int socket_error(int descriptor)
{
    int error = socket_option(descriptor, SOL_SOCKET, SO_ERROR);
    return error == -1 ? errno : error;
}

bool socket_would_wait(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ENOBUFS || error == ENOMEM;
}

void socket_user_timeout(int descriptor, int64_t milliseconds)
{
    set_flag(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, milliseconds < 0 ? 0 : (int)milliseconds);
}

void socket_keep_alive(int descriptor, int64_t idle, int64_t interval, int64_t count)
{
    /* Without effect on a unix socket, whose peer can't vanish unnoticed. */
    if (idle == 0)
        set_flag(descriptor, SOL_SOCKET, SO_KEEPALIVE, 0);
    else if (set_flag(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, (int)((idle + 999) / 1000)) &&
             set_flag(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, (int)((interval + 999) / 1000)) &&
             set_flag(descriptor, IPPROTO_TCP, TCP_KEEPCNT, (int)count))
        set_flag(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
}

void socket_no_delay(int descriptor)
{
    set_flag(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
}

void socket_close_reset(int descriptor)
{
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    close(descriptor);
}
