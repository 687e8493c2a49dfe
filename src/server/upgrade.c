#include "server/upgrade.h"

#include "base/buffer.h"
#include "base/log.h"
#include "net/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Half a million lines of lists and slow name servers have their time; who hangs is given up. */
#define UPGRADE_SECONDS 30.0

/* How long the new process waits for a word of the old one, milliseconds. */
#define UPGRADE_PATIENCE 10000

#define UPGRADE_VARIABLE "LISTEN_HANDOVER"

enum { WORD_READY = 'R', WORD_GO = 'G', WORD_DONE = 'D' };

#define VARIABLE_SIZE 40

/* All that the new process is started with, made before the fork: after it, memory can't be had safely. */
struct launch {
    const struct upgrade *upgrade;
    const struct upgrade_socket *sockets;
    size_t count;
    int pair; /* its end of the socket pair */
    int *safe;
    struct buffer names;
    char descriptors[VARIABLE_SIZE];
    char handover[VARIABLE_SIZE];
    char listen_pid[VARIABLE_SIZE]; /* these two are filled in by the new process */
    char watchdog_pid[VARIABLE_SIZE];
    char **environment;
};

void upgrade_init(struct upgrade *upgrade, char **arguments)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    *upgrade = (struct upgrade){ .arguments = arguments };
    if (length > 0) {
        path[length] = '\0';
        upgrade->binary = strdup(path);
    }
    upgrade->directory = getcwd(NULL, 0);
}

void upgrade_free(struct upgrade *upgrade)
{
    upgrade_cancel(upgrade);
    free(upgrade->binary);
    free(upgrade->directory);
}

/* ---- starting the new process ---- */

static bool is_replaced(const char *variable)
{
    return strncmp(variable, "LISTEN_", 7) == 0 || strncmp(variable, "WATCHDOG_PID=", 13) == 0;
}

static bool launch_make_environment(struct launch *launch)
{
    size_t count = 0;
    size_t used = 0;
    for (size_t i = 0; environ[i] != NULL; i++)
        count++;
    launch->environment = calloc(count + 6, sizeof(char *));
    if (launch->environment == NULL)
        return false;
    for (size_t i = 0; environ[i] != NULL; i++)
        if (!is_replaced(environ[i]))
            launch->environment[used++] = environ[i];
    launch->environment[used++] = launch->descriptors;
    launch->environment[used++] = launch->handover;
    launch->environment[used++] = launch->listen_pid;
    launch->environment[used++] = buffer_bytes(&launch->names);
    if (getenv("WATCHDOG_PID") != NULL)
        launch->environment[used++] = launch->watchdog_pid;
    return true;
}

static bool launch_make(struct launch *launch)
{
    launch->safe = calloc(launch->count, sizeof *launch->safe);
    buffer_append_text(&launch->names, "LISTEN_FDNAMES=");
    for (size_t i = 0; i < launch->count; i++)
        buffer_print(&launch->names, "%s%s", i == 0 ? "" : ":", launch->sockets[i].name);
    buffer_append(&launch->names, "", 1);
    snprintf(launch->descriptors, VARIABLE_SIZE, "LISTEN_FDS=%zu", launch->count);
    snprintf(launch->handover, VARIABLE_SIZE, "%s=%zu", UPGRADE_VARIABLE, INHERITED_FIRST + launch->count);
    return launch->safe != NULL && !launch->names.failed && launch_make_environment(launch);
}

static void launch_free(struct launch *launch)
{
    free(launch->safe);
    free(launch->environment);
    buffer_free(&launch->names);
}

/* Puts the sockets and the pair's end where the new process expects them, out of each other's way first. */
static bool launch_place_descriptors(const struct launch *launch)
{
    int end = INHERITED_FIRST + (int)launch->count;
    int pair = fcntl(launch->pair, F_DUPFD_CLOEXEC, end + 1);
    if (pair == -1)
        return false;
    for (size_t i = 0; i < launch->count; i++) {
        launch->safe[i] = fcntl(launch->sockets[i].descriptor, F_DUPFD_CLOEXEC, end + 1);
        if (launch->safe[i] == -1)
            return false;
    }
    for (size_t i = 0; i < launch->count; i++)
        if (dup2(launch->safe[i], INHERITED_FIRST + (int)i) == -1)
            return false;
    return dup2(pair, end) != -1;
}

