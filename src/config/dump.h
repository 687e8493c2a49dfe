/* The effective configuration as text. */
#ifndef CONFIG_DUMP_H
#define CONFIG_DUMP_H

#include "config/settings.h"
#include "config/written.h"

#include <stdio.h>

/* Prints the completed configuration in the syntax of the file, each value followed by a comment that names
 * its origin. Reading it back gives the same settings. */
void dump_configuration(const struct written_configuration *written, const struct settings *settings,
                        FILE *stream);

#endif
