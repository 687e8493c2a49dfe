/* What distinguishes two configurations. */
#ifndef CONFIG_CHANGES_H
#define CONFIG_CHANGES_H

#include "config/config.h"

/* See config_name_changes(). */
const char *changes_name(const struct config *before, const struct config *after, const char *listener,
                         char *text, size_t size);

#endif
