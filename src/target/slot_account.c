#include "target/slot_account.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

static int account_compare(const void *a, const void *b)
{
    const struct slot_account *one = a, *other = b;
    int order = endpoint_compare(&one->endpoint, &other->endpoint);
    return order != 0 ? order : strcmp(one->listener, other->listener);
}

static void account_free(struct slot_account *account)
{
    endpoint_free(&account->endpoint);
    free(account);
}

struct slot_account *account_create(void **all, const char *listener, const struct endpoint *endpoint)
{
    struct slot_account *account = calloc(1, sizeof *account + strlen(listener) + 1);
    if (account == NULL)
        return NULL;
    list_init(&account->members);
    list_init(&account->waiting);
    account->listener = strcpy(account->name, listener);
    account->slots = -1;
    account->all = all;
    if (endpoint_copy(endpoint, &account->endpoint) && tsearch(account, all, account_compare) != NULL)
        return account;
    account_free(account);
    return NULL;
}

void account_remove(struct slot_account *account)
{
    tdelete(account, account->all, account_compare);
    account_free(account);
}

struct slot_account *account_find(void **all, const char *listener, const struct endpoint *endpoint)
{
    const struct slot_account wanted = { .listener = listener, .endpoint = *endpoint };
    struct slot_account **found = tfind(&wanted, all, account_compare);
    return found != NULL ? *found : NULL;
}

void account_ask(const struct slot_account *account, const struct target_set *asking)
{
    list_foreach(&account->members, node)
    {
        const struct target_set *set = member_of(node)->target->set;
        if (set != asking && set->hooks->slot_wanted != NULL && set->owner != NULL)
            set->hooks->slot_wanted(set->owner);
    }
}

int64_t account_count_own(const struct slot_account *account, const struct target_set *set)
{
    int64_t own = 0;
    list_foreach(&account->members, node)
    {
        const struct target *target = member_of(node)->target;
        if (target->set == set && !target_is_retired(target))
            own += target->connections;
    }
    return own;
}
