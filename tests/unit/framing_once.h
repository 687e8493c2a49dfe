/* Proves that a framer looks at each byte of a message once, also when they come one by one. No counter that
 * it keeps could prove that; that the bytes are gone after each call does:
 *   - the byte that was handed to it is overwritten,
 *   - what it has appended is overwritten too, but for the first `head` bytes of an undecided request, and is
 *     taken away once it is decided,
 *   - it has no memory but its state, whose size is fixed (no close_client or close_connection) and at most
 *     FRAMING_ONCE_STATE bytes.
 * A framer that scans again from the beginning finds other bytes there, and no end. */
#ifndef UNIT_FRAMING_ONCE_H
#define UNIT_FRAMING_ONCE_H

#include "unit/framing.h"

#define FRAMING_ONCE_STATE 320

/* `request` is one request: complete exactly with its last byte. */
void framing_expect_request_once(const struct protocol_settings *settings, struct slice request, size_t head);

/* `response` is the one to `request`. */
void framing_expect_response_once(const struct protocol_settings *settings, struct slice request,
                                  struct slice response);

#endif
