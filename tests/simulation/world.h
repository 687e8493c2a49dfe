/* The made-up world around one multiplexer: clients, targets, a clock, and everything that is known of each
 * request, all from one seed. Nothing here knows how the multiplexer works; it is driven through mux/mux.h as
 * the sockets would drive it, and looked at from outside.
 *
 * Files: world.c makes a run and steps through it; clients.c and targets.c are the two sides; dialects are
 * the protocols that they speak; recorder.c stands between the multiplexer and the framer; checks.c holds the
 * promises; coverage.c counts what has happened. */
#ifndef SIMULATION_WORLD_H
#define SIMULATION_WORLD_H

#include "base/buffer.h"
#include "mux/mux.h"
#include "protocol/protocol.h"
#include "simulation/coverage.h"
#include "simulation/random.h"

#define CLIENTS_MAX          8
#define TARGETS_MAX          3
#define CONNECTIONS_MAX      3 /* of one target, at a time */
#define OPEN_CONNECTIONS_MAX (TARGETS_MAX * CONNECTIONS_MAX)
#define REQUESTS_MAX         24 /* of one client */
#define DOORS                3
#define INTERIMS_MAX         2
#define KEYS                 3 /* 0: none */
#define REQUEST_MAP_SLOTS    4096
#define NOT_ANSWERING        SIZE_MAX

/* What may go wrong in a run. */
enum fault {
    FAULT_CLIENT_RESET,
    FAULT_CLIENT_ENDS_EARLY,  /* FIN in mid-request, or before the answers are there */
    FAULT_CLIENT_NEVER_READS, /* for as long as the storm lasts, and a while longer */
    FAULT_CLIENT_NEVER_SENDS, /* the rest of a request */
    FAULT_BROKEN_REQUEST,
    FAULT_LONG_MESSAGE, /* max_message is small */
    FAULT_CLIENT_BLOCKED,
    FAULT_CLIENT_DRAINED,
    FAULT_TARGET_CLOSES,
    FAULT_TARGET_RESETS,
    FAULT_TARGET_SILENT,
    FAULT_TARGET_DEAF,
    FAULT_LATE_ANSWERS,
    FAULT_STRAY_BYTES,
    FAULT_GARBAGE,
    FAULT_EARLY_ANSWERS,
    FAULT_REFUSED_CONNECTIONS,
    FAULT_BAD_GREETING,
    FAULT_UNKNOWN_IDS,
    FAULT_SHORT_QUEUE,
    FAULT_SHORT_MEMORY,
    FAULT_SHORT_TIMES,  /* timeouts that do fire */
    FAULT_NEW_SETTINGS, /* reloads that change any of them */
    FAULT_COUNT
};

enum request_kind {
    REQUEST_PLAIN,
    REQUEST_UNANSWERED,
    REQUEST_LOCAL,
    REQUEST_REFUSED,
    REQUEST_CONTINUED,  /* an interim answer is made here */
    REQUEST_LAST,       /* closes its client */
    REQUEST_LATE,       /* decided only when it is complete */
    REQUEST_BROKEN,     /* at its head */
    REQUEST_BROKEN_END, /* at its end: part of it may have gone out */
};

enum answer_kind {
    ANSWER_PLAIN,
    ANSWER_CLOSES, /* closes_target */
    ANSWER_TO_END, /* its end is that of the stream */
};

struct world;
struct client;
struct connection;

/* A request from beginning to end. Owned by its client. */
struct request {
    struct client *client;
    const struct protocol_request *key; /* in the multiplexer, until it is given up */
    uint32_t number;
    enum request_kind kind;
    enum answer_kind answer_kind;
    size_t size;        /* of the body */
    size_t answer_size; /* likewise */
    size_t interims;    /* of the target */

