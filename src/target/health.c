#include "target/health.h"

#include "base/log.h"
#include "net/proxy_header.h"
#include "target/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A back-off of 75 to 125 % of the nominal one, so that many targets and processes don't retry in step. */
static double with_jitter(int64_t milliseconds)
{
    return (double)milliseconds / 1e3 * (0.75 + 0.5 * (double)random() / (double)RAND_MAX);
}

static void target_wait_to_retry(struct target *target, double seconds)
{
    if (target->is_retired)
        return;
    struct ev_loop *loop = target->set->runtime->loop;
    target->state = TARGET_DOWN;
    target->trial = NULL;
    ev_timer_stop(loop, &target->retry);
    ev_timer_set(&target->retry, seconds, 0.0);
    ev_timer_start(loop, &target->retry);
}

static void target_back_off(struct target *target)
{
    int64_t longest = target->set->settings->retry_max;
    target_wait_to_retry(target, with_jitter(target->retry_delay));
    target->retry_delay = target->retry_delay > longest / 2 ? longest : target->retry_delay * 2;
}

/* A target that waits for a header is told that nobody comes, lest it takes the probe for a fault. */
static void target_excuse_probe(const struct target *target, int descriptor)
{
    static const struct address nobody = { .family = AF_UNSPEC };
    char header[PROXY_HEADER_WRITE_MAX];
    int version = target->settings->send_proxy_protocol;
    if (version == 0)
        return;
    size_t length = proxy_header_write(version, &nobody, &nobody, header);
    if (send(descriptor, header, length, MSG_NOSIGNAL) == -1)
        log_debug(target->set->settings->name, "target %s: %s", target->settings->name, strerror(errno));
}

/* The probe's connection has shown what it was made for. */
static void target_probed(void *data, struct target *target, int descriptor)
{
    (void)data;
    struct descriptors *descriptors = &target->set->runtime->descriptors;
    target->probe = NULL;
    if (descriptor != -1) {
        target_excuse_probe(target, descriptor);
        close(descriptor);
        target_release(target);
    }
    descriptors_return(descriptors, 1);
}

static void target_probe(struct target *target)
{
    struct target_set *set = target->set;
    bool has_room = place_has_room(target, target->settings->max_connections, NULL);
    if (!has_room || !descriptors_reserve(&set->runtime->descriptors, 1)) {
        target_wait_to_retry(target, with_jitter(target->retry_delay));
        return;
    }
    target->probe = target_connect(target, target_probed, NULL);
    if (target->probe == NULL) {
        descriptors_return(&set->runtime->descriptors, 1);
        target_wait_to_retry(target, with_jitter(target->retry_delay));
    }
}

static void target_retry_due(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct target *target = watcher->data;
    target->state = TARGET_RETRY;
    target_set_notify(target->set);
    if (target->state != TARGET_RETRY)
        return;
    if (target->set->looked_up == NULL) /* no client took it */
        target_probe(target);
    else
        target_wait_to_retry(target, with_jitter(target->retry_delay));
}

void target_health_init(struct target *target)
{
    target->state = TARGET_UP;
    target->retry_delay = target->set->settings->retry_min;
    ev_timer_init(&target->retry, target_retry_due, 0.0, 0.0);
    target->retry.data = target;
}

void target_health_stop(struct target *target)
{
    ev_timer_stop(target->set->runtime->loop, &target->retry);
    if (target->probe != NULL) {
        target_cancel(target->probe);
        descriptors_return(&target->set->runtime->descriptors, 1);
        target->probe = NULL;
    }
}

void target_health_started(struct target *target, const struct target_attempt *attempt)
{
    if (target->state != TARGET_RETRY)
        return;
    target->state = TARGET_TRYING;
    target->trial = attempt;
}

bool target_health_connected(struct target *target, const struct target_attempt *attempt)
{
    if (target->set->looked_up == NULL)
        return target_health_succeeded(target);
    if (target->trial == attempt)
        target->trial = NULL;
    return false;
}

bool target_health_succeeded(struct target *target)
{
    target->retry_delay = target->set->settings->retry_min;
    target->trial = NULL;
    if (target->is_retired || target->state == TARGET_UP)
        return false;
    ev_timer_stop(target->set->runtime->loop, &target->retry);
    target->state = TARGET_UP;
    log_info(target->set->settings->name, "target %s is up", target->settings->name);
    return true;
}

void target_health_failed(struct target *target, const struct target_attempt *attempt, enum reason reason,
                          const char *text)
{
    if (target->is_retired || (target->state != TARGET_UP && target->trial != attempt))
        return; /* one of several attempts that ran when the first of them failed */
    target->failure = reason;
    snprintf(target->failure_text, sizeof target->failure_text, "%s", text);
    if (target->state == TARGET_UP) {
        target->counters.downs++;
        log_warning(target->set->settings->name, "target %s is down: %s", target->settings->name, text);
    }
    target_back_off(target);
}

void target_health_cancelled(struct target *target, const struct target_attempt *attempt)
{
    if (target->trial == attempt)
        target_wait_to_retry(target, 0.0);
}
