#include "base/counters.h"

#define ROW(type, kind, field, name, help) { name, COUNTER_##kind, help, offsetof(struct type, field) },

static const struct counter listener_gauges[] = { LISTENER_GAUGES(ROW, listener_gauges) };
static const struct counter listener_counters[] = { LISTENER_COUNTERS(ROW, counters) };
static const struct counter target_gauges[] = { TARGET_GAUGES(ROW, target_gauges) };
static const struct counter target_counters[] = { TARGET_COUNTERS(ROW, target_counters) };

#define GROUP(lines)                                                                                         \
    {                                                                                                        \
        lines, sizeof(lines) / sizeof(lines)[0]                                                              \
    }

const struct counter *counters_of(enum counter_group group, size_t *count)
{
    static const struct {
        const struct counter *lines;
        size_t count;
    } groups[GROUP_COUNT] = {
        [GROUP_LISTENER_GAUGES] = GROUP(listener_gauges),
        [GROUP_LISTENER] = GROUP(listener_counters),
        [GROUP_TARGET_GAUGES] = GROUP(target_gauges),
        [GROUP_TARGET] = GROUP(target_counters),
    };
    *count = groups[group].count;
    return groups[group].lines;
}

uint64_t counters_sum(const uint64_t *by_reason)
{
    uint64_t sum = 0;
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
        sum += by_reason[reason];
    return sum;
}
