/* The name of a target: attempts wait for its addresses, and it is looked up again and again for those who keep
 * connections. Used inside this room only. */
#ifndef TARGET_TARGET_NAME_H
#define TARGET_TARGET_NAME_H

#include "net/runtime.h"
#include "target/target.h"

/* Who waits for an answer. */
struct target_name_waiter {
    struct list_node node;
    void (*answered)(struct target_name_waiter *waiter); /* the node is unlinked by then */
};

/* Gives the target a name, if its address is one. False when memory is short. */
bool target_name_attach(struct target *target, struct runtime *runtime);
void target_name_detach(struct target *target);

/* True: the addresses are ready to be used. False: the waiter is called when the look-up has ended. */
bool target_name_wait(struct target_name *name, struct target_name_waiter *waiter);

/* As resolver_addresses() and resolver_failure(). */
const struct address *target_name_addresses(const struct target_name *name, size_t *count);
const char *target_name_failure(const struct target_name *name);

/* A connection was made that is kept: as long as there is any, the name is looked up when its answer has
 * become too old. */
void target_name_keep_fresh(struct target_name *name);

#endif
