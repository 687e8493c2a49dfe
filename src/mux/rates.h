/* How many requests may go out in a second: of all clients together, and of those that share a key. Used inside this
 * room only. */
#ifndef MUX_RATES_H
#define MUX_RATES_H

#include "mux/mux_state.h"

/* The rate that clients of one key share. Owned by the multiplexer's `accounts`. Some of
 * its clients stand in the queue, the others stand aside. */
struct mux_account {
    struct quota quota;
    struct mux *mux;
    struct mux_line aside; /* whatever their priority */
    int64_t admitted;
    struct list_node noted; /* in `noted_accounts` */
    struct heap_node due;   /* in `accounts_due`, while clients stand aside and none is admitted */
};

/* The client shares the rate of this key from now on; false when memory is short. It no longer does. */
bool rates_join(struct mux_client *client, struct slice key);
void rates_leave(struct mux_client *client);

/* Whether there is a token of its account for the client's next request. */
bool rates_has_token(struct mux_client *client);

/* Whether the client may stand in the queue. */
bool rates_may_enter(struct mux_client *client);

/* Keeps a token of its account, if there is one that is not kept for others, for the client until rates_withdraw().
 * `first`: it comes before those that stand aside. */
bool rates_admit(struct mux_client *client, bool first);
void rates_withdraw(struct mux_client *client);

/* Whether there is a token of all for the next request of the client; notes when there is one. */
bool rates_allow(struct mux_client *client);

/* The request goes out. */
void rates_charge(struct mux_exchange *exchange);

/* Whether it waits for a token. */
bool rates_hold_back(const struct mux_exchange *exchange);

/* Those that stand aside were let in as far as there are tokens; has the account looked at again when it has one. */
void rates_watch(struct mux_account *account, bool has_more);

/* When rates_expire() is wanted, or INT64_MAX; it has those let in, and handed out, for whom there is a token now. */
int64_t rates_due(const struct mux *mux);
void rates_expire(struct mux *mux);

#endif
