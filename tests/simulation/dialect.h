/* What the simulation has to know of a protocol to speak it on both sides. It makes every message of a
 * request beforehand, each with the request's client and number in it, in its body too; so a target can say
 * whose request it gets, and any byte at a wrong client is seen. */
#ifndef SIMULATION_DIALECT_H
#define SIMULATION_DIALECT_H

#include "simulation/world.h"

struct dialect {
    const char *name;
    const struct protocol *protocol;

    /* Which kinds of enum request_kind and enum answer_kind there are, a bit each. */
    unsigned request_kinds;
    unsigned answer_kinds;
    bool has_interims;
    bool has_turns;    /* no messages, but turns in time: nobody but the peers knows requests and answers */
    uint32_t faults;   /* that it can bear: bits of enum fault; 0: all */
    size_t head_limit; /* buffer_limit is no smaller */
    size_t local_most; /* bytes of an answer made here */

    /* Chooses what is the protocol's own: protocol_settings, features. */
    void (*choose)(struct world *world);

    /* Makes the bytes of a request whose kinds and sizes have been chosen (it may change the sizes). */
    void (*compose)(struct world *world, struct request *request);

    /* Whose request begins like this. Returns 1, 0: more bytes are needed, -1: nobody's. */
    int (*identify)(const struct world *world, struct slice head, uint32_t *client, uint32_t *number);

    /* Whether these bytes of a client's output begin with the answer to (or the error of) this request.
     * Returns how many bytes it has, 0: all match, but more are needed, -1: no. NULL: they are as composed,
     * and written. */
    long (*match_answer)(const struct world *world, struct request *request, struct slice bytes);

    /* Appends what can't be the beginning of an answer. NULL: everything can. */
    void (*write_garbage)(struct world *world, struct buffer *out);

    /* Appends what answers nothing and need not. NULL: there is no such thing. */
    void (*write_push)(struct world *world, struct buffer *out);

    /* The first words on a target connection, if features.greeting: what the target has to get, and says. */
    struct slice greeting;
    struct slice greeting_answer;
    struct slice greeting_refusal;
};

/* One of them, at random. */
const struct dialect *dialect_pick(struct random *random);

/* A byte of a body: another one for each client, number, direction and place. */
char dialect_byte(const struct request *request, bool is_answer, size_t index);

/* Appends a body. */
void dialect_write_body(const struct request *request, bool is_answer, size_t length, struct buffer *out);

/* For protocols that change nothing: what is sent is what is got. */
void dialect_pass_on(struct request *request);

#endif
