#include "base/reason.h"

static const char *const reason_names[REASON_COUNT] = {
    [REASON_CLIENT_CLOSED] = "client_closed",
    [REASON_CLIENT_RESET] = "client_reset",
    [REASON_TARGET_CLOSED] = "target_closed",
    [REASON_TARGET_RESET] = "target_reset",
    [REASON_TARGET_REFUSED] = "target_refused",
    [REASON_CONNECT_TIMEOUT] = "connect_timeout",
    [REASON_QUEUE_TIMEOUT] = "queue_timeout",
    [REASON_QUEUE_FULL] = "queue_full",
    [REASON_INACTIVITY] = "inactivity",
    [REASON_BLOCKED] = "blocked",
    [REASON_OVER_LIMIT] = "over_limit",
    [REASON_DRAINED] = "drained",
    [REASON_INTERNAL] = "internal",
};

const char *reason_name(enum reason reason)
{
    return reason_names[reason];
}
