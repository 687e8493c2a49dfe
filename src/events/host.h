/* The functions that modules may call. Used inside this room only. */
#ifndef EVENTS_HOST_H
#define EVENTS_HOST_H

#include "proximux/module.h"

extern const struct proximux_host host;

#endif
