/* One listener: from its keys, each right by itself, to settings that make sense together. */
#ifndef CONFIG_CHECK_LISTENER_H
#define CONFIG_CHECK_LISTENER_H

#include "config/parsed.h"
#include "config/settings.h"

/* Settings with one reference, or NULL if something is wrong, which is among the problems then. */
struct listener_settings *check_listener(struct parsed_configuration *parsed, struct parsed_group *listener);

/* What admin connections come in by, as the settings of a listener "admin" without targets, with one
 * reference; NULL if none is wanted, or if something is wrong. */
struct listener_settings *check_admin(struct parsed_configuration *parsed);

#endif
