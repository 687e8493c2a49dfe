#include "protocol/match.h"

/* How much of the pattern stands at the end of its first `matched` bytes and the byte `next`.
 *
 * Falling back tries one beginning after the other, longest first. Each one tried shortens what is matched,
 * and only a byte of the input makes that longer, by one: so there is about one try per byte, whatever comes,
 * and no table has to be kept for each client. */
static size_t match_step(struct slice pattern, size_t matched, char next)
{
    if (pattern.bytes[matched] == next)
        return matched + 1;
    for (size_t length = matched; length > 0; length--)
        if (pattern.bytes[length - 1] == next &&
            memcmp(pattern.bytes, pattern.bytes + matched + 1 - length, length - 1) == 0)
            return length;
    return 0;
}

bool match_find(struct match *match, struct slice pattern, struct slice bytes, size_t *taken)
{
    /* A reload may have brought a shorter pattern in the middle of a message. */
    size_t matched = match->matched < pattern.length ? match->matched : 0;
    size_t at = 0;
    while (at < bytes.length && matched < pattern.length) {
        if (matched == 0) {
            const char *first = memchr(bytes.bytes + at, pattern.bytes[0], bytes.length - at);
            if (first == NULL) {
                at = bytes.length;
                break;
            }
            at = (size_t)(first - bytes.bytes);
        }
        matched = match_step(pattern, matched, bytes.bytes[at++]);
    }
    bool found = matched == pattern.length;
    match->matched = found ? 0 : (uint32_t)matched;
    *taken = at;
    return found;
}
