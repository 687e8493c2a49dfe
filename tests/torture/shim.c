/* Loaded into the program that ships, by LD_PRELOAD: counts the calls that can fail, those of its libraries
 * included, and makes the one fail that the test names. Linking the program anew with wrapped functions would
 * leave the libraries' calls out, and test another program than the one that is installed.
 *
 * Nothing counts before main() has begun, or after it has returned: what the dynamic linker and the
 * constructors of libraries do is not our affair. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "control.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>
#include <unwind.h>

#define EXPORTED __attribute__((visibility("default")))

/* What dlsym() itself asks for while the real functions are not known yet. */
#define EARLY_SIZE 65536

static struct torture_control *control; /* NULL: nothing counts */
static atomic_bool running;             /* inside of main() */

/* The calling thread is in here: what is called from here does not count. */
static __thread __attribute__((tls_model("initial-exec"))) bool inside;

static _Alignas(16) char early[EARLY_SIZE];
static size_t early_used;

/* ---- The real functions ---- */

static void *find(const char *name)
{
    bool was_inside = inside;
    void *found;

    inside = true;
    found = dlsym(RTLD_NEXT, name);
    inside = was_inside;
    if (found == NULL)
        abort();
    return found;
}

/* Declares `real`, the function that the definition around it stands in front of. */
#define REAL(type, name, ...)                                                                                \
    static type (*real)(__VA_ARGS__);                                                                        \
    if (real == NULL)                                                                                        \
    *(void **)&real = find(#name)

/* ---- Which calls fail ---- */

/* The callers of a call, innermost first. */
struct callers {
    void *frames[TORTURE_PLACES + 2]; /* the first two are in here */
    int count;
};

static _Unwind_Reason_Code note_caller(struct _Unwind_Context *context, void *data)
{
    struct callers *callers = data;

    if (callers->count == TORTURE_PLACES + 2)
        return _URC_END_OF_STACK;
    uintptr_t place = _Unwind_GetIP(context);
    memcpy(&callers->frames[callers->count++], &place, sizeof(place));
    return _URC_NO_REASON;
}

/* libconfig 1.5 does not look at what it allocates: no program that uses it survives these. Others can't
 * happen: the kernel never interrupts what libev wakes itself up by, an eventfd that does not block, and
 * libmicrohttpd, told once that a socket is ready, never finds that it is not. */
static bool is_hopeless(enum torture_call call, const char *object, bool is_caller)
{
    if (is_caller && strstr(object, "libev.so") != NULL)
        return call == TORTURE_read || call == TORTURE_write;
    if (is_caller && strstr(object, "libmicrohttpd.so") != NULL)
        return atomic_load(&control->error) == EAGAIN && (call == TORTURE_receive || call == TORTURE_send);
    return strstr(object, "libconfig.so") != NULL;
}

/* What a sanitizer asks for before a thread of the program begins is not the program's. */
static bool is_foreign(const char *object)
{
    return strstr(object, "libasan.so") != NULL || strstr(object, "libc.so") != NULL;
}

/* Notes where the first call that fails comes from; false if this one is not to fail. */
static bool note_places(enum torture_call call)
{
    bool is_ours = false, is_caller = true;
    bool is_first = atomic_load(&control->failed) == 0;
    struct callers callers = { .count = 0 };

    _Unwind_Backtrace(note_caller, &callers);
    for (int i = 0; i < TORTURE_PLACES; i++) {
        const char *object = "";
        Dl_info info;
        size_t offset = 0;

        if (is_first)
            control->places[i][0] = '\0';
        if (i + 2 < callers.count && dladdr(callers.frames[i + 2], &info) != 0 && info.dli_fname != NULL) {
            offset = (size_t)((char *)callers.frames[i + 2] - (char *)info.dli_fbase);
            object = info.dli_fname;
        }
        if (strstr(object, "torture/shim.so") != NULL)
            continue;
        if (is_hopeless(call, object, is_caller))
            return false;
        is_caller = false;
        is_ours = is_ours || (object[0] != '\0' && !is_foreign(object));
        if (is_first && i + 2 < callers.count)
            snprintf(control->places[i], TORTURE_PLACE_SIZE, "%s+%#zx", object, offset > 0 ? offset - 1 : 0);
    }
    return is_ours;
}

/* Counts a call; true with errno if it is to fail. */
static __attribute__((noinline)) bool fails(enum torture_call call)
{
    long number;
    bool fallible;

    if (control == NULL || !running || inside)
        return false;
    atomic_fetch_add(&control->counts[call], 1);
    if (atomic_load(&control->armed) != (int)call)
        return false;
    number = atomic_fetch_add(&control->reached, 1) + 1;
    if (number < atomic_load(&control->from) || number > atomic_load(&control->until))
        return false;
    inside = true;
    fallible = note_places(call);
    inside = false;
    if (!fallible)
        return false;
    atomic_fetch_add(&control->failed, 1);
    errno = atomic_load(&control->error);
    return true;
}

/* The main() of the program, and the one that stands in front of it. */
typedef int main_function(int count, char **arguments, char **environment);
static main_function *real_main;

static int counted_main(int count, char **arguments, char **environment)
{
    int status;

    running = true;
    status = real_main(count, arguments, environment);
    running = false;
    if (control != NULL)
        atomic_store(&control->has_returned, 1);
    return status;
}

EXPORTED int __libc_start_main(main_function *function, int count, char **arguments, void (*begin)(void),
                               void (*end)(void), void (*linker_end)(void), void *stack_end);

EXPORTED int __libc_start_main(main_function *function, int count, char **arguments, void (*begin)(void),
                               void (*end)(void), void (*linker_end)(void), void *stack_end)
{
    const char *path = getenv(TORTURE_VARIABLE);
    int descriptor;

    REAL(int, __libc_start_main, main_function *, int, char **, void (*)(void), void (*)(void),
         void (*)(void), void *);
    real_main = function;
    descriptor = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor != -1) {
        void *mapped = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);

        if (mapped != MAP_FAILED)
            control = mapped;
        close(descriptor);
    }
    return real(counted_main, count, arguments, begin, end, linker_end, stack_end);
}

