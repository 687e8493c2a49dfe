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
    for (size_t i = 0; protocol_names[i] != NULL; i++)
        if (strcmp(protocol_names[i], name) == 0)
            return protocols_all()[i];
    return NULL;
}
