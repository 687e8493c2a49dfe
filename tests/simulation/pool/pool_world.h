/* The made-up world around pools and their targets: servers, names, clients, reloads, a clock, all from one seed.
 * The pool, the targets and the multiplexer are those of the program; what the program's sockets, timers and
 * resolver do for them is done here.
 *
 * Files: pool_world.c makes a run and steps through it; pool_servers.c has the servers' side, from the attempt to
 * connect to the last answer; pool_clients.c the clients'; pool_settings.c what a reload may change;
 * pool_checks.c the promises. */
#ifndef SIMULATION_POOL_WORLD_H
#define SIMULATION_POOL_WORLD_H

#include "base/buffer.h"
#include "mux/mux.h"
#include "simulation/random.h"
#include "stream/stream_pool.h"
#include "target/target.h"

#define SERVERS           6
#define NAMES             2
#define ADDRESSES         (SERVERS + NAMES) /* that targets may have */
#define ADDRESSES_OF_NAME 3
#define CLIENTS_MAX       5 /* of a generation */
#define DOORS             2 /* likewise */
#define REQUESTS_MAX      2000
#define CLIENTS_FROM      6 /* addresses */
#define PARTS             2 /* of a target, that requests are for */
#define MINUTE            60000000
#define MESSAGE_SIZE      8

/* What a check asks; requests have smaller numbers. */
#define CHECK_MESSAGE                                                                                        \
    "\xff\xff\xff\xff"                                                                                       \
    "aaaQ"
#define CHECK_NUMBER    UINT32_MAX
#define SETTLE_PAUSE    50        /* milliseconds that a connection waits which may come too early */
#define SETTLE_SPAN     1000000   /* microseconds after the end of the last one for which that holds */
#define WANTED_BACK_OFF 1000000   /* microseconds after which a target is tried if something waits */
#define KERNEL_GIVES_UP 127000000 /* microseconds after which a SYN without an answer fails by itself */

#define PORT      502
#define LISTENERS 3
#define TURN      1000000 /* microseconds that a connection is used while others wait for its slot */

/* What a server does with those who connect. */
enum mood {
    MOOD_GOOD,
    MOOD_REFUSES,
    MOOD_HANGS,    /* the SYN is lost */
    MOOD_LATE,     /* connected just before connect_timeout */
    MOOD_CLOSES,   /* as soon as it is connected */
    MOOD_SWALLOWS, /* as soon as a request has come */
    MOOD_SILENT,   /* never answers */
    MOOD_BUSY,     /* closes those who come soon after the last connection was ended by them */
    MOODS
};

struct server {
    struct address address;
    enum mood mood;
    int64_t left; /* when the last connection was ended from outside */
};

/* A name's addresses, as places in `servers`. */
struct name {
    size_t servers[ADDRESSES_OF_NAME];
    size_t count;
    int64_t changed;
};

struct world;
struct generation;
struct client;

struct request {
    struct client *client;
    size_t number; /* in the world */
    int64_t ready; /* microseconds; when it was complete and its client's earlier ones were over */
    int64_t held;  /* `held` of its generation then */
    int64_t asked; /* when it came */
    bool sent;     /* a byte has reached a server */
    bool ended;
    bool answered;
    bool waited_too_long;
    bool was_down;      /* there was no target for so long that it may have failed */
    size_t connections; /* that it was sent on */
};

struct client {
    struct generation *generation;
    size_t door; /* of its generation */
    struct mux_client *mux;
    struct address address;
    size_t requests[32]; /* in the world's, in the order in which they were sent */
    size_t sent;
    size_t ended;
    size_t received;     /* answers */
    struct buffer input; /* of an answer */
    bool leaving;
};

/* An attempt to connect, of the made-up driver. */
struct attempt {
    struct target_attempt attempt;
    struct target *target;
    struct list_node node;
    size_t candidates[ADDRESSES_OF_NAME]; /* servers */
    size_t count;
    size_t next;
    int64_t due;
    bool succeeds;
    bool hangs;
    bool is_resolving; /* the addresses of its name are not known yet */
};

