/* Texts that several hold: a prepared statement's is also that of its portals and of each of its executions.
 * And a store of them by name, of bounded size, in which the one that was used least lately gives way. Each
 * may have another one attached, such as the types of a statement's parameters: any bytes are a text here. */
#ifndef PROTOCOL_TEXT_H
#define PROTOCOL_TEXT_H

#include "base/list.h"
#include "base/slice.h"

/* Counted by reference. */
struct text {
    unsigned references;
    bool is_truncated;
    size_t length;
    char bytes[]; /* with a zero behind them */
};

/* A copy of at most `limit` bytes. NULL when memory is short. */
struct text *text_create(struct slice bytes, size_t limit);
struct text *text_reference(struct text *text); /* NULL is allowed, and returned */
void text_release(struct text *text);           /* NULL is allowed */

/* Its bytes; NULL has none. */
static inline struct slice text_slice(const struct text *text)
{
    return text == NULL ? SLICE("") : (struct slice){ text->bytes, text->length };
}

/* Longest name that is kept; texts with a longer one are not found again. */
#define TEXT_NAME_MAX 255

#define TEXT_BUCKETS 64

/* Owned by whoever embeds it; text_store_init() first, text_store_clear() when done. */
struct text_store {
    struct list entries; /* the one used least lately first */
    struct list buckets[TEXT_BUCKETS];
    size_t size; /* bytes of all entries, with their names and what is attached */
    size_t limit;
};

void text_store_init(struct text_store *store, size_t limit);

/* Adds or replaces, with references of its own; both may be NULL. What has no text, does not fit, or finds
 * memory short is not there afterwards. */
void text_store_put(struct text_store *store, struct slice name, struct text *text, struct text *attached);

/* The text of that name and what is attached to it, without references, or NULL. `attached` may be NULL. */
struct text *text_store_get(struct text_store *store, struct slice name, struct text **attached);

/* Replaces what is attached to this very text, if it is still there; quick for those that were used last. */
void text_store_attach(struct text_store *store, const struct text *text, struct text *attached);

void text_store_remove(struct text_store *store, struct slice name);
void text_store_clear(struct text_store *store);

#endif
