/* Finds a byte string in bytes that come in pieces. What it remembers between two pieces is how much of the
 * string's beginning stands at the end of those before: that beginning is the only text that could be needed
 * again, so no byte is ever looked for twice. */
#ifndef PROTOCOL_MATCH_H
#define PROTOCOL_MATCH_H

#include "base/slice.h"

#include <stdint.h>

/* All zeros at first, and again once the string was found. */
struct match {
    uint32_t matched;
};

/* Goes on looking for `pattern`, which is not empty and the same in all calls. True if an occurrence ends in
 * these bytes: `taken` is how many of them go up to its end. Otherwise `taken` is all of them. */
bool match_find(struct match *match, struct slice pattern, struct slice bytes, size_t *taken);

#endif
