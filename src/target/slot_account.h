/* The accounts of slot.c: which connections are counted together. Used inside this room only. */
#ifndef TARGET_SLOT_ACCOUNT_H
#define TARGET_SLOT_ACCOUNT_H

#include "target/target.h"

/* Connections that are counted together. In the tree while there are members. */
struct slot_account {
    const char *listener; /* whose they are; "": everybody's */
    struct endpoint endpoint;
    struct list members; /* struct slot_member, by `in_account` */
    struct list waiting; /* those that want a connection, the longest waiting first; by `in_waiting` */
    int64_t connections; /* of all members */
    int64_t live;        /* of those for whom the address answers */
    bool is_busy;        /* these take all slots: whoever failed is not down for certain */
    /* Of everybody's only: */
    int64_t slots;         /* how many there may be; -1: any number */
    int64_t resting_until; /* `reconnect_delay` runs; 0: it does not */
    int64_t
        settles_until; /* whoever connects before this may find that the last connection is not gone yet */
    int64_t answered;  /* when the last good answer came; 0: never */
    void **all;
    char name[]; /* that of the listener */
};

/* A target in an account: first of its listener, then of everybody, then of the addresses of its name. Owned by the
 * target. */
struct slot_member {
    struct slot_member *next; /* of the same target */
    struct slot_account *account;
    struct target *target;
    struct list_node in_account;
    struct list_node in_waiting;
    bool has_asked; /* while it waits: the others know, and have not given it room since */
};

#define members_foreach(target, member)                                                                      \
    for (struct slot_member *member = (target)->slots; member != NULL; member = member->next)

static inline struct slot_member *member_of(struct list_node *node)
{
    return list_entry(node, struct slot_member, in_account);
}

static inline struct slot_member *member_waiting(struct list_node *node)
{
    return list_entry(node, struct slot_member, in_waiting);
}

static inline bool account_is_everybodys(const struct slot_account *account)
{
    return account->listener[0] == '\0';
}

static inline bool account_is_limited(const struct slot_account *account)
{
    return !account_is_everybodys(account) || account->slots >= 0;
}

/* The account of an address in the tree `all`, of a listener or ("") of everybody; NULL: there is none. */
struct slot_account *account_find(void **all, const char *listener, const struct endpoint *endpoint);

/* A new one; NULL when memory is short. To be removed when it has no members. */
struct slot_account *account_create(void **all, const char *listener, const struct endpoint *endpoint);
void account_remove(struct slot_account *account);

/* Those who have connections, other than this set, see whether they can spare one. */
void account_ask(const struct slot_account *account, const struct target_set *asking);

/* Connections of the targets that are in a set now. */
int64_t account_count_own(const struct slot_account *account, const struct target_set *set);

#endif