struct connection {
    struct pool_connection pooled;
    struct generation *generation;
    struct list_node node; /* among those of the world that are open */
    unsigned number;
    size_t server;
    bool is_open;
    int64_t opened;
    int64_t usable;        /* since when it could be used; 0: it could not yet */
    bool may_settle;       /* its address may be that of a name, too, whose last connection has just ended */
    bool was_retired;      /* after the last step */
    int64_t ready;         /* before which it takes no request */
    int64_t retry_min;     /* the least since then */
    int64_t connect_delay; /* likewise */
    bool closed_by_server;
    bool was_reset;      /* likewise */
    bool has_answered;   /* a byte of an answer has come */
    struct buffer input; /* of a request */
    size_t waiting[64];  /* requests to be answered */
    int64_t due[64];
    size_t waiting_count;
    size_t requests; /* that a byte has come of */
};

/* What is known of a target from outside. */
struct shadow {
    const struct target *target;
    struct generation *generation;
    uint64_t failures; /* as counted, at the last look */
    enum target_state state;
    int64_t delay;      /* nominal, of the next back-off; milliseconds */
    int64_t down;       /* since when it is DOWN */
    int64_t earliest;   /* DOWN: when it may be tried again */
    int64_t latest;     /* DOWN: when it has to be, if there is a slot */
    int64_t free_since; /* since when it could be: a slot is free, and warming up is over */
    bool is_free;
    bool is_trial_early; /* DOWN: something waited, so that it may be tried before `earliest` */
    bool is_sick;
    int64_t sick_since;
    int64_t unanswered;        /* since the last good answer */
    bool failed[CLIENTS_FROM]; /* clients from there, since then */
    bool failed_parts[PARTS];
    int64_t asked[CLIENTS_FROM]; /* by clients from there: when a request to it ended last; 0: never */
    int64_t asked_parts[PARTS];
    int64_t trial_earliest;
    int64_t trial_latest;
    int64_t trial_pause; /* nominal, milliseconds */
    int64_t waits_since; /* for a slot, with no connection of its listener; 0: it does not */
    size_t overtaken;    /* connections that others made to its address meanwhile */
    int64_t short_lived; /* until when nothing may connect, since the last connection ended unused */
};

/* One service of the listener. */
struct generation {
    struct world *world;
    struct list_node node;
    unsigned number;
    size_t listener;
    struct listener_settings *settings;
    struct protocol_settings protocol;
    struct mux *mux;
    struct target_set set;
    struct stream_pool pool;
    struct client clients[CLIENTS_MAX];
    bool is_ready;
    bool touched;
    bool woken;
    bool leaving;
    int64_t name_connected; /* when an attempt to a name began last */
    bool is_down;           /* no target could be used after the last step, since `down_since` */
    int64_t down_since;
    bool is_held;         /* time stood still after the last step */
    int64_t down_changed; /* when `down_timeout` has changed */
    int64_t given;        /* when requests were last on connections; INT64_MAX: they are */
    int64_t down_least;   /* the least that it was since the targets are down */
    bool is_wanted;       /* something waited after the last step, since `wanted_since` */
    int64_t wanted_since;
    int64_t held;                        /* microseconds in which others certainly held all slots */
    int64_t asked[CLIENTS_FROM];         /* by clients from there, anything at all */
    bool has_tried[CLIENTS_FROM];        /* a sick target */
    int64_t answers_since[CLIENTS_FROM]; /* to clients from there, since they did so last */
    int64_t answers;                     /* to anybody, since the last trial */
    int64_t asked_parts[PARTS];
    int64_t last_sick; /* when a target was sick: what had come until then may be sent out of order */
    const struct target *first; /* fifo: the one that came first after the last step */
    struct mux_door doors[DOORS];
    uint64_t last_order[DOORS]; /* fifo: of the request that reached a server last */
    struct shadow shadows[64];
    size_t shadow_count;
    const struct target
        *sources[8][16]; /* balance = "source": by client, and by targets that can be chosen */
};

struct world {
    uint64_t seed;
    bool trace;
    struct random random;
    int64_t now;
    unsigned long steps;
    bool calm;
    size_t listeners;
    bool has_checks;    /* of the one target that each listener has then */
    int64_t slots_each; /* of each server, for all listeners; -1: as many as they like */
    struct server servers[SERVERS];
    struct name names[NAMES];
    void *slots;
    size_t address_targets[ADDRESSES]; /* how many know it: while there are any, its past is known */
    int64_t rest_until[ADDRESSES];     /* since a connection to the address has ended */
    int64_t settle_until[ADDRESSES];   /* likewise; 0: the server ended it */
    struct list generations;           /* the newest last */
    struct list attempts;
    struct list connections;
    struct list dead; /* connections that nobody knows any more */
    unsigned generation_count;
    unsigned connection_count;
    struct request requests[REQUESTS_MAX];
    size_t request_count;
    struct listener_settings *settings[600];
    size_t settings_count;
    size_t connects; /* attempts started so far */
    unsigned long answered;
    unsigned long checks; /* that have reached a server */
};

