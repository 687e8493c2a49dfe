/* Why a session or an exchange ended: each end has exactly one reason, in logs, events and counters. */
#ifndef BASE_REASON_H
#define BASE_REASON_H

/* What decides on the words that are said in place of an answer. */
enum reason_class {
    REASON_CLASS_NONE,   /* nothing has ended, or nothing is wrong */
    REASON_CLASS_CLIENT, /* the client's own doing, or the client is to be closed without a word */
    REASON_CLASS_LOST,   /* the target had the request, and is gone, or said something else than an answer */
    REASON_CLASS_SILENT, /* the target had the request, and says nothing */
    REASON_CLASS_UNREACHABLE, /* the target can't be had */
    REASON_CLASS_NOT_IN_TIME, /* nor in the time that there was */
    REASON_CLASS_BUSY,        /* the proxy has too much to do, or goes */
    REASON_CLASS_REFUSED,     /* the proxy does not let the request pass */
    REASON_CLASS_TOO_LONG,    /* a message, or a client's output, exceeds what is allowed */
    REASON_CLASS_COUNT,
};

/* One row for each reason: its name in the program, the code that users see, its class, what people are told. */
#define REASONS(EACH)                                                                                        \
    EACH(NONE, "none", NONE, "nothing is wrong")                                                             \
    EACH(CLIENT_CLOSED, "client_closed", CLIENT, "the client closed the connection")                         \
    EACH(CLIENT_RESET, "client_reset", CLIENT, "the client reset the connection")                            \
    EACH(CLIENT_STALLED, "client_stalled", CLIENT, "the client was too slow")                                \
    EACH(CLIENT_IDLE, "client_idle", CLIENT, "the client was idle for too long")                             \
    EACH(TARGET_CLOSED, "target_closed", LOST, "the target closed the connection")                           \
    EACH(TARGET_RESET, "target_reset", LOST, "the target reset the connection")                              \
    EACH(TARGET_REFUSED, "target_refused", UNREACHABLE, "the target can't be reached")                       \
    EACH(CONNECT_TIMEOUT, "connect_timeout", NOT_IN_TIME, "the target can't be reached in time")             \
    EACH(TARGET_DOWN, "target_down", UNREACHABLE, "no target can be reached")                                \
    EACH(REQUEST_TIMEOUT, "request_timeout", SILENT, "the target did not answer in time")                    \
    EACH(QUEUE_TIMEOUT, "queue_timeout", NOT_IN_TIME, "no connection to the target became free in time")     \
    EACH(QUEUE_FULL, "queue_full", BUSY, "too many requests are waiting")                                    \
    EACH(INACTIVITY, "inactivity", SILENT, "the connection was silent for too long")                         \
    EACH(PROTOCOL_ERROR, "protocol_error", LOST, "the target broke the rules of the protocol")               \
    EACH(REFUSED_COMMAND, "refused_command", REFUSED, "the request is not allowed")                          \
    EACH(BLOCKED, "blocked", BUSY, "the service is not for this address")                                    \
    EACH(OVER_LIMIT, "over_limit", TOO_LONG, "a limit was exceeded")                                         \
    EACH(OVER_RATE, "over_rate", BUSY, "too much was asked for in a second")                                 \
    EACH(MODULE, "module", CLIENT, "a module turned the client away")                                        \
    EACH(DRAINED, "drained", BUSY, "the service is shutting down")                                           \
    EACH(REPLACED, "replaced", CLIENT, "the target connection was replaced")                                 \
    EACH(INTERNAL, "internal", BUSY, "the proxy is short of resources")

#define REASON_ENUM(word, name, class, phrase) REASON_##word,
enum reason { REASONS(REASON_ENUM) REASON_COUNT };
#undef REASON_ENUM

/* The code, such as "client_closed"; what people are told. */
const char *reason_name(enum reason reason);
const char *reason_phrase(enum reason reason);
enum reason_class reason_class(enum reason reason);

#endif
