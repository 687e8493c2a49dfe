#include "protocol/protocols.h"

#define PROTOCOL_NAME(name)    #name,
#define PROTOCOL_ADDRESS(name) &protocol_##name,

const char *const protocol_names[] = { PROTOCOLS(PROTOCOL_NAME) NULL };

const struct protocol *const *protocols_all(void)
{
    static const struct protocol *const protocols[] = { PROTOCOLS(PROTOCOL_ADDRESS) NULL };
    return protocols;
}

const struct protocol *protocols_find(const char *name)
{
    const struct protocol *const *protocol = protocols_all();
    while (*protocol != NULL && strcmp((*protocol)->name, name) != 0)
        protocol++;
    return *protocol;
}

bool protocol_settings_equal(const struct protocol_settings *a, const struct protocol_settings *b)
{
    return a->protocol == b->protocol && a->is_async == b->is_async &&
           (a->protocol == NULL ||
            key_fields_equal(a->protocol->keys, a->protocol->key_count, a->own, b->own));
}

void protocol_settings_release(struct protocol_settings *settings)
{
    if (settings->protocol != NULL)
        key_fields_release(settings->protocol->keys, settings->protocol->key_count, settings->own);
}
