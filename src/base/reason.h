/* Why a session or an exchange ended: each end has exactly one reason, in logs, events and counters. */
#ifndef BASE_REASON_H
#define BASE_REASON_H

enum reason {
    REASON_NONE, /* nothing has ended, or nothing is wrong */
    REASON_CLIENT_CLOSED,
    REASON_CLIENT_RESET,
    REASON_CLIENT_STALLED,
    REASON_CLIENT_IDLE,
    REASON_TARGET_CLOSED,
    REASON_TARGET_RESET,
    REASON_TARGET_REFUSED,
    REASON_CONNECT_TIMEOUT,
    REASON_REQUEST_TIMEOUT,
    REASON_QUEUE_TIMEOUT,
    REASON_QUEUE_FULL,
    REASON_INACTIVITY,
    REASON_PROTOCOL_ERROR,
    REASON_REFUSED_COMMAND,
    REASON_BLOCKED,
    REASON_OVER_LIMIT,
    REASON_MODULE,
    REASON_DRAINED,
    REASON_INTERNAL,
    REASON_COUNT
};

/* The code as users see it, such as "client_closed". */
const char *reason_name(enum reason reason);

#endif
