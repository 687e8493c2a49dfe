/* Address lists: the blocklist and allowlist of a listener. Immutable once built and counted by reference. */
#ifndef ACCESS_ACCESS_LIST_H
#define ACCESS_ACCESS_LIST_H

#include "net/address.h"

#include <stdbool.h>
#include <stddef.h>

struct access_list;

/* Called for each fault: `file` and `line` are NULL and 0 unless it is inside a list file. `message` reads well
 * after "KEY: ". */
typedef void access_list_fault(void *data, const char *file, unsigned line, const char *message);

/* Builds a list of entries: addresses, CIDR blocks, ranges "A-B" (of one family, both ends included), or "file:PATH"
 * of a file that has one of these a line, with comments behind '#'. IPv4-mapped IPv6 counts as IPv4. All faults are
 * reported, at most 20 a file: NULL then. The caller owns one reference. */
struct access_list *access_list_build(const char *const *entries, size_t count, access_list_fault *fault,
                                      void *data);

struct access_list *access_list_reference(struct access_list *list);
void access_list_release(struct access_list *list); /* NULL is allowed */

/* Whether the list holds the address, whatever its port. A unix peer is in no list. */
bool access_list_contains(const struct access_list *list, const struct address *address);

/* Whether both hold the same addresses; each may be NULL, which holds none. */
bool access_list_equal(const struct access_list *a, const struct access_list *b);

/* How many ranges remain after sorting and merging; for the log. */
size_t access_list_size(const struct access_list *list);

#endif
