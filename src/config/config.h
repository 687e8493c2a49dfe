/* The configuration as a whole: file, environment and command line in, checked settings out. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "config/settings.h"

#include <stdbool.h>
#include <stdio.h>

struct parsed_configuration;

/* Where the configuration comes from. */
struct config_source {
    const char *file;   /* path of the main file */
    bool file_optional; /* true for the default path: it may be missing if the environment defines a listener
                         */
    char **environment; /* as environ */
    const char *log_level; /* of the command line; NULL if not given */
};

/* The outcome. Owned by the caller; config_free() when done. */
struct config {
    struct settings *settings;           /* NULL if there was any error; one reference */
    struct parsed_configuration *parsed; /* every value with its origin; for config_dump() */
    struct problem_list *problems;       /* errors and warnings, in the order of the file */
    size_t errors;
};

/* Reads, checks and transforms everything. Binds, resolves, contacts and creates nothing; reads the files
 * that lists name and looks up users and groups. Never prints: the caller shows the problems. */
void config_load(const struct config_source *source, struct config *config);
void config_free(struct config *config);

/* Prints each problem on a line of its own to `stream`: "FILE:LINE: error: KEY: message". */
void config_print_problems(const struct config *config, FILE *stream);

/* Writes the errors, or else the warnings, to the log, a line each. */
void config_log_problems(const struct config *config, bool errors);

/* Prints the effective configuration as a configuration file whose every line ends with a comment that names
 * the value's origin (default, FILE:LINE, the environment variable, the command line). */
void config_dump(const struct config *config, FILE *stream);

/* Where admin can be asked, with a reference; also if something else is wrong with the configuration, for who
 * asks a running instance after an edit that went wrong. NULL if that is nowhere, or can't be told. */
struct listener_settings *config_find_admin(const struct config *config);

#endif
