/* The protocols of src/protocol/ as the simulation speaks them. */
#ifndef SIMULATION_REAL_H
#define SIMULATION_REAL_H

#include "simulation/dialect.h"

extern const struct dialect dialect_line;
extern const struct dialect dialect_length;
extern const struct dialect dialect_modbus;
extern const struct dialect dialect_redis;
extern const struct dialect dialect_memcached;
extern const struct dialect dialect_http;
extern const struct dialect dialect_mllp;
extern const struct dialect dialect_raw;

#endif
