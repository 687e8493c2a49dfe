/* Checked, immutable settings: what the rest of the program runs on. Made by config/check.c from the
 * configuration as parsed; times are milliseconds, any negative number stands for "disabled" and is -1 here. */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H

#include "access/access_list.h"
#include "base/log.h"
#include "protocol/protocol.h"
#include "target/target_settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* More of them in one listener are refused. */
#define SETTINGS_MAX_LISTEN 64

enum listener_mode { MODE_PROXY, MODE_FIFO, MODE_FUNNEL, MODE_AUTO };

/* Who owns a unix socket and what may be done with it. */
struct unix_settings {
    mode_t mode;
    uid_t user;  /* (uid_t)-1: unchanged */
    gid_t group; /* (gid_t)-1: unchanged */
};

/* One listener. Counted by reference on its own, so that sessions can outlive a reload under the
 * rules they began with. */
struct listener_settings {
    _Atomic int references; /* a reload frees what it replaces in a thread of its own */
    char *name;
    struct endpoint *listen;
    size_t listen_count;
    bool ipv6_only;
    bool reuse_port;
    int backlog;
    struct unix_settings unix_socket;
    enum listener_mode mode; /* never MODE_AUTO */
    bool mode_was_auto;
    char *targets_of; /* NULL: it has targets of its own */
    struct listener_settings
        *shared;  /* a reference: of the listener of that name, whose protocol this is too */
    int priority; /* in shared modes */
    struct protocol_settings protocol; /* in shared modes, a protocol that can be shared */
    struct target_settings *targets;
    size_t target_count;
    enum balance balance;
    int64_t max_connections;
    int64_t max_connections_per_address;
    int64_t connection_rate; /* a second */
    int64_t connection_rate_per_address;
    int64_t inactivity_timeout;
    int64_t half_close_timeout; /* proxy mode */
    struct keep_alive_settings client_keep_alive;
    int64_t connect_timeout;
    int64_t queue_limit;
    int64_t queue_timeout;
    int64_t down_timeout;
    int64_t retry_min;
    int64_t retry_max;
    int64_t reconnect_delay;
    int64_t slow_start;
    int64_t fail_after; /* failures that make a target sick; -1: none do */
    /* Those of the shared modes; proxy mode has no use for them. */
    int64_t client_idle_timeout;
    int64_t request_timeout;
    int64_t stall_timeout;
    bool abort_on_close;
    bool async;
    int64_t pipeline_depth;
    int64_t connect_delay;
    int64_t request_gap;
    int64_t connection_ttl;
    int64_t max_requests_per_connection;
    int64_t request_rate; /* a second */
    int64_t request_rate_per_address;
    bool warmup;
    bool request_log; /* in all modes */
    int64_t buffer_limit;
    int64_t memory_limit;
    int64_t max_message;
    struct access_list *blocklist; /* NULL: none */
    struct access_list *allowlist; /* NULL: none */
    struct access_list *proxies;   /* peers that have to send a PROXY header; NULL: none */
    bool unix_peers_are_proxies;   /* unix peers too */
};

/* Whether a key of the listener, or of a group in it, has an effect in its mode. */
bool settings_has_effect(const struct listener_settings *settings, const struct key *key);

/* The name of a mode that settings can have. */
const char *settings_mode_name(enum listener_mode mode);

/* Target connections of the shared modes, those of backups apart. */
int64_t settings_count_connections(const struct listener_settings *settings);

/* What the mode "auto" means here, and why: the original's rule. Returns `text`. */
#define SETTINGS_AUTO_SIZE 160
const char *settings_explain_auto(const struct listener_settings *settings, char *text, size_t size);

/* The whole configuration. Owned by struct config. */
struct settings {
    struct log_options log; /* log.path is what the key "output" says, whatever that is */
    char *user;             /* NULL: stay who we are */
    char *group;            /* NULL: the user's own */
    uid_t user_id;          /* valid if user != NULL */
    gid_t group_id;         /* valid if user or group != NULL */
    char *pid_file;
    int64_t shutdown_timeout;
    int64_t shutdown_delay;
    struct listener_settings *admin;      /* one reference; NULL: none. Has no targets, and no mode */
    struct listener_settings **listeners; /* one reference each */
    size_t listener_count;
};

/* The place of the listener that has the targets of this one, among those of the same settings; SIZE_MAX: they are its
 * own. */
size_t settings_find_shared(const struct settings *settings, const struct listener_settings *listener);

/* What a set of its targets runs on; borrowed from `settings`. */
struct target_set_settings listener_settings_targets(const struct listener_settings *settings);

struct listener_settings *listener_settings_reference(struct listener_settings *settings);
void listener_settings_release(struct listener_settings *settings); /* NULL is allowed */

void settings_free(struct settings *settings); /* NULL is allowed */

#endif
