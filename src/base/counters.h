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
    uint64_t ends[REASON_COUNT]; /* of clients, by reason; refused clients too */
    /* Shared modes: requests are those that have ended, by their answer or by a reason. */
    uint64_t requests;
    uint64_t answered;
    uint64_t failures[REASON_COUNT];
};

#endif
