/* The group `protocol` of a listener: which keys it may have, and what they make together. */
#ifndef CONFIG_CHECK_PROTOCOL_H
#define CONFIG_CHECK_PROTOCOL_H

#include "config/check_context.h"

/* Fills the settings' `protocol`. Wants mode and plain values to be there. */
void check_protocol(const struct check *check);

#endif
