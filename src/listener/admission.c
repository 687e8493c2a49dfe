#include "listener/admission.h"

#include <search.h>
#include <stdlib.h>

/* Clients of one address. In the tree while there is at least one. */
struct address_count {
    struct address address;
    int64_t clients;
};

static int compare_counts(const void *a, const void *b)
{
    return address_compare_host(&((const struct address_count *)a)->address,
                                &((const struct address_count *)b)->address);
}

void admission_init(struct admission *admission, const struct listener_settings *settings)
{
    admission->settings = settings;
    admission->clients = 0;
    admission->addresses = NULL;
}

static bool is_blocked(const struct listener_settings *settings, const struct address *client)
{
    if (client->family == AF_UNIX)
        return false; /* no address that a list could hold; file permissions are its gate */
    if (settings->blocklist != NULL && access_list_contains(settings->blocklist, client))
        return true;
    return settings->allowlist != NULL && !access_list_contains(settings->allowlist, client);
}

static bool counts_addresses(const struct admission *admission, const struct address *client)
{
    return admission->settings->max_connections_per_address >= 0 && client->family != AF_UNIX;
}

static struct address_count *find_count(const struct admission *admission, const struct address *client)
{
    struct address_count key = { .address = *client };
    struct address_count **found = tfind(&key, &admission->addresses, compare_counts);
    return found == NULL ? NULL : *found;
}

/* An address that was not there. NULL when memory is short. */
static struct address_count *add_count(struct admission *admission, const struct address *client)
{
    struct address_count *count = calloc(1, sizeof *count);
    if (count == NULL)
        return NULL;
    count->address = *client;
    if (tsearch(count, &admission->addresses, compare_counts) != NULL)
        return count;
    free(count);
    return NULL;
}

static enum reason count_address(struct admission *admission, const struct address *client)
{
    struct address_count *count = find_count(admission, client);
    if (count == NULL) {
        count = add_count(admission, client);
        if (count == NULL)
            return REASON_INTERNAL;
    } else if (count->clients >= admission->settings->max_connections_per_address) {
        return REASON_OVER_LIMIT;
    }
    count->clients++;
    return REASON_NONE;
}

enum reason admission_enter(struct admission *admission, const struct address *client)
{
    const struct listener_settings *settings = admission->settings;
    if (is_blocked(settings, client))
        return REASON_BLOCKED;
    if (settings->max_connections >= 0 && admission->clients >= settings->max_connections)
        return REASON_OVER_LIMIT;
    if (counts_addresses(admission, client)) {
        enum reason reason = count_address(admission, client);
        if (reason != REASON_NONE)
            return reason;
    }
    admission->clients++;
    return REASON_NONE;
}

bool admission_blocks(const struct admission *admission, const struct address *client)
{
    return is_blocked(admission->settings, client);
}

bool admission_change(struct admission *admission, const struct listener_settings *settings)
{
    bool counted = admission->settings->max_connections_per_address >= 0;
    bool counts = settings->max_connections_per_address >= 0;
    admission->settings = settings;
    if (counts == counted)
        return false;
    tdestroy(admission->addresses, free);
    admission->addresses = NULL;
    return counts;
}

void admission_count(struct admission *admission, const struct address *client)
{
    if (!counts_addresses(admission, client))
        return;
    struct address_count *count = find_count(admission, client);
    if (count == NULL)
        count = add_count(admission, client);
    if (count != NULL)
        count->clients++;
}

void admission_leave(struct admission *admission, const struct address *client)
{
    admission->clients--;
    if (!counts_addresses(admission, client))
        return;
    struct address_count *count = find_count(admission, client);
    if (count == NULL || --count->clients > 0) /* NULL: memory was short when it was counted anew */
        return;
    tdelete(count, &admission->addresses, compare_counts);
    free(count);
}
