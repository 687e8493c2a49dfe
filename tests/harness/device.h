/* A target that works as it is in the mood to: a Modbus device, or gateway with several units, or a server that speaks
 * like PostgreSQL at its beginning. Any number of connections, served by one thread. */
#ifndef HARNESS_DEVICE_H
#define HARNESS_DEVICE_H

#include "harness/test.h"

struct device;

enum device_mood {
    DEVICE_GOOD,
    DEVICE_SILENT,   /* takes requests, and answers none */
    DEVICE_CLOSES,   /* each connection at once */
    DEVICE_SWALLOWS, /* closes on each request */
    DEVICE_STRANGE,  /* answers with a transaction id of its own */
};

/* The unit of a gateway that is dead: never answers; and the one that makes it close the connection. */
#define DEVICE_DEAD_UNIT  9
#define DEVICE_CRASH_UNIT 13

/* Starts one on 127.0.0.1 at a free port. A Modbus device answers each read of a register with `value`; the server
 * answers a start-up packet with 'R' and ends on anything else. Owned by the caller: device_stop(). */
#define device_start(is_modbus, value) device_start_at((is_modbus), (value), HERE)
struct device *device_start_at(bool is_modbus, unsigned char value, struct place place);

unsigned device_port(const struct device *device);
void device_set_mood(struct device *device, enum device_mood mood);

/* Connections so far, and requests. */
size_t device_accepted(struct device *device);
size_t device_requests(struct device *device);

/* The most connections that there were at a time. */
size_t device_most(struct device *device);

void device_stop(struct device *device);

#endif
