/* Address lists: the blocklist and allowlist of a listener. Immutable once built and counted by reference. */
#ifndef ACCESS_ACCESS_LIST_H
#define ACCESS_ACCESS_LIST_H

#include "net/address.h"

#include <stdbool.h>
#include <stddef.h>

struct access_list;

/* Called for each fault found while building. `file` and `line` are set for a fault inside a list file, else
 * NULL and 0. `message` reads well after "KEY: ". */
typedef void access_list_fault(void *data, const char *file, unsigned line, const char *message);

/* Builds a list from `count` entries, each an address, a CIDR block, a range "A-B" (both ends included, one
 * family) or "file:PATH". A file holds one address, block or range a line; blank lines and what follows '#'
 * are ignored; a file may not name another. IPv4-mapped IPv6 addresses count as IPv4 (also
 * "::ffff:10.0.0.0/104"). A block with host bits set is a fault naming the block that was probably meant. All
 * faults are reported, at most 20 per file. NULL if there was any (or memory is short, also reported). The
 * caller owns one reference. */
struct access_list *access_list_build(const char *const *entries, size_t count, access_list_fault *fault,
                                      void *data);

struct access_list *access_list_reference(struct access_list *list);
void access_list_release(struct access_list *list); /* NULL is allowed */

/* Whether the list holds the address (its port plays no part). A unix peer is in no list. */
bool access_list_contains(const struct access_list *list, const struct address *address);

/* Whether both hold the same addresses; each may be NULL, which holds none. */
bool access_list_equal(const struct access_list *a, const struct access_list *b);

/* How many ranges remain after sorting and merging; for the log. */
size_t access_list_size(const struct access_list *list);

#endif