    /* Made by the dialect. */
    struct buffer bytes;    /* as the client sends it */
    struct buffer forward;  /* as the target has to get it, ids apart */
    struct buffer answer;   /* as the target says it, ids apart */
    struct buffer expected; /* as the client has to get it */
    struct buffer interim[INTERIMS_MAX];
    struct buffer interim_expected[INTERIMS_MAX];

    /* Told by the framer. */
    struct buffer here;  /* what was appended to its `answer` while it was read */
    struct buffer error; /* what write_error() said */
    enum reason error_reason;
    int64_t error_at;
    int64_t quiet;      /* how long the target had been silent then */
    bool error_made;    /* write_error() was called */
    bool error_written; /* and said true */
    bool decided;
    bool broken;
    bool complete;
    bool local;
    bool closes_client;
    int64_t begun_at;
    int64_t completed_at;
    unsigned long completed_place; /* among all requests of the run */
    unsigned long completed_step;

    /* Seen at the target. */
    struct connection *connection;
    int64_t reached_at;
    size_t sent;
    bool sent_whole;
    uint64_t id;
    int64_t sent_at;  /* its last byte so far */
    int64_t heard_at; /* the last byte of its answer, or of what it was mixed with, that was handed over */
    size_t told;      /* bytes of its answer that were handed to the multiplexer */
    bool answer_told; /* all of it */
    size_t given_out; /* bytes of it that the framer passed on */
    struct connection *chosen; /* by choose(), first */
    bool chosen_busy;          /* with requests of others before it */

    /* Told by the multiplexer. */
    bool ended;
    bool answered;
    enum reason reason;
    unsigned long ended_step;
    unsigned long over_at; /* step in which its end was decided */

    /* Seen at the client. */
    bool passed; /* the client has all of what was to come in its place */
    bool got_answer;
    bool said_last; /* its answer said that the client is closed */
    bool got_error;
    size_t here_seen;
    size_t interims_seen;
};

enum client_state { CLIENT_COMING, CLIENT_HERE, CLIENT_LEAVING, CLIENT_GONE };

/* Owned by the world. */
struct client {
    struct world *world;
    uint32_t number;
    enum client_state state;
    int64_t arrives;
    const struct mux_door *door;
    size_t key; /* with whose others it shares a rate; 0: it does not */
    struct mux_client *mux_client;

    struct request requests[REQUESTS_MAX];
    size_t count;

    /* What it sends. */
    struct buffer stream; /* all of its requests */
    size_t ends[REQUESTS_MAX];
    size_t sent;     /* handed to the multiplexer */
    size_t stop;     /* sends no more than so much */
    size_t read_on;  /* of that, taken by the framer */
    size_t reading;  /* the request that the framer is at */
    size_t window;   /* requests without an answer that it allows itself */
    bool ends_early; /* sends FIN at `stop`, at once */
    bool resets;     /* at `stop` */
    bool sends_late; /* stops at `stop` till the world calms down */
    bool reads_late; /* never reads till then */
    size_t reads_to; /* but so much */
    bool drips;      /* byte by byte */
    bool floods;     /* sends requests of one kind only */
    enum request_kind flood_kind;

    /* What it was told, and said. */
    bool fin_given;
    bool has_ended_last; /* a request after which it is closed */
    bool failed;
    enum reason failed_reason;
    bool drained;
    bool reads; /* as last seen: mux_client_wants_bytes() */
    enum mux_closing closing;
    enum reason reason; /* once it is gone */

    /* What it gets. */
    size_t seen;             /* requests whose place at the client has passed */
    struct buffer news;      /* output that could not be told apart yet */
    uint64_t put_out;        /* bytes ever in its output */
    uint64_t taken;          /* of these, written */
    unsigned long sent_step; /* the last step in which a byte of it reached a target */
    unsigned long busy_at;   /* the last step in which it had output, or a request in flight */
    int64_t first_since;     /* when the earlier requests of its oldest one had ended */
};

enum connection_state { CONNECTION_UNUSED, CONNECTION_CONNECTING, CONNECTION_OPEN, CONNECTION_GONE };

