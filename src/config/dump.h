/* The effective configuration as text. */
#ifndef CONFIG_DUMP_H
#define CONFIG_DUMP_H

#include "config/parsed.h"
#include "config/settings.h"

#include <stdio.h>

/* Prints the completed configuration in the syntax of the file, each value followed by a comment that names
 * its origin. Reading it back gives the same settings. */
void dump_configuration(const struct parsed_configuration *parsed, const struct settings *settings,
                        FILE *stream);

#endif
