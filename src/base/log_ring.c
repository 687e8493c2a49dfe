#include "base/log_ring.h"

#include <stdlib.h>
#include <string.h>

bool log_ring_init(struct log_ring *ring, size_t size)
{
    *ring = (struct log_ring){ .bytes = malloc(size), .size = size };
    return ring->bytes != NULL;
}

void log_ring_free(struct log_ring *ring)
{
    free(ring->bytes);
    ring->bytes = NULL;
}

static void ring_copy_in(struct log_ring *ring, size_t at, const void *data, size_t length)
{
    at %= ring->size;
    size_t first = length < ring->size - at ? length : ring->size - at;
    memcpy(ring->bytes + at, data, first);
    memcpy(ring->bytes, (const unsigned char *)data + first, length - first);
}

static void ring_copy_out(const struct log_ring *ring, size_t at, void *data, size_t length)
{
    at %= ring->size;
    size_t first = length < ring->size - at ? length : ring->size - at;
    memcpy(data, ring->bytes + at, first);
    memcpy((unsigned char *)data + first, ring->bytes, length - first);
}

bool log_ring_put(struct log_ring *ring, enum log_kind kind, uint64_t dropped, const char *line,
                  size_t length)
{
    struct log_entry entry;
    if (sizeof entry + length > ring->size - ring->used)
        return false;
    memset(&entry, 0, sizeof entry);
    entry.dropped = dropped;
    entry.length = (uint32_t)length;
    entry.kind = kind;
    ring_copy_in(ring, ring->head + ring->used, &entry, sizeof entry);
    ring_copy_in(ring, ring->head + ring->used + sizeof entry, line, length);
    ring->used += sizeof entry + length;
    return true;
}

bool log_ring_peek(const struct log_ring *ring, struct log_entry *entry)
{
    if (ring->used == 0)
        return false;
    ring_copy_out(ring, ring->head, entry, sizeof *entry);
    return true;
}

void log_ring_forget_dropped(struct log_ring *ring)
{
    struct log_entry entry;
    if (!log_ring_peek(ring, &entry))
        return;
    entry.dropped = 0;
    ring_copy_in(ring, ring->head, &entry, sizeof entry);
}

void log_ring_take(struct log_ring *ring, const struct log_entry *entry, char *text)
{
    ring_copy_out(ring, ring->head + sizeof *entry, text, entry->length);
    ring->head = (ring->head + sizeof *entry + entry->length) % ring->size;
    ring->used -= sizeof *entry + entry->length;
}
