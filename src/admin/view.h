/* What admin shows: the owner of the listeners fills these structs in on request. What they point to is valid
 * until the loop goes on. */
#ifndef ADMIN_VIEW_H
#define ADMIN_VIEW_H

#include "base/counters.h"
#include "net/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Moments are milliseconds since 1970. */
struct admin_process {
    int64_t started;
    bool is_draining;
    const char *file; /* the configuration; NULL: there is none */
    int64_t loaded;   /* when it came into effect */
    uint64_t reloads;
    uint64_t reloads_refused;
    bool is_refused;    /* whether the last reload was refused */
    size_t descriptors; /* free ones */
    size_t listeners;
};

struct admin_listener {
    const char *name;
    const char *mode;
    const char *protocol;
    const char *targets_of; /* the listener that shows its targets; NULL: it does */
    const char *state;      /* "starting", "accepting", "short of descriptors", "draining" */
    struct listener_gauges gauges;
    const struct counters *counters;
    size_t addresses;
    size_t targets;
};

/* `listener` is an index below admin_process.listeners, `index` that of one of its addresses or targets. */
struct admin_source {
    void *owner; /* handed to the functions */
    struct admin_process (*process)(void *owner);
    struct admin_listener (*listener)(void *owner, size_t listener);
    /* Writes an address such as "127.0.0.1:80" or "unix:/run/x". */
    void (*address)(void *owner, size_t listener, size_t index, char *text, size_t size);
    struct service_target (*target)(void *owner, size_t listener, size_t index);
    /* Prints the configuration that is in effect, passwords hidden. */
    void (*dump)(void *owner, FILE *stream);
};

/* A name for a target that no other of its listener has: one that is named twice gets a number. `text` takes
 * ADMIN_NAME_SIZE; returns it. */
#define ADMIN_NAME_SIZE 320
const char *admin_target_name(const struct admin_source *source, size_t listener, size_t index, char *text);

/* Processor time of this process in seconds, user and system; its resident memory in bytes, 0 if unknown. */
double admin_processor_seconds(void);
double admin_resident_bytes(void);

#endif
