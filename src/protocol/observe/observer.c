#include "protocol/observe/observe.h"

#include <stdlib.h>

struct observer *observer_create(const struct observer_settings *settings, const struct observer_hooks *hooks,
                                 void *owner)
{
    const struct protocol *protocol = settings->protocol->protocol;
    const struct follower *follower = protocol->turn_gap != NULL   ? &follower_raw
                                      : protocol->follower != NULL ? protocol->follower
                                                                   : &follower_framer;
    struct observer *observer =
        calloc(1, follower->size + protocol->client_size + sizeof(uint64_t) + protocol->connection_size);
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
        follower->open(observer);
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
        observer->follower->close(observer);
    for (enum observe_side side = OBSERVE_CLIENT; side < OBSERVE_SIDES; side++) {
        observe_drop(observer, side);
        buffer_free(&observer->sides[side].packet.body);
    }
    free(observer);
}

static void observer_bytes(struct observer *observer, enum observe_side side, struct slice input, int64_t now)
{
    observer->now = now;
    while (input.length > 0 && !observer->is_silent)
        observer->follower->bytes(observer, side, &input);
}

void observer_client_bytes(struct observer *observer, const char *bytes, size_t length, int64_t now)
{
    observer_bytes(observer, OBSERVE_CLIENT, (struct slice){ bytes, length }, now);
}

void observer_target_bytes(struct observer *observer, const char *bytes, size_t length, int64_t now)
{
    observer_bytes(observer, OBSERVE_TARGET, (struct slice){ bytes, length }, now);
}

void observer_target_end(struct observer *observer, int64_t now)
{
    observer->now = now;
    if (!observer->is_silent && observer->follower->target_end != NULL)
        observer->follower->target_end(observer);
}
