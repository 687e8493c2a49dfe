/* The settings of `raw`. */
#ifndef PROTOCOL_RAW_H
#define PROTOCOL_RAW_H

#include "protocol/error_reply.h"

struct raw_settings {
    int64_t response_gap; /* milliseconds */
};

PROTOCOL_OWN(raw)

#endif
