#include "base/rate.h"

/* The millionths of a token: so many come in a microsecond as tokens in a second. */
#define TOKEN INT64_C(1000000)

/* What has come since; never more than the bucket holds, also where it has become smaller. */
static void rate_refill(struct rate *rate, int64_t limit, int64_t now)
{
    int64_t passed = now - rate->at < RATE_FULL ? now - rate->at : RATE_FULL;
    rate->at = now;
    rate->spent = rate->spent < limit * TOKEN ? rate->spent : limit * TOKEN;
    rate->spent = rate->spent > passed * limit ? rate->spent - passed * limit : 0;
}

int64_t rate_tokens(struct rate *rate, int64_t limit, int64_t now)
{
    if (limit <= 0)
        return INT64_MAX;
    rate_refill(rate, limit, now);
    return (limit * TOKEN - rate->spent) / TOKEN;
}

void rate_take(struct rate *rate, int64_t limit, int64_t now)
{
    if (limit <= 0)
        return;
    rate_refill(rate, limit, now);
    rate->spent += TOKEN;
}

int64_t rate_due(struct rate *rate, int64_t limit, int64_t now)
{
    rate_refill(rate, limit, now);
    return now + (rate->spent + TOKEN - limit * TOKEN + limit - 1) / limit;
}
