#include "server/upgrade.h"

#include "base/log.h"
#include "net/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long the new process waits for a word of the old one, milliseconds. */
#define UPGRADE_PATIENCE 10000

enum { WORD_READY = 'R', WORD_GO = 'G', WORD_DONE = 'D' };

void upgrade_init(struct upgrade *upgrade, char **arguments)
{
    *upgrade = (struct upgrade){
        .arguments = arguments,
        .binary = realpath("/proc/self/exe", NULL),
        .directory = getcwd(NULL, 0),
    };
}

void upgrade_free(struct upgrade *upgrade)
{
    upgrade_cancel(upgrade);
    free(upgrade->binary);
    free(upgrade->directory);
}

/* ---- the old process ---- */

static void upgrade_stop_watching(struct upgrade *upgrade)
{
    ev_io_stop(upgrade->loop, &upgrade->watcher);
    ev_timer_stop(upgrade->loop, &upgrade->timer);
}

/* Ends the new process before it has taken over, and goes on. Writes how it ended to `text`. */
static void upgrade_end_successor(struct upgrade *upgrade, char *text, size_t size)
{
    upgrade_stop_watching(upgrade);
    close(upgrade->watcher.fd);
    int status = launch_end(&upgrade->successor);
    if (status == -1)
        snprintf(text, size, "how it ended is not known");
    else if (WIFEXITED(status) && WEXITSTATUS(status) == LAUNCH_FAILED)
        snprintf(text, size, "status %d: the binary can't be executed", LAUNCH_FAILED);
    else if (WIFEXITED(status))
        snprintf(text, size, "it ended with status %d", WEXITSTATUS(status));
    else
        snprintf(text, size, "it was ended by signal %d", WTERMSIG(status));
    upgrade->owner.resume(upgrade->owner.owner);
}

static void upgrade_fail(struct upgrade *upgrade, const char *why)
{
    char text[64];
    pid_t successor = upgrade->successor.process;
    upgrade_end_successor(upgrade, text, sizeof text);
    log_error(NULL, "upgrade failed: process %ld %s (%s); this one goes on", (long)successor, why, text);
}

void upgrade_cancel(struct upgrade *upgrade)
{
    char text[64];
    pid_t successor = upgrade->successor.process;
    if (successor == 0)
        return;
    upgrade_end_successor(upgrade, text, sizeof text);
    log_info(NULL, "upgrade given up: process %ld was ended", (long)successor);
}

static void upgrade_timed_out(struct ev_loop *, ev_timer *watcher, int)
{
    upgrade_fail(watcher->data, "was not ready in time");
}

static void upgrade_ready(struct upgrade *upgrade)
{
    static const char go = WORD_GO;
    upgrade->released = true;
    upgrade->owner.release(upgrade->owner.owner);
    if (send(upgrade->watcher.fd, &go, 1, MSG_NOSIGNAL) != 1)
        upgrade_fail(upgrade, "can't be told to go on");
}

static void upgrade_done(struct upgrade *upgrade)
{
    pid_t successor = upgrade->successor.process;
    upgrade_stop_watching(upgrade);
    /* before the service manager hears of it, and looks whose child it is */
    launch_let_go(&upgrade->successor);
    upgrade->owner.over(upgrade->owner.owner, successor);
    close(upgrade->watcher.fd);
}

static void upgrade_heard(struct ev_loop *, ev_io *watcher, int events)
{
    struct upgrade *upgrade = watcher->data;
    char word = 0;
    if (events & EV_ERROR) { /* the kernel can't watch it */
        upgrade_fail(upgrade, "can't be heard");
        return;
    }
    ssize_t got = recv(watcher->fd, &word, 1, 0);
    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got == 1 && word == WORD_READY && !upgrade->released)
        upgrade_ready(upgrade);
    else if (got == 1 && word == WORD_DONE && upgrade->released)
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

void upgrade_start(struct upgrade *upgrade, struct launch_socket *sockets, size_t count)
{
    if (upgrade->successor.process != 0) {
        log_warning(NULL, "an upgrade is under way already, by process %ld",
                    (long)upgrade->successor.process);
        return;
    }
    upgrade->released = false;
    errno = ENOENT;
    int descriptor = upgrade->binary == NULL ? -1 : launch_start(upgrade, sockets, count);
    if (descriptor == -1) {
        log_error(NULL, "upgrade failed: %s: %s; this process goes on",
                  upgrade->binary != NULL ? upgrade->binary : "the binary", strerror(errno));
        return;
    }
    log_info(NULL, "upgrade: process %ld of %s is to take over", (long)upgrade->successor.process,
             upgrade->binary);
    ev_io_set(&upgrade->watcher, descriptor, EV_READ);
    ev_io_start(upgrade->loop, &upgrade->watcher);
    ev_timer_set(&upgrade->timer, upgrade->owner.patience, 0.0);
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

/* Sends a word and waits for the answer, or for the end of the old process. */
static void upgrade_say(int descriptor, char word)
{
    struct pollfd answer = { .fd = descriptor, .events = POLLIN };
    if (send(descriptor, &word, 1, MSG_NOSIGNAL) != 1)
        return;
    TEMP_FAILURE_RETRY(poll(&answer, 1, UPGRADE_PATIENCE));
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
