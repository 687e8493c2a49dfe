#include "target/target_ask.h"

#include "net/socket.h"
#include "target/attempt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* So much of an answer is looked at. */
#define ANSWER_MAX 16384

/* Owned by its target until target_ask_end(). */
struct target_ask {
    struct target *target;
    ev_io watcher;
    struct buffer question;
    struct buffer answer;
};

static struct ev_loop *ask_loop(const struct target_ask *ask)
{
    return target_loop_of(ask->target->set)->runtime->loop;
}

/* What has come is right, wrong, or not all yet; `ended`: no more comes. */
static void ask_evaluate(struct target_ask *ask, bool ended)
{
    struct target *target = ask->target;
    int64_t now = turn_now(ask_loop(ask));
    struct buffer error = { 0 };
    enum protocol_outcome outcome = check_read(&target->settings->check, target->set->settings.protocol,
                                               buffer_slice(&ask->answer), &error);
    buffer_append(&error, "", 1);
    if (ask->answer.failed || error.failed)
        target_check_void(target, now);
    else if (outcome == PROTOCOL_COMPLETE)
        target_check_passed(target, now);
    else if (outcome == PROTOCOL_BROKEN)
        target_check_failed(target, REASON_PROTOCOL_ERROR,
                            error.length > 1 ? buffer_bytes(&error) : "it answered something else", now);
    else if (ended)
        target_check_failed(target, REASON_TARGET_CLOSED, "it closed the connection without an answer", now);
    else if (ask->answer.length >= ANSWER_MAX)
        target_check_failed(target, REASON_PROTOCOL_ERROR, "its answer does not contain what is expected",
                            now);
    buffer_free(&error);
}

static void ask_hear(struct target_ask *ask)
{
    char bytes[4096];
    ssize_t length = recv(ask->watcher.fd, bytes, sizeof bytes, 0);
    if (length == -1 && socket_would_wait(errno))
        return;
    if (length > 0)
        buffer_append(&ask->answer, bytes, (size_t)length);
    ask_evaluate(ask, length <= 0);
}

static void ask_put(struct target_ask *ask)
{
    struct slice question = buffer_slice(&ask->question);
    ssize_t length =
        question.length == 0 ? 0 : send(ask->watcher.fd, question.bytes, question.length, MSG_NOSIGNAL);
    if (length > 0)
        buffer_consume(&ask->question, (size_t)length);
    if (length == -1 && !socket_would_wait(errno))
        buffer_free(&ask->question); /* reading will say why */
    ev_io_stop(ask_loop(ask), &ask->watcher);
    ev_io_set(&ask->watcher, ask->watcher.fd, ask->question.length > 0 ? EV_READ | EV_WRITE : EV_READ);
    ev_io_start(ask_loop(ask), &ask->watcher);
}

static void ask_ready(struct ev_loop *, ev_io *watcher, int events)
{
    struct target_ask *ask = watcher->data;
    if (events & EV_ERROR) { /* the kernel can't watch it */
        target_check_void(ask->target, turn_now(ask_loop(ask)));
        return;
    }
    if (events & EV_WRITE)
        ask_put(ask);
    if (events & EV_READ)
        ask_hear(ask);
}

struct target_ask *target_ask_start(struct target *target, int descriptor)
{
    struct target_ask *ask = calloc(1, sizeof *ask);
    if (ask == NULL) {
        close(descriptor);
        return NULL;
    }
    ask->target = target;
    check_write(&target->settings->check, target->set->settings.protocol, NULL, &ask->question);
    ev_io_init(&ask->watcher, ask_ready, descriptor, EV_READ | EV_WRITE);
    ask->watcher.data = ask;
    ev_io_start(ask_loop(ask), &ask->watcher);
    return ask;
}

void target_ask_end(struct target *target)
{
    struct target_ask *ask = target->check.ask;
    ev_io_stop(ask_loop(ask), &ask->watcher);
    close(ask->watcher.fd);
    buffer_free(&ask->question);
    buffer_free(&ask->answer);
    free(ask);
}
