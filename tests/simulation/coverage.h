/* What has happened in all runs, so that it can be seen, and required, that every situation came up. */
#ifndef SIMULATION_COVERAGE_H
#define SIMULATION_COVERAGE_H

#include "base/reason.h"

#include <stdbool.h>
#include <stddef.h>

/* X(NAME, WORDS) */
#define SITUATIONS(X)                                                                                        \
    X(ANSWERED, "answered by the target")                                                                    \
    X(ANSWERED_LOCALLY, "answered here")                                                                     \
    X(UNANSWERED, "over when sent")                                                                          \
    X(REQUEST_STREAMED, "sent before it was complete")                                                       \
    X(RESERVED, "waited for the answers before it, to stream")                                               \
    X(MOVED, "moved to another connection, unsent")                                                          \
    X(CONTINUED, "interim answer made here")                                                                 \
    X(INTERIM_ANSWER, "interim answer of the target")                                                        \
    X(DISCARDED_ANSWER, "answer thrown away, piece by piece")                                                \
    X(LATE_ANSWER, "answer known by its id after its timeout")                                               \
    X(HELD_ANSWER, "answer held for the order")                                                              \
    X(ENDED_BY_CLOSE, "answer ended by the target's close")                                                  \
    X(EARLY_ANSWER, "answer before its request was whole")                                                   \
    X(CLOSING_ANSWER, "answer that closes the target")                                                       \
    X(LAST_ANSWER, "answer marked as the last one")                                                          \
    X(PUSH, "push of the target")                                                                            \
    X(STRAY, "stray bytes handed over")                                                                      \
    X(CROSSED, "unsent request spared by what came before it")                                               \
    X(GARBAGE, "garbage of the target")                                                                      \
    X(UNKNOWN_ID, "answer with an unknown id")                                                               \
    X(BROKEN_ANSWER, "answer that broke the protocol")                                                       \
    X(GREETING, "target greeted")                                                                            \
    X(GREETING_REFUSED, "greeting refused")                                                                  \
    X(USELESS, "connection of no use")                                                                       \
    X(REPLACED, "connection gone without fault: ttl, count, inactivity")                                     \
    X(RETIRED_BUSY, "connection retired with answers due")                                                   \
    X(CONNECTION_PAUSED, "connection not read")                                                              \
    X(CLIENT_PAUSED, "client not read")                                                                      \
    X(PARTIAL_WRITE, "partial write")                                                                        \
    X(HALF_CLOSED, "client ended early, and was answered")                                                   \
    X(ABORTED, "dropped because its client ended")                                                           \
    X(CUT_SHORT, "client reset in mid-answer")                                                               \
    X(ERROR, "error in the protocol's terms")                                                                \
    X(CLOSED_FOR_ERROR, "client closed for want of an error")                                                \
    X(CLIENT_DRAINED, "client drained and gone")                                                             \
    X(IDLE_CLIENT_CLOSED, "idle client closed")                                                              \
    X(HUNG, "waited for what hung, with its timeout disabled")                                               \
    X(FIFO_ORDER, "order of the fifo compared")                                                              \
    X(PRIORITY, "priorities compared")                                                                       \
    X(LOWER_PRIORITY, "turn of a lower priority while a higher one waited")                                  \
    X(RATE, "went out later, for its rate")                                                                  \
    X(KEY_RATE, "likewise, for the rate of its key")                                                         \
    X(TURN, "turn of raw answered")                                                                          \
    X(NEW_SETTINGS, "reload that changed settings")

enum situation {
#define SITUATION_NAME(name, words) SITUATION_##name,
    SITUATIONS(SITUATION_NAME)
#undef SITUATION_NAME
        SITUATION_COUNT
};

struct coverage {
    unsigned long runs;
    unsigned long steps;
    unsigned long exchanges;
    unsigned long clients;
    unsigned long connections;
    unsigned long situations[SITUATION_COUNT];
    unsigned long reasons[REASON_COUNT]; /* ends of exchanges */
};

static inline void coverage_count(struct coverage *coverage, enum situation situation)
{
    coverage->situations[situation]++;
}

void coverage_print(const struct coverage *coverage);

/* Whether all of them came up; says which did not. */
bool coverage_is_full(const struct coverage *coverage);

#endif
