/* From the parsed configuration (and completed) to settings; finds what is wrong beyond single values. */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "config/parsed.h"
#include "config/settings.h"

/* Returns settings with one reference, or NULL if there is any error, which is among the problems then. Reads
 * list files and looks up users; nothing else is touched. */
struct settings *check_configuration(struct parsed_configuration *parsed);

#endif
