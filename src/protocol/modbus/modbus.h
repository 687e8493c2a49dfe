/* The settings of `modbus`. */
#ifndef PROTOCOL_MODBUS_H
#define PROTOCOL_MODBUS_H

#include "protocol/error_reply.h"

struct modbus_settings {
    bool match_order; /* devices that do not echo the transaction id */
};

PROTOCOL_OWN(modbus)

#endif
