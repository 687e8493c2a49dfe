/* The bounded ring of lines between callers of the log and its writer thread. The caller holds a lock. */
#ifndef BASE_LOG_RING_H
#define BASE_LOG_RING_H

#include "base/log.h"

/* What precedes each line in the ring. */
struct log_entry {
    uint64_t dropped; /* lines that were dropped right before this one */
    uint32_t length;
    enum log_kind kind;
};

/* Owned by its writer. */
struct log_ring {
    unsigned char *bytes;
    size_t size;
    size_t head; /* of the oldest entry */
    size_t used;
};

/* False when memory is short. */
bool log_ring_init(struct log_ring *ring, size_t size);
void log_ring_free(struct log_ring *ring);

/* Copies a line in, behind all others; false: there is no room for it. */
bool log_ring_put(struct log_ring *ring, enum log_kind kind, uint64_t dropped, const char *line,
                  size_t length);

/* The oldest entry, which stays; false: there is none. */
bool log_ring_peek(const struct log_ring *ring, struct log_entry *entry);

/* The number of lines dropped right before the oldest entry was written. */
void log_ring_forget_dropped(struct log_ring *ring);

/* Moves the line of the oldest entry, as peeked, to `text`. */
void log_ring_take(struct log_ring *ring, const struct log_entry *entry, char *text);

#endif