/* One part of what a target says. */
enum part_kind { PART_ANSWER, PART_INTERIM, PART_STRAY, PART_GARBAGE, PART_GREETING, PART_PUSH };

struct part {
    enum part_kind kind;
    struct request *request;
    size_t length;
    uint64_t end; /* place in the stream */
};

/* A request at the target. */
struct work {
    struct request *request;
    int64_t due;
    size_t interims; /* said */
    size_t said;     /* bytes of the answer */
    bool over;
};

/* A target connection. Owned by the world. */
struct connection {
    struct world *world;
    unsigned number;
    unsigned target;
    enum connection_state state;
    int64_t connected_at;
    int64_t up_at;        /* connected, and greeted */
    int64_t rested_since; /* 0: it has not worked yet */
    struct mux_connection *mux_connection;

    /* What the target gets. */
    size_t greeting; /* bytes of the greeting that came */
    bool greeted;
    struct buffer head;      /* of a request that is not known yet */
    unsigned long head_step; /* when its first byte came */
    struct request *current; /* that is coming in */
    struct work *works;
    size_t work_count;
    size_t work_space;
    size_t works_open;
    size_t started; /* requests of which a byte came */
    size_t ended;   /* exchanges that the multiplexer ended on it */

    /* What it says. */
    struct buffer inbound;   /* said, not yet handed over */
    struct buffer delivered; /* handed over, not yet given to the framer */
    struct part *parts;
    size_t part_count;
    size_t part_space;
    size_t part_now;    /* that the framer is at */
    bool whose;         /* it has said whose answer this is */
    uint64_t said;      /* bytes */
    uint64_t handed;    /* of these, handed over */
    uint64_t read_on;   /* of these, given to the framer */
    size_t part_handed; /* parts that were handed over whole */
    size_t answering;   /* place in `works`, or NOT_ANSWERING */
    bool stray;         /* bytes on the way that nobody asked for: they come before any new request */
    bool silent;
    bool deaf;
    bool closed; /* the target ended its stream, after what is on the way */
    bool was_reset;
    bool closing_answer; /* closes_target was said */
    bool spoilt;         /* garbage, strays, unknown ids were handed over */
    bool early;          /* an answer came before its request was whole */
    bool too_long;
    bool end_told;
    bool reset_told;
    bool broke; /* a framer said so */
    bool retired;
    unsigned long retired_step;
    unsigned long silent_step;
    unsigned silent_in_a_row; /* timeouts since its last byte */
    bool reads;               /* as last seen */
    uint64_t written;
};

struct target {
    size_t limit; /* connections */
    size_t count;
    int64_t refuses_until;
};

/* What a dialect chooses for its own framer of the simulation. */
struct features {
    bool errors;
    bool ids;
    bool greeting;
    uint64_t id_count;
    size_t id_offset; /* in requests and in answers */
    size_t id_width;  /* 0: no ids */
    size_t largest_answer;
};

struct dialect;

struct request_slot {
    const struct protocol_request *key;
    struct request *request;
};

struct world {
    uint64_t seed;
    bool trace;
    struct coverage *coverage;
    struct random random;
    int64_t now;
    unsigned long steps;
    unsigned long changes; /* that the multiplexer told of */
    uint32_t faults;       /* of enum fault, a bit each */
    bool calm;             /* nothing more goes wrong; what hangs still hangs */
    bool good;             /* what hung goes on */

    const struct dialect *dialect;
    struct features features;
    struct protocol_settings protocol_settings;
    struct protocol recorder; /* stands for the real one */
    struct mux_settings settings;
    struct mux_settings
        least; /* of all that were in force, each number the smallest; of times the shortest that ends */
    struct mux_settings most; /* likewise the largest; of times and limits that can be disabled, that */
    struct mux *mux;
    size_t read_size;
    bool single; /* one connection at a time: fifo */

