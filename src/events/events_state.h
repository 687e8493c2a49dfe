/* The structs of events. Used inside this room only. */
#ifndef EVENTS_EVENTS_STATE_H
#define EVENTS_EVENTS_STATE_H

#include "base/buffer.h"
#include "events/events.h"
#include "events/events_module.h"

/* Owns its modules. */
struct events {
    int references;
    struct module *modules;
    size_t count;
};

struct events_listener {
    int references;
    struct events *events;
    struct listener_settings *settings;
    const char *protocol;    /* name of it */
    struct module **modules; /* those of `events` that are for this listener */
    size_t count;
    bool wants_exchanges;
    bool wants_requests; /* a module has `request` */
    size_t request_bytes;
    size_t response_bytes;
    size_t parameter_bytes;
};

/* Writes the line of `request_log`. `text` ends with a zero. */
void request_log_write(const struct proximux_client *client, const struct proximux_exchange *exchange);

#endif