/* In the new process, before it becomes the new binary. All signals are blocked. */
static void launch_become(struct launch *launch)
{
    static const int handled[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };
    sigset_t none;
    sigemptyset(&none);
    for (size_t i = 0; i < sizeof handled / sizeof handled[0]; i++)
        signal(handled[i], SIG_DFL); /* the loop's handlers would wake the old process */
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(launch->listen_pid, VARIABLE_SIZE, "LISTEN_PID=%ld", (long)getpid());
    snprintf(launch->watchdog_pid, VARIABLE_SIZE, "WATCHDOG_PID=%ld", (long)getpid());
    if (launch_place_descriptors(launch) &&
        (launch->upgrade->directory == NULL || chdir(launch->upgrade->directory) == 0))
        execve(launch->upgrade->binary, launch->upgrade->arguments, launch->environment);
    _exit(127);
}

static pid_t launch_fork(struct launch *launch)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t child = fork();
    if (child == 0)
        launch_become(launch);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return child;
}

/* Returns our end of the socket pair, or -1 with errno. */
static int upgrade_launch(struct upgrade *upgrade, const struct upgrade_socket *sockets, size_t count)
{
    int ends[2];
    struct launch launch = { .upgrade = upgrade, .sockets = sockets, .count = count };
    if (upgrade->binary == NULL) {
        errno = ENOENT;
        return -1;
    }
    if (access(upgrade->binary, X_OK) == -1 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == -1)
        return -1;
    launch.pair = ends[1];
    pid_t child = -1;
    if (launch_make(&launch))
        child = launch_fork(&launch);
    int error = errno;
    launch_free(&launch);
    close(ends[1]);
    if (child == -1) {
        close(ends[0]);
        errno = error;
        return -1;
    }
    upgrade->heir = child;
    return ends[0];
}

/* ---- the old process ---- */

static void upgrade_stop_watching(struct upgrade *upgrade)
{
    ev_io_stop(upgrade->loop, &upgrade->watcher);
    ev_timer_stop(upgrade->loop, &upgrade->timer);
    close(upgrade->watcher.fd);
}

/* The new process is not to take over any more. Returns how it ended, for the log. */
static const char *upgrade_end_heir(struct upgrade *upgrade, char *text, size_t size)
{
    int status = 0;
    upgrade_stop_watching(upgrade);
    kill(upgrade->heir, SIGKILL); /* nothing but a zombie, if it has ended by itself */
    while (waitpid(upgrade->heir, &status, 0) == -1 && errno == EINTR)
        ;
    upgrade->heir = 0;
    if (WIFEXITED(status))
        snprintf(text, size, "it ended with status %d", WEXITSTATUS(status));
    else
        snprintf(text, size, "it was ended by signal %d", WTERMSIG(status));
    return text;
}

static void upgrade_fail(struct upgrade *upgrade, const char *why)
{
    char text[64];
    pid_t heir = upgrade->heir;
    const char *end = upgrade_end_heir(upgrade, text, sizeof text);
    upgrade->owner.resume(upgrade->owner.owner);
    log_error(NULL, "upgrade failed: process %ld %s (%s); this one goes on", (long)heir, why, end);
}

void upgrade_cancel(struct upgrade *upgrade)
{
    char text[64];
    if (upgrade->heir == 0)
        return;
    pid_t heir = upgrade->heir;
    upgrade_end_heir(upgrade, text, sizeof text);
    upgrade->owner.resume(upgrade->owner.owner);
    log_info(NULL, "upgrade given up: process %ld was ended", (long)heir);
}

static void upgrade_timed_out(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    upgrade_fail(watcher->data, "was not ready in time");
}