    struct client clients[CLIENTS_MAX];
    size_t client_count;
    struct target targets[TARGETS_MAX];
    size_t target_count;
    struct connection **connections; /* of the whole run */
    size_t connection_count;
    size_t connection_space;
    size_t connections_gone;
    size_t first_connection;          /* all before it are gone */
    struct connection *connection_at; /* the one for which the multiplexer is called */
    bool wanted;                      /* choose() had none to give */
    bool retires;                     /* connections are retired at times */
    size_t requests_max;              /* of a client */
    unsigned long completed;          /* requests so far */
    unsigned long last_place;         /* fifo: place of the last one that went out */
    struct mux_door doors[DOORS];
    size_t doors_used;
    unsigned turns[MUX_PRIORITIES];  /* fifo: requests that went out since a lower priority passed this one */
    unsigned behind[MUX_PRIORITIES]; /* fifo: of higher ones, in a row, while one of this priority waited */
    unsigned long begun_step;        /* when a request reached a target last */
    int64_t began;                   /* the time */
    size_t reached;                  /* requests that a target got a byte of */
    size_t reached_of[KEYS];         /* of the clients of a key */
    struct request_slot map[REQUEST_MAP_SLOTS];
};

static inline bool world_may(const struct world *world, enum fault fault)
{
    return (world->faults & 1U << fault) != 0 && !world->calm;
}

static inline bool world_has(const struct world *world, enum fault fault)
{
    return (world->faults & 1U << fault) != 0;
}

/* ---- world.c ---- */

/* Lives through one run. A broken promise ends the program. */
void world_run(struct world *world);

/* Ends the program with the seed and what was wrong. */
void world_fail(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

#define world_require(world, condition, ...)                                                                 \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            world_fail((world), __VA_ARGS__);                                                                \
    } while (0)

void world_trace(const struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The client shares a rate with those of its key, if there is one. */
void client_share(struct client *client);

/* After each call into the multiplexer: what changed is looked at, what is over is closed. */
void world_settle(struct world *world);

/* ---- clients.c ---- */

void clients_make(struct world *world);

/* Does one thing at random, if there is one. */
bool client_act(struct client *client);

void client_free(struct client *client);

/* Its output, its fate, its will to read have changed. */
void client_look(struct client *client);

bool client_is_finished(const struct client *client);

/* ---- targets.c ---- */

size_t targets_opening(void *owner);
struct mux_connection *targets_choose(void *owner, void *client);

/* Opens a connection, or sees one come up. */
bool targets_connect(struct world *world);

bool connection_act(struct connection *connection);

/* Hands over a part of what the target has said. */
bool connection_deliver(struct connection *connection);
void connection_look(struct connection *connection);
void connection_close(struct connection *connection);
void connection_free(struct connection *connection);

/* Ends the stream of the target, so that what hangs on it goes on. */
void connection_give_up(struct connection *connection);

/* ---- recorder.c ---- */

/* Makes world->recorder out of the dialect's protocol. */
void recorder_make(struct world *world);
/* NULL: never seen. */
struct request *recorder_find(const struct world *world, const struct protocol_request *request);

/* ---- checks.c ---- */

/* hooks.ended() */
void check_ended(void *owner, const struct mux_ending *ending);

/* A connection is chosen for a client; NULL: there is none. */
void check_choose(struct client *client, struct connection *connection);

/* New bytes in a client's output. */
void check_output(struct client *client, struct slice bytes);

/* A client was closed. */
void check_client_gone(struct client *client);

/* A connection was closed. */
void check_connection_gone(struct connection *connection);

/* Turns can't be counted over this: requests have come to nothing, or other settings into force. */
void check_forget_turns(struct world *world);

/* A request begins at this target connection. */
void check_request_begins(struct connection *connection, struct request *request);

/* After every step. */
void check_world(struct world *world);

/* All is quiet: nothing may wait any more, or (unless `everything`) but for what hangs. */
void check_quiet(struct world *world, bool everything);

#endif
