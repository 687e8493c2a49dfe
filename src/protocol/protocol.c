#include "protocol/protocol.h"

#include "protocol/describe.h"
#include "protocol/observe/follow.h"
#include "protocol/protocols.h"

/* clang-format off */
static const struct protocol *const protocols[] = {
    &protocol_http,
    &protocol_length,
    &protocol_line,
    &protocol_marks,
    &protocol_memcached,
    &protocol_modbus,
    &protocol_raw,
    &protocol_redis,
    NULL,
};
/* clang-format on */

const struct protocol *protocol_find(const char *name)
{
    for (size_t i = 0; protocols[i] != NULL; i++)
        if (strcmp(protocols[i]->name, name) == 0)
            return protocols[i];
    return NULL;
}

const struct protocol *const *protocol_all(void)
{
    return protocols;
}

const struct follower *protocol_find_follower(const char *name)
{
    static const struct follower *const followers[] = { &follower_mysql, &follower_postgresql };
    for (size_t i = 0; i < sizeof followers / sizeof followers[0]; i++)
        if (strcmp(followers[i]->name, name) == 0)
            return followers[i];
    return NULL;
}

const char *protocol_follower_name(const struct follower *follower)
{
    return follower->name;
}

void protocol_describe(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    if (settings->protocol != NULL && settings->protocol->describe != NULL)
        settings->protocol->describe(settings, bytes, text);
    else
        describe_bytes(bytes, text);
}

bool protocol_description_is_cut(const struct protocol_settings *settings, struct slice bytes, uint64_t size)
{
    const struct protocol *protocol = settings->protocol;
    if (protocol == NULL || protocol->describe == NULL)
        return size > DESCRIBE_BYTES_MAX;
    if (bytes.length >= size)
        return false;
    return protocol->describe != describe_first_line || !describe_has_first_line(bytes);
}
