#include "protocol/protocol.h"

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
