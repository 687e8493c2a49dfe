/* The simulation's own protocol: see own.c. */
#ifndef SIMULATION_OWN_H
#define SIMULATION_OWN_H

#include "protocol/protocol.h"
#include "simulation/dialect.h"

extern const struct protocol protocol_own;
extern const struct protocol protocol_own_pushes;
extern const struct dialect dialect_own;
extern const struct dialect dialect_own_pushes;

#endif
