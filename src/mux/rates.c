/* What is over the rate of all waits in the queue, of which nobody is handed out without a token. Clients of a key hold
 * up nobody else: where clients take turns, so many of them stand in the queue as their account has tokens; where
 * requests go in order, who comes to its head without a token leaves it. The others stand aside in a line of the
 * account's, and are let in as tokens come. So the work for one request does not depend on how many wait. A request
 * that comes back unsent was charged already. */
#include "mux/rates.h"

static int64_t account_tokens(struct mux_account *account)
{
    const struct mux *mux = account->mux;
    return rate_tokens(&account->quota.rate, mux->settings.request_rate_each, mux->now);
}

static void note_account(struct mux_account *account)
{
    if (!list_linked(&account->noted))
        list_append(&account->mux->noted_accounts, &account->noted);
}

bool rates_join(struct mux_client *client, struct slice key)
{
    struct mux *mux = client->mux;
    struct quota *quota = quotas_join(&mux->accounts, key, mux->now);
    if (quota == NULL)
        return false;
    struct mux_account *account = list_entry(quota, struct mux_account, quota);
    if (account->mux == NULL)
        list_init(&account->aside.turns);
    account->mux = mux;
    client->account = account;
    return true;
}

void rates_leave(struct mux_client *client)
{
    struct mux_account *account = client->account;
    if (account == NULL)
        return;
    client->account = NULL;
    quotas_leave(&client->mux->accounts, &account->quota, client->mux->now);
    if (account->quota.clients > 0)
        return;
    list_remove(&account->noted);
    heap_remove(&account->due);
}

bool rates_has_token(struct mux_client *client)
{
    return client->account == NULL || client_first_waiting(client)->was_charged ||
           account_tokens(client->account) > 0;
}

bool rates_may_enter(struct mux_client *client)
{
    struct mux_account *account = client->account;
    if (account == NULL || !client->mux->settings.in_order)
        return account == NULL || rates_admit(client, false);
    if (account->aside.order.first != NULL) /* an earlier one may have a token by now */
        note_account(account);
    return rates_has_token(client);
}

bool rates_admit(struct mux_client *client, bool first)
{
    struct mux_account *account = client->account;
    if (account == NULL || client->is_admitted || client_first_waiting(client)->was_charged)
        return true;
    bool is_behind = !first && !list_empty(&account->aside.turns);
    if (is_behind || account_tokens(account) <= account->admitted)
        return false;
    account->admitted++;
    client->is_admitted = true;
    return true;
}

void rates_withdraw(struct mux_client *client)
{
    if (client->account == NULL)
        return;
    note_account(client->account);
    client->account->admitted -= client->is_admitted;
    client->is_admitted = false;
}

bool rates_allow(struct mux_client *client)
{
    struct mux *mux = client->mux;
    int64_t limit = mux->settings.request_rate;
    if (limit <= 0 || client_first_waiting(client)->was_charged ||
        rate_tokens(&mux->rate, limit, mux->now) > 0)
        return true;
    mux->rate_due = rate_due(&mux->rate, limit, mux->now);
    return false;
}

void rates_charge(struct mux_exchange *exchange)
{
    const struct mux_client *client = exchange->client;
    struct mux *mux = client->mux;
    if (exchange->was_charged)
        return;
    exchange->was_charged = true;
    rate_take(&mux->rate, mux->settings.request_rate, mux->now);
    if (client->account != NULL)
        rate_take(&client->account->quota.rate, mux->settings.request_rate_each, mux->now);
}

bool rates_hold_back(const struct mux_exchange *exchange)
{
    const struct mux_client *client = exchange->client;
    struct mux *mux = client->mux;
    if (exchange->state != EXCHANGE_WAITING || exchange->was_charged)
        return false;
    return rate_tokens(&mux->rate, mux->settings.request_rate, mux->now) == 0 ||
           (client->account != NULL && account_tokens(client->account) == 0);
}

void rates_watch(struct mux_account *account, bool has_more)
{
    struct mux *mux = account->mux;
    list_remove(&account->noted);
    heap_remove(&account->due);
    if (has_more && account->admitted == 0)
        heap_add(&mux->accounts_due, &account->due,
                 (uint64_t)rate_due(&account->quota.rate, mux->settings.request_rate_each, mux->now));
}

int64_t rates_due(const struct mux *mux)
{
    const struct heap_node *first = mux->accounts_due.first;
    return first != NULL && (int64_t)first->key < mux->rate_due ? (int64_t)first->key : mux->rate_due;
}

void rates_expire(struct mux *mux)
{
    struct heap_node *node;
    if (mux->rate_due <= mux->now)
        mux->wants_dispatch = true;
    while ((node = mux->accounts_due.first) != NULL && (int64_t)node->key <= mux->now) {
        heap_remove(node);
        note_account(list_entry(node, struct mux_account, due));
    }
}
