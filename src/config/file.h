/* Reads the configuration file (libconfig) into the configuration as written. */
#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H

#include "config/written.h"

/* Adds what the file says to `written`. Unknown keys and wrong types and ranges become problems; a syntax
 * error is reported alone, since nothing after it can be trusted. */
void file_read(struct written_configuration *written, const char *path);

#endif
