#include "protocol/observe/observer.h"

#include "protocol/observe/observe.h"

#include <stdlib.h>

static const struct follower *observer_follower(const struct protocol *protocol)
{
    if (protocol == NULL || protocol->turn_gap != NULL)
        return &follower_raw;
    return protocol->follower != NULL ? protocol->follower : &follower_framer;
}

struct observer *observer_create(const struct observer_settings *settings, const struct observer_hooks *hooks,
                                 void *owner)
{
    const struct follower *follower = observer_follower(settings->protocol->protocol);
    size_t size = follower->size;
    if (follower == &follower_framer)
        size += observe_framer_size(settings->protocol);
    struct observer *observer = calloc(1, sizeof *observer + size);
    if (observer == NULL)
        return NULL;
    observer->protocol = settings->protocol;
    observer->follower = follower;
    observer->hooks = *hooks;
    observer->owner = owner;
    observer->parameter_limit = settings->parameter_limit;
    observer->sides[OBSERVE_CLIENT].limit = settings->request_limit;
    observer->sides[OBSERVE_TARGET].limit = settings->response_limit;
    list_init(&observer->pending);
    if (follower->open != NULL)
        follower->open(observer, observer->state);
    return observer;
}

void observer_destroy(struct observer *observer)
{
    if (observer == NULL)
        return;
    struct pending *pending;
    while ((pending = observe_first(observer)) != NULL)
        observe_forget(observer, pending);
    if (observer->follower->close != NULL)
        observer->follower->close(observer, observer->state);
    observe_drop(observer, OBSERVE_CLIENT);
    observe_drop(observer, OBSERVE_TARGET);
    free(observer);
}

void observer_client_bytes(struct observer *observer, const char *bytes, size_t length, int64_t now)
{
    struct slice input = { bytes, length };
    observer->now = now;
    while (input.length > 0 && !observer->is_silent)
        observer->follower->client(observer, observer->state, &input);
}

void observer_target_bytes(struct observer *observer, const char *bytes, size_t length, int64_t now)
{
    struct slice input = { bytes, length };
    observer->now = now;
    while (input.length > 0 && !observer->is_silent)
        observer->follower->target(observer, observer->state, &input);
}

void observer_target_end(struct observer *observer, int64_t now)
{
    observer->now = now;
    if (!observer->is_silent && observer->follower->target_end != NULL)
        observer->follower->target_end(observer, observer->state);
}

void observer_end(struct observer *observer)
{
    observe_end(observer);
}

bool observer_is_silent(const struct observer *observer)
{
    return observer->is_silent;
}
