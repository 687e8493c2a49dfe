/* What clients have together that share a key, such as those of one address: how many they are, and a rate. A quota is
 * there while it has clients, and a second longer: then its bucket is full, and nothing is forgotten with it. So there
 * are no more of them than clients, and those that a second has brought. */
#ifndef BASE_QUOTA_H
#define BASE_QUOTA_H

#include "base/list.h"
#include "base/rate.h"
#include "base/slice.h"

#include <stddef.h>
#include <stdint.h>

#define QUOTA_KEY_MAX 20

/* The first member of what its owner has one of for each key. */
struct quota {
    struct rate rate;
    int64_t clients;
    struct list_node unused; /* while it has no clients */
    int64_t left;            /* when it had the last one */
    size_t key_length;
    char key[QUOTA_KEY_MAX];
};

struct quotas {
    void *tree; /* tsearch */
    struct list unused;
    size_t size; /* of what a quota is the first member of */
};

void quotas_init(struct quotas *quotas, size_t size);
void quotas_free(struct quotas *quotas);

/* One more client of this key, whose quota is made, all zero, if there is none: NULL when memory is short. One less. */
struct quota *quotas_join(struct quotas *quotas, struct slice key, int64_t now);
void quotas_leave(struct quotas *quotas, struct quota *quota, int64_t now);

/* The quota of a key; NULL: there is none. */
struct quota *quotas_find(const struct quotas *quotas, struct slice key);

#endif