static void upgrade_ready(struct upgrade *upgrade)
{
    static const char go = WORD_GO;
    upgrade->yielded = true;
    upgrade->owner.yield(upgrade->owner.owner);
    if (send(upgrade->watcher.fd, &go, 1, MSG_NOSIGNAL) != 1)
        upgrade_fail(upgrade, "can't be told to go on");
}

static void upgrade_done(struct upgrade *upgrade)
{
    pid_t heir = upgrade->heir;
    ev_io_stop(upgrade->loop, &upgrade->watcher);
    ev_timer_stop(upgrade->loop, &upgrade->timer);
    upgrade->heir = 0;
    upgrade->owner.over(upgrade->owner.owner, heir);
    close(upgrade->watcher.fd);
}

static void upgrade_heard(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    struct upgrade *upgrade = watcher->data;
    char word = 0;
    ssize_t got = recv(watcher->fd, &word, 1, 0);
    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got == 1 && word == WORD_READY && !upgrade->yielded)
        upgrade_ready(upgrade);
    else if (got == 1 && word == WORD_DONE && upgrade->yielded)
        upgrade_done(upgrade);
    else
        upgrade_fail(upgrade, "did not start");
}

void upgrade_attach(struct upgrade *upgrade, struct ev_loop *loop, const struct upgrade_owner *owner)
{
    upgrade->loop = loop;
    upgrade->owner = *owner;
    ev_init(&upgrade->watcher, upgrade_heard);
    upgrade->watcher.data = upgrade;
    ev_init(&upgrade->timer, upgrade_timed_out);
    upgrade->timer.data = upgrade;
}

void upgrade_start(struct upgrade *upgrade, const struct upgrade_socket *sockets, size_t count)
{
    if (upgrade->heir != 0) {
        log_warning(NULL, "an upgrade is under way already, by process %ld", (long)upgrade->heir);
        return;
    }
    upgrade->yielded = false;
    int descriptor = upgrade_launch(upgrade, sockets, count);
    if (descriptor == -1) {
        log_error(NULL, "upgrade failed: %s: %s; this process goes on",
                  upgrade->binary != NULL ? upgrade->binary : "the binary", strerror(errno));
        return;
    }
    log_info(NULL, "upgrade: process %ld of %s is to take over", (long)upgrade->heir, upgrade->binary);
    ev_io_set(&upgrade->watcher, descriptor, EV_READ);
    ev_io_start(upgrade->loop, &upgrade->watcher);
    ev_timer_set(&upgrade->timer, UPGRADE_SECONDS, 0.0);
    ev_timer_start(upgrade->loop, &upgrade->timer);
}

/* ---- the new process ---- */

int upgrade_find_predecessor(void)
{
    const char *text = getenv(UPGRADE_VARIABLE);
    int descriptor = -1;
    if (text != NULL && *text != '\0' && strlen(text) < 8 && strspn(text, "0123456789") == strlen(text))
        descriptor = atoi(text);
    unsetenv(UPGRADE_VARIABLE);
    if (descriptor < INHERITED_FIRST || fcntl(descriptor, F_SETFD, FD_CLOEXEC) == -1)
        return -1;
    return descriptor;
}

/* Says a word and waits for one, or for the old process to be gone. */
static void upgrade_say(int descriptor, char word)
{
    struct pollfd answer = { .fd = descriptor, .events = POLLIN };
    if (send(descriptor, &word, 1, MSG_NOSIGNAL) != 1)
        return;
    while (poll(&answer, 1, UPGRADE_PATIENCE) == -1 && errno == EINTR)
        ;
    if (recv(descriptor, &word, 1, MSG_DONTWAIT) == -1)
        log_debug(NULL, "no word from the process before this one: %s", strerror(errno));
}

void upgrade_ask(int descriptor)
{
    upgrade_say(descriptor, WORD_READY);
}

void upgrade_take_over(int descriptor)
{
    upgrade_say(descriptor, WORD_DONE);
    close(descriptor);
}
