#include "target/balance.h"

#include <math.h>
#include <string.h>

/* A target that has come back begins with so many thousandths of its share. */
#define SHARE_AT_FIRST 100

static int64_t balance_share(const struct target *target, int64_t now)
{
    int64_t slow_start = target->set->settings.slow_start * 1000;
    int64_t passed = now - target->up_since;
    int64_t thousandths = 1000;
    if (target->up_since > 0 && passed < slow_start)
        thousandths = SHARE_AT_FIRST + (1000 - SHARE_AT_FIRST) * passed / slow_start;
    return target->settings->weight * thousandths;
}

static bool is_less_loaded(const struct target *a, const struct target *b)
{
    return a->load * b->share < b->load * a->share;
}

/* Smooth weighted round robin: each turn every candidate earns its share, the richest one pays for all.
 * Spreads 3:1 as A A B A, not as A A A B. */
static struct target *pick_round_robin(struct target *const *candidates, size_t count)
{
    struct target *best = candidates[0];
    int64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        struct target *target = candidates[i];
        target->credit += target->share;
        total += target->share;
        if (target->credit > best->credit)
            best = target;
    }
    best->credit -= total;
    return best;
}

/* The least loaded one for its share; equal ones, such as idle ones, take turns as their shares say. */
static struct target *pick_least_connections(struct target *const *candidates, size_t count)
{
    struct target *least[SETTINGS_MAX_TARGETS];
    size_t least_count = 1;
    least[0] = candidates[0];
    for (size_t i = 1; i < count; i++) {
        if (is_less_loaded(least[0], candidates[i]))
            continue;
        if (is_less_loaded(candidates[i], least[0]))
            least_count = 0;
        least[least_count++] = candidates[i];
    }
    return pick_round_robin(least, least_count);
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length)
{
    const unsigned char *next = bytes;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ next[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

/* Spreads what FNV leaves clustered in the low bits over all 64 (the finalizer of MurmurHash3). */
static uint64_t hash_mix(uint64_t hash)
{
    hash = (hash ^ (hash >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ (hash >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ (hash >> 33);
}

static uint64_t hash_client(const struct address *client, const char *target_name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    if (client->family == AF_INET)
        hash = hash_bytes(hash, &client->v4.sin_addr, sizeof client->v4.sin_addr);
    else if (client->family == AF_INET6)
        hash = hash_bytes(hash, &client->v6.sin6_addr, sizeof client->v6.sin6_addr);
    return hash_mix(hash_bytes(hash, target_name, strlen(target_name)));
}

/* Weighted rendezvous hashing: a target that goes moves only its own clients, whatever the order of the list.
 */
static struct target *pick_source(struct target *const *candidates, size_t count,
                                  const struct address *client)
{
    struct target *best = NULL;
    double best_score = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = hash_client(client, candidates[i]->settings->name);
        double fraction = ((double)(hash >> 11) + 0.5) / 9007199254740992.0; /* 2^53: inside (0, 1) */
        double score = -(double)candidates[i]->share / log(fraction);
        if (best == NULL || score > best_score) {
            best = candidates[i];
            best_score = score;
        }
    }
    return best;
}

struct target *balance_pick(struct target_set *set, struct target *const *candidates, size_t count,
                            const struct address *client, int64_t now)
{
    for (size_t i = 0; i < count; i++)
        candidates[i]->share = balance_share(candidates[i], now);
    switch (set->settings.balance) {
    case BALANCE_ROUND_ROBIN:
        return pick_round_robin(candidates, count);
    case BALANCE_SOURCE:
        return pick_source(candidates, count, client);
    case BALANCE_FIRST:
        return candidates[0];
    case BALANCE_LEAST_CONNECTIONS:
        break;
    }
    return pick_least_connections(candidates, count);
}