/* ---- Memory ---- */

static void count_living(long change)
{
    if (control != NULL && running && !inside)
        atomic_fetch_add(&control->living, change);
}

static bool is_early(const void *memory)
{
    return (const char *)memory >= early && (const char *)memory < early + EARLY_SIZE;
}

/* Never freed. All zeros. */
static void *take_early(size_t size)
{
    size_t rounded = (size + 15) & ~(size_t)15;
    void *taken = early + early_used;

    if (rounded > EARLY_SIZE - early_used)
        abort();
    early_used += rounded;
    return taken;
}

/* The real functions; NULL while dlsym(), which needs memory itself, still looks for them. */
static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);

static void find_memory(void)
{
    static bool begun;

    if (begun)
        return;
    begun = true;
    void *found[] = { find("malloc"), find("calloc"), find("realloc"), find("free") };

    *(void **)&real_malloc = found[0];
    *(void **)&real_calloc = found[1];
    *(void **)&real_realloc = found[2];
    *(void **)&real_free = found[3];
}

EXPORTED void *malloc(size_t size)
{
    void *made;

    find_memory();
    if (fails(TORTURE_memory))
        return NULL;
    made = real_malloc != NULL ? real_malloc(size) : take_early(size);
    if (made != NULL)
        count_living(1);
    return made;
}

EXPORTED void *calloc(size_t count, size_t size)
{
    void *made;

    find_memory();
    if (fails(TORTURE_memory))
        return NULL;
    made = real_calloc != NULL ? real_calloc(count, size) : take_early(count * size);
    if (made != NULL)
        count_living(1);
    return made;
}

EXPORTED void free(void *memory)
{
    int error = errno;

    if (memory == NULL || is_early(memory))
        return;
    count_living(-1);
    real_free(memory);
    errno = error;
}

EXPORTED void *realloc(void *memory, size_t size)
{
    void *made;

    find_memory();
    if (size > 0 && fails(TORTURE_memory))
        return NULL;
    if (is_early(memory) || real_realloc == NULL) {
        made = real_malloc != NULL ? malloc(size) : take_early(size);
        if (made != NULL && memory != NULL)
            memcpy(made, memory, size); /* what lies behind it is ours too */
        return made;
    }
    made = real_realloc(memory, size);
    if (memory == NULL && made != NULL)
        count_living(1);
    else if (memory != NULL && size == 0)
        count_living(-1);
    return made;
}

EXPORTED void *reallocarray(void *memory, size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(memory, count * size);
}

EXPORTED void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset)
{
    REAL(void *, mmap, void *, size_t, int, int, int, off_t);
    if (fails(TORTURE_mmap))
        return MAP_FAILED;
    return real(address, length, protection, flags, descriptor, offset);
}

/* ---- All others ---- */

