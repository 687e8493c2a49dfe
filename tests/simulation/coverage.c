#include "simulation/coverage.h"

#include <stdio.h>

static const char *const situation_words[SITUATION_COUNT] = {
#define SITUATION_WORDS(name, words) [SITUATION_##name] = (words),
    SITUATIONS(SITUATION_WORDS)
#undef SITUATION_WORDS
};

/* Reasons by which an exchange can't end here: whoever connects, and knows which targets are down, is no part of the
 * multiplexer, nor are modules, a connection that is idle or replaced has no exchange, no rate is limited, and memory never runs short. */
static bool coverage_is_impossible(enum reason reason)
{
    switch (reason) {
    case REASON_TARGET_REFUSED:
    case REASON_CONNECT_TIMEOUT:
    case REASON_INACTIVITY:
    case REASON_MODULE:
    case REASON_INTERNAL:
    case REASON_TARGET_DOWN:
    case REASON_REPLACED:
    case REASON_OVER_RATE:
        return true;
    default:
        return false;
    }
}

void coverage_print(const struct coverage *coverage)
{
    printf("%lu runs, %lu steps, %lu clients, %lu target connections, %lu exchanges\n", coverage->runs,
           coverage->steps, coverage->clients, coverage->connections, coverage->exchanges);
    for (size_t i = 0; i < SITUATION_COUNT; i++)
        printf("%8lu %s\n", coverage->situations[i], situation_words[i]);
    for (size_t i = REASON_NONE + 1; i < REASON_COUNT; i++)
        if (coverage->reasons[i] > 0)
            printf("%8lu ended as %s\n", coverage->reasons[i], reason_name((enum reason)i));
}

bool coverage_is_full(const struct coverage *coverage)
{
    bool full = true;
    for (size_t i = 0; i < SITUATION_COUNT; i++) {
        if (coverage->situations[i] == 0) {
            printf("never happened: %s\n", situation_words[i]);
            full = false;
        }
    }
    for (size_t i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        if (coverage->reasons[i] == 0 && !coverage_is_impossible((enum reason)i)) {
            printf("never ended as %s\n", reason_name((enum reason)i));
            full = false;
        }
    }
    return full;
}
