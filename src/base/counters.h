/* What a listener counts over its life. */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include "base/reason.h"

#include <stdint.h>

struct counters {
    uint64_t accepted; /* clients that came in, refused ones not among them */
    uint64_t refused;
    uint64_t bytes_from_clients;
    uint64_t bytes_from_targets;
    uint64_t ends[REASON_COUNT]; /* by reason; refused clients too */
};

#endif
