/* How often something may happen: a bucket of tokens, one for each time, as deep as what may happen in a second. Time is
 * a parameter, in microseconds as clock_now() gives it. */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* A bucket is full again when so much time has passed since the last token was taken. */
#define RATE_FULL 1000000

/* All zeros is a full bucket. */
struct rate {
    int64_t spent; /* what was lacking at `at`, in millionths of a token */
    int64_t at;
};

/* How many tokens there are, at `limit` a second; INT64_MAX: 0 or less, which is no limit. */
int64_t rate_tokens(struct rate *rate, int64_t limit, int64_t now);

/* Takes one of those that there are. */
void rate_take(struct rate *rate, int64_t limit, int64_t now);

/* When there is a token again; there is none now. */
int64_t rate_due(struct rate *rate, int64_t limit, int64_t now);

#endif