/* A function that gives -1 with errno. */
#define FAILING(call, type, name, parameters, arguments, ...)                                                \
    EXPORTED type name parameters                                                                            \
    {                                                                                                        \
        REAL(type, name, __VA_ARGS__);                                                                       \
        return fails(TORTURE_##call) ? -1 : real arguments;                                                  \
    }

FAILING(socket, int, socket, (int family, int type, int protocol), (family, type, protocol), int, int, int)
FAILING(socketpair, int, socketpair, (int family, int type, int protocol, int pair[2]),
        (family, type, protocol, pair), int, int, int, int *)
FAILING(bind, int, bind, (int descriptor, const struct sockaddr *address, socklen_t length),
        (descriptor, address, length), int, const struct sockaddr *, socklen_t)
FAILING(listen, int, listen, (int descriptor, int backlog), (descriptor, backlog), int, int)
FAILING(accept4, int, accept4, (int descriptor, struct sockaddr *address, socklen_t *length, int flags),
        (descriptor, address, length, flags), int, struct sockaddr *, socklen_t *, int)
FAILING(connect, int, connect, (int descriptor, const struct sockaddr *address, socklen_t length),
        (descriptor, address, length), int, const struct sockaddr *, socklen_t)
FAILING(setsockopt, int, setsockopt,
        (int descriptor, int level, int option, const void *value, socklen_t length),
        (descriptor, level, option, value, length), int, int, int, const void *, socklen_t)
FAILING(getsockopt, int, getsockopt, (int descriptor, int level, int option, void *value, socklen_t *length),
        (descriptor, level, option, value, length), int, int, int, void *, socklen_t *)
FAILING(getsockname, int, getsockname, (int descriptor, struct sockaddr *address, socklen_t *length),
        (descriptor, address, length), int, struct sockaddr *, socklen_t *)
FAILING(epoll_create, int, epoll_create1, (int flags), (flags), int)
FAILING(epoll_wait, int, epoll_wait, (int poller, struct epoll_event *events, int room, int milliseconds),
        (poller, events, room, milliseconds), int, struct epoll_event *, int, int)
FAILING(poll, int, poll, (struct pollfd * watched, nfds_t count, int milliseconds),
        (watched, count, milliseconds), struct pollfd *, nfds_t, int)
FAILING(eventfd, int, eventfd, (unsigned value, int flags), (value, flags), unsigned, int)
FAILING(timerfd, int, timerfd_create, (clockid_t clock, int flags), (clock, flags), clockid_t, int)
FAILING(inotify, int, inotify_init1, (int flags), (flags), int)
FAILING(inotify, int, inotify_add_watch, (int descriptor, const char *path, uint32_t mask),
        (descriptor, path, mask), int, const char *, uint32_t)
FAILING(pipe, int, pipe2, (int ends[2], int flags), (ends, flags), int *, int)
FAILING(pipe, int, pipe, (int ends[2]), (ends), int *)
FAILING(duplicate, int, dup2, (int from, int to), (from, to), int, int)
FAILING(read, ssize_t, read, (int descriptor, void *data, size_t size), (descriptor, data, size), int, void *,
        size_t)
FAILING(write, ssize_t, write, (int descriptor, const void *data, size_t size), (descriptor, data, size), int,
        const void *, size_t)
FAILING(write, ssize_t, pwrite, (int descriptor, const void *data, size_t size, off_t offset),
        (descriptor, data, size, offset), int, const void *, size_t, off_t)
FAILING(stat, int, stat, (const char *path, struct stat *status), (path, status), const char *, struct stat *)
FAILING(stat, int, lstat, (const char *path, struct stat *status), (path, status), const char *,
        struct stat *)
FAILING(stat, int, fstat, (int descriptor, struct stat *status), (descriptor, status), int, struct stat *)
FAILING(stat, int, access, (const char *path, int mode), (path, mode), const char *, int)
FAILING(file, int, mkdir, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
FAILING(file, int, unlink, (const char *path), (path), const char *)
FAILING(file, int, chmod, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
FAILING(file, int, lchown, (const char *path, uid_t user, gid_t group), (path, user, group), const char *,
        uid_t, gid_t)
FAILING(file, int, fchown, (int descriptor, uid_t user, gid_t group), (descriptor, user, group), int, uid_t,
        gid_t)
FAILING(file, int, ftruncate, (int descriptor, off_t length), (descriptor, length), int, off_t)
FAILING(file, int, chdir, (const char *path), (path), const char *)
FAILING(fork, pid_t, fork, (void), (), void)
FAILING(execute, int, execve, (const char *path, char *const *arguments, char *const *environment),
        (path, arguments, environment), const char *, char *const *, char *const *)
FAILING(limit, int, getrlimit, (__rlimit_resource_t resource, struct rlimit *limit), (resource, limit),
        __rlimit_resource_t, struct rlimit *)
FAILING(limit, int, setrlimit, (__rlimit_resource_t resource, const struct rlimit *limit), (resource, limit),
        __rlimit_resource_t, const struct rlimit *)

/* A connection that is said to be broken is broken: whoever looks again sees its end, as with the kernel. */
static bool transfer_fails(enum torture_call call, int descriptor)
{
    if (!fails(call))
        return false;
    if (errno == EPIPE || errno == ECONNRESET || errno == ETIMEDOUT || errno == ENOTCONN) {
        int error = errno;

        inside = true;
        shutdown(descriptor, SHUT_RDWR);
        inside = false;
        errno = error;
    }
    return true;
}

#define TRANSFER(call, type, name, parameters, arguments, ...)                                               \
    EXPORTED type name parameters                                                                            \
    {                                                                                                        \
        REAL(type, name, __VA_ARGS__);                                                                       \
        return transfer_fails(TORTURE_##call, descriptor) ? -1 : real arguments;                             \
    }

TRANSFER(shutdown, int, shutdown, (int descriptor, int how), (descriptor, how), int, int)
TRANSFER(receive, ssize_t, recv, (int descriptor, void *data, size_t size, int flags),
         (descriptor, data, size, flags), int, void *, size_t, int)
TRANSFER(receive, ssize_t, recvmsg, (int descriptor, struct msghdr *message, int flags),
         (descriptor, message, flags), int, struct msghdr *, int)
TRANSFER(receive, ssize_t, recvfrom,
         (int descriptor, void *restrict data, size_t size, int flags, struct sockaddr *restrict address,
          socklen_t *restrict length),
         (descriptor, data, size, flags, address, length), int, void *, size_t, int, struct sockaddr *,
         socklen_t *)
TRANSFER(send, ssize_t, send, (int descriptor, const void *data, size_t size, int flags),
         (descriptor, data, size, flags), int, const void *, size_t, int)
TRANSFER(send, ssize_t, sendto,
         (int descriptor, const void *data, size_t size, int flags, const struct sockaddr *address,
          socklen_t length),
         (descriptor, data, size, flags, address, length), int, const void *, size_t, int,
         const struct sockaddr *, socklen_t)
TRANSFER(send, ssize_t, sendmsg, (int descriptor, const struct msghdr *message, int flags),
         (descriptor, message, flags), int, const struct msghdr *, int)
TRANSFER(send, ssize_t, writev, (int descriptor, const struct iovec *pieces, int count),
         (descriptor, pieces, count), int, const struct iovec *, int)

/* One of the two is a socket, and then breaks with the error that it would have. */
EXPORTED ssize_t splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t size,
                        unsigned flags)
{
    REAL(ssize_t, splice, int, off64_t *, int, off64_t *, size_t, unsigned);
    if (!fails(TORTURE_splice))
        return real(from, from_offset, to, to_offset, size, flags);
    if (errno == EPIPE || errno == ECONNRESET) {
        inside = true;
        errno = shutdown(from, SHUT_RDWR) == 0 || shutdown(to, SHUT_RDWR) == -1 ? ECONNRESET : EPIPE;
        inside = false;
    }
    return -1;
}

EXPORTED int open(const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode = 0;

    REAL(int, open, const char *, int, ...);
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return fails(TORTURE_open) ? -1 : real(path, flags, mode);
}

EXPORTED FILE *fopen(const char *path, const char *mode)
{
    REAL(FILE *, fopen, const char *, const char *);
    return fails(TORTURE_open) ? NULL : real(path, mode);
}

/* The kernel needs memory only for descriptors that are new to it. */
EXPORTED int epoll_ctl(int poller, int operation, int descriptor, struct epoll_event *event)
{
    int result;

    REAL(int, epoll_ctl, int, int, int, struct epoll_event *);
    result = real(poller, operation, descriptor, event);
    if (result == -1 || operation != EPOLL_CTL_ADD || !fails(TORTURE_epoll_ctl))
        return result;
    result = errno;
    real(poller, EPOLL_CTL_DEL, descriptor, NULL);
    errno = result;
    return -1;
}

/* Only what can fail for an open descriptor. */
EXPORTED int fcntl(int descriptor, int command, ...)
{
    va_list arguments;
    void *argument;

    REAL(int, fcntl, int, int, ...);
    va_start(arguments, command);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && fails(TORTURE_duplicate))
        return -1;
    return real(descriptor, command, argument);
}

EXPORTED int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *),
                            void *data)
{
    REAL(int, pthread_create, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    return fails(TORTURE_thread) ? errno : real(thread, attributes, function, data);
}
