#include "protocol/protocol.h"

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
