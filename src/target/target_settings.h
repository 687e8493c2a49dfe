/* What a set of targets runs on. Times are milliseconds; any negative number stands for "disabled". */
#ifndef TARGET_TARGET_SETTINGS_H
#define TARGET_TARGET_SETTINGS_H

#include "base/key.h"
#include "net/address.h"
#include "protocol/check.h"

/* More of them in one listener are refused. */
#define SETTINGS_MAX_TARGETS 64

enum balance { BALANCE_LEAST_CONNECTIONS, BALANCE_ROUND_ROBIN, BALANCE_FIRST, BALANCE_SOURCE };

/* TCP keep-alive of one kind of connection; idle and interval in milliseconds. */
struct keep_alive_settings {
    bool enabled;
    int64_t idle;
    int64_t interval;
    int64_t count;
};

struct target_settings {
    struct endpoint endpoint;
    char *name; /* the endpoint as text, for logs */
    struct keep_alive_settings keep_alive;
    int64_t connections;     /* shared modes: how many there are at most */
    int64_t max_connections; /* proxy mode; -1: no limit */
    int64_t slots;           /* of the address, in the whole process; -1: no limit */
    bool backup;
    int64_t weight;          /* 0: no new work */
    int send_proxy_protocol; /* proxy mode: version of the header; 0: none */
    struct check_settings check;
};

/* The keys of a target in the configuration, each with its field of struct target_settings. */
extern const struct key_scope keys_target;

/* Of a listener's targets together. Owns nothing. */
struct target_set_settings {
    const char *listener; /* its name, for logs and slots */
    const struct target_settings *targets;
    size_t target_count;
    enum balance balance;
    int64_t connect_timeout;
    int64_t retry_min;
    int64_t retry_max;
    int64_t reconnect_delay;
    int64_t slow_start;
    int64_t fail_after;                       /* failures that make a target sick; -1: none do */
    int64_t request_timeout;                  /* shared modes: to be told */
    const struct protocol_settings *protocol; /* for checks */
};

/* A copy, which its owner frees; NULL when memory is short. */
struct target_settings *target_settings_copy(const struct target_settings *settings);
void target_settings_free(struct target_settings *settings); /* of such a copy; NULL is allowed */

/* Frees what it holds, but not itself. */
void target_settings_release(struct target_settings *settings);

/* Whether nothing distinguishes two targets. */
bool target_settings_equal(const struct target_settings *a, const struct target_settings *b);

#endif
