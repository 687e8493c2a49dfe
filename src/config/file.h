/* Reads the configuration file (libconfig) into the configuration as parsed. */
#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H

#include "config/parsed.h"

/* Adds what the file says to `parsed`. Unknown keys and wrong types and ranges become problems; a syntax
 * error is reported alone, since nothing after it can be trusted. */
void file_read(struct parsed_configuration *parsed, const char *path);

#endif
