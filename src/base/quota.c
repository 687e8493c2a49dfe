#include "base/quota.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* So many that are not needed any more are freed for each client that comes: more than it can bring. */
#define FREED_AT_ONCE 4

static int quota_compare(const void *a, const void *b)
{
    const struct quota *left = a, *right = b;
    if (left->key_length != right->key_length)
        return left->key_length < right->key_length ? -1 : 1;
    return memcmp(left->key, right->key, left->key_length);
}

void quotas_init(struct quotas *quotas, size_t size)
{
    *quotas = (struct quotas){ .size = size };
    list_init(&quotas->unused);
}

void quotas_free(struct quotas *quotas)
{
    tdestroy(quotas->tree, free);
    quotas_init(quotas, quotas->size);
}

struct quota *quotas_find(const struct quotas *quotas, struct slice key)
{
    struct quota wanted = { .key_length = key.length };
    memcpy(wanted.key, key.bytes, key.length);
    struct quota **found = tfind(&wanted, &quotas->tree, quota_compare);
    return found == NULL ? NULL : *found;
}

static void quotas_forget(struct quotas *quotas, int64_t now)
{
    struct list_node *node;
    for (int i = 0; i < FREED_AT_ONCE && (node = list_first(&quotas->unused)) != NULL; i++) {
        struct quota *quota = list_entry(node, struct quota, unused);
        if (now - quota->left < RATE_FULL)
            return;
        list_remove(node);
        tdelete(quota, &quotas->tree, quota_compare);
        free(quota);
    }
}

static struct quota *quotas_add(struct quotas *quotas, struct slice key)
{
    struct quota *quota = calloc(1, quotas->size);
    if (quota == NULL)
        return NULL;
    quota->key_length = key.length;
    memcpy(quota->key, key.bytes, key.length);
    if (tsearch(quota, &quotas->tree, quota_compare) != NULL)
        return quota;
    free(quota);
    return NULL;
}

struct quota *quotas_join(struct quotas *quotas, struct slice key, int64_t now)
{
    struct quota *quota = quotas_find(quotas, key);
    if (quota == NULL)
        quota = quotas_add(quotas, key);
    if (quota == NULL)
        return NULL;
    quota->clients++;
    list_remove(&quota->unused);
    quotas_forget(quotas, now);
    return quota;
}

void quotas_leave(struct quotas *quotas, struct quota *quota, int64_t now)
{
    if (--quota->clients > 0)
        return;
    quota->left = now;
    list_append(&quotas->unused, &quota->unused);
}