/* ---- pool_world.c ---- */

void world_run(uint64_t seed, bool trace);
void world_fail(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
void world_trace(const struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define world_require(world, condition, ...)                                                                 \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            world_fail((world), __VA_ARGS__);                                                                \
    } while (0)

/* Brings about all that follows from what has happened, without time passing. */
void world_settle(struct world *world);

/* The generation that takes new clients of a listener. */
struct generation *world_current(const struct world *world, size_t listener);

/* ---- pool_settings.c ---- */

/* Settings of this listener, freed by pool_settings_free(): any, or (`before` not NULL) those but for a few changes. */
struct listener_settings *pool_settings_make(struct world *world, size_t listener,
                                             const struct listener_settings *before);
void pool_settings_free(struct listener_settings *settings);

/* As they are called in traces, and by failures. */
void pool_settings_trace(const struct world *world, const struct listener_settings *settings);

/* The place of a target's address among ADDRESSES. */
size_t pool_settings_address(const struct target_settings *settings);

/* ---- pool_servers.c ---- */

extern const struct target_driver made_up_driver;
extern const struct pool_driver made_up_pool;

static inline struct generation *generation_of_set(const struct target_set *set)
{
    return list_entry(set, struct generation, set);
}

/* Where a client comes from, below CLIENTS_FROM. */
static inline size_t client_from(const struct client *client)
{
    return ntohl(client->address.v4.sin_addr.s_addr) & 0xff;
}

static inline struct connection *connection_of_pooled(const struct pool_connection *pooled)
{
    return list_entry(pooled, struct connection, pooled);
}

/* An attempt is over, if it is due. */
bool attempt_act(struct attempt *attempt);
int64_t attempt_due(const struct attempt *attempt);

/* A server takes bytes, answers, or closes. False: there is nothing to be done. */
bool connection_act(struct connection *connection);
int64_t connection_due(const struct connection *connection);

/* ---- pool_clients.c ---- */

extern const struct protocol made_up_protocol;

/* Hooks of the multiplexer. */
void client_request_found(void *owner, const struct mux_finding *finding);
void client_request_ended(void *owner, const struct mux_ending *ending);

void client_arrive(struct client *client, struct generation *generation);
void client_ask(struct client *client);
bool client_act(struct client *client);
void client_leave(struct client *client, bool reset);
bool client_is_idle(const struct client *client);

/* What the multiplexer has for it. */
void client_look(struct client *client);

/* ---- pool_checks.c ---- */

/* Before an attempt to connect, and once the target is known. */
void check_connect(struct target *target);

/* A client is given this connection, or none; `connects` were begun for it. */
void check_choose(struct generation *generation, const struct client *client,
                  const struct mux_connection *mux, size_t connects);

/* Whether a new connection is the only one to its address, and made soon after the last one. */
bool check_settles(const struct connection *connection);

/* A connection has ended. */
void check_connection_ended(const struct connection *connection);

/* Clients are let in. */
void check_ready(struct generation *generation);

/* Whether no target of the generation can be used; since when that counts for a request. */
bool check_is_down(const struct generation *generation);
int64_t check_down_since(const struct request *request);

/* Whether requests certainly wait only because of connections of other generations. */
bool check_is_held(const struct generation *generation);

/* The targets that there were before a reload, by address, are those that there are. */
void check_identity(const struct generation *generation, const struct target *const *before);

/* Other settings are in force. */
void check_reloaded(struct generation *generation);

/* A client asks. */
void check_asked(struct generation *generation, const struct client *client, size_t request);

/* A request has shown something of its target, which is known there now. */
void check_found(struct generation *generation, const struct mux_finding *finding);

/* Whether a request to it is a trial, because another target is well. */
bool check_is_left_out(const struct target *target);

/* A target has proved to work. */
void check_up(const struct target *target);

/* A target is no more. */
void check_forget(const struct target *target);

/* After each step. */
void check_world(struct world *world);

/* How many connections, attempts included, there are to a target's address, of all generations of its listener; to
 * this very target. */
size_t check_count(const struct target *target, bool of_all_generations);

/* Somebody sends a SYN to a server, which counts its connections. */
void check_server(const struct world *world, size_t server);

#endif
