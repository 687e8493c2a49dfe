#include "target/target_loop.h"

#include "base/log.h"
#include "net/proxy_header.h"
#include "target/attempt.h"
#include "target/target_ask.h"
#include "target/target_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct runtime *runtime_of(const struct target *target)
{
    return target_loop_of(target->set)->runtime;
}

static bool loop_attach(struct target *target)
{
    return target_name_attach(target, runtime_of(target));
}

/* ---- Probes ---- */

static bool loop_may_probe(struct target *target)
{
    return descriptors_reserve(&runtime_of(target)->descriptors, 1);
}

/* A target that waits for a header is told that nobody comes, lest it takes the probe for a fault. */
static void loop_excuse_probe(const struct target *target, int descriptor)
{
    static const struct address nobody = { .family = AF_UNSPEC };
    char header[PROXY_HEADER_WRITE_MAX];
    int version = target->settings->send_proxy_protocol;
    if (version == 0)
        return;
    size_t length = proxy_header_write(version, &nobody, &nobody, header);
    if (send(descriptor, header, length, MSG_NOSIGNAL) == -1)
        log_debug(target->set->settings.listener, "target %s: %s", target->settings->name, strerror(errno));
}

static struct target_ask *loop_ask(struct target *target, int descriptor)
{
    loop_excuse_probe(target, descriptor);
    return target_ask_start(target, descriptor);
}

static void loop_probed(struct target *target, int descriptor)
{
    if (descriptor != -1) {
        loop_excuse_probe(target, descriptor);
        close(descriptor);
    }
    descriptors_return(&runtime_of(target)->descriptors, 1);
}

/* ---- Changes of state, and time ---- */

static void loop_changed(const struct target *target)
{
    const char *source = target->set->settings.listener;
    if (target->state == TARGET_UP)
        log_info(source, "target %s is up", target->settings->name);
    else
        log_warning(source, "target %s is down: %s", target->settings->name, target->failure_text);
}

static void loop_told(const struct target *target, bool is_warning, const char *text)
{
    if (is_warning)
        log_warning(target->set->settings.listener, "%s", text);
    else
        log_info(target->set->settings.listener, "%s", text);
}

/* The set looks after itself from the loop, before the loop waits. */
static void loop_wake(struct target_set *set)
{
    struct target_loop *loop = target_loop_of(set);
    ev_feed_event(loop->runtime->loop, &loop->due, EV_CUSTOM);
}

static void loop_due(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)events;
    struct target_set *set = watcher->data;
    int64_t now = turn_now(loop);
    target_set_tick(set, now);
    int64_t due = target_set_due(set);
    ev_timer_stop(loop, watcher);
    if (due == TARGET_NEVER)
        return;
    ev_timer_set(watcher, due > now ? (double)(due - now) / 1e6 : 0.0, 0.0);
    ev_timer_start(loop, watcher);
}

/* ---- The set ---- */

static void loop_committed(struct target_set *set)
{
    timer_change(&target_loop_of(set)->connect_timer, set->settings.connect_timeout, true,
                 turn_now(target_loop_of(set)->runtime->loop));
}

struct target_set *target_set_create(struct runtime *runtime, struct target_set_settings settings,
                                     const struct target_hooks *hooks, void *owner)
{
    static const struct target_driver driver = {
        .attach = loop_attach,
        .detach = target_name_detach,
        .connect = attempt_start,
        .cancel = attempt_cancel,
        .may_probe = loop_may_probe,
        .probed = loop_probed,
        .ask = loop_ask,
        .hang_up = target_ask_end,
        .committed = loop_committed,
        .changed = loop_changed,
        .told = loop_told,
        .wake = loop_wake,
    };
    struct target_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return NULL;
    loop->runtime = runtime;
    ev_timer_init(&loop->due, loop_due, 0.0, 0.0);
    loop->due.data = &loop->set;
    timer_init(&loop->connect_timer, runtime->loop, settings.connect_timeout, attempt_timed_out, loop);
    if (target_set_open(&loop->set, &driver, hooks, owner, &runtime->slots, (uint64_t)random(), settings))
        return &loop->set;
    target_set_destroy(&loop->set);
    return NULL;
}

void target_set_destroy(struct target_set *set)
{
    if (set == NULL)
        return;
    struct target_loop *loop = target_loop_of(set);
    target_set_close(set);
    ev_timer_stop(loop->runtime->loop, &loop->due); /* forgets an event that was fed in, too */
    timer_stop(&loop->connect_timer);
    free(loop);
}
