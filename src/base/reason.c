#include "base/reason.h"

const char *reason_name(enum reason reason)
{
    static const char *const names[REASON_COUNT] = {
        [REASON_NONE] = "none",
        [REASON_CLIENT_CLOSED] = "client_closed",
        [REASON_CLIENT_RESET] = "client_reset",
        [REASON_CLIENT_STALLED] = "client_stalled",
        [REASON_CLIENT_IDLE] = "client_idle",
        [REASON_TARGET_CLOSED] = "target_closed",
        [REASON_TARGET_RESET] = "target_reset",
        [REASON_TARGET_REFUSED] = "target_refused",
        [REASON_CONNECT_TIMEOUT] = "connect_timeout",
        [REASON_REQUEST_TIMEOUT] = "request_timeout",
        [REASON_QUEUE_TIMEOUT] = "queue_timeout",
        [REASON_QUEUE_FULL] = "queue_full",
        [REASON_INACTIVITY] = "inactivity",
        [REASON_PROTOCOL_ERROR] = "protocol_error",
        [REASON_REFUSED_COMMAND] = "refused_command",
        [REASON_BLOCKED] = "blocked",
        [REASON_OVER_LIMIT] = "over_limit",
        [REASON_MODULE] = "module",
        [REASON_DRAINED] = "drained",
        [REASON_INTERNAL] = "internal",
    };
    return names[reason];
}
