/* The place where a test of the configuration works: a directory of its own with configuration files, and
 * what was loaded from them. */
#ifndef TESTS_CONFIG_PLACE_H
#define TESTS_CONFIG_PLACE_H

#include "config/config.h"

/* A listener without a fault, for what has to stand beside the thing under test. */
#define CONFIG_LISTENER                                                                                      \
    "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; } );\n"

/* Made and freed by the set-up and tear-down of each test. */
struct config_place {
    char directory[64];
    struct config config; /* of the last load */
    char *said;           /* its problems as they would be printed, without what depends on the machine */
};

/* For cmocka. The tear-down removes the directory with all that is in it. */
int config_place_setup(void **state);
int config_place_teardown(void **state);

#define CONFIG_TEST(name) cmocka_unit_test_setup_teardown(name, config_place_setup, config_place_teardown)

/* The path of a file in the directory, in one of a few buffers that are used in turn. */
const char *config_place_path(const struct config_place *place, const char *name);

/* Writes a file; the name may have one folder in it, which is made. In the text each "DIR" becomes the
 * directory. */
void config_place_write(const struct config_place *place, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void config_place_write_bytes(const struct config_place *place, const char *name, const char *bytes,
                              size_t length);

/* Loads main.conf with these variables (ends with NULL; NULL: none). */
void config_place_load(struct config_place *place, char **environment);
void config_place_load_source(struct config_place *place, const struct config_source *source);

/* Writes main.conf and loads it, without variables. */
void config_place_read(struct config_place *place, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Fails unless the last load said exactly this, lines of "PLACE: error: KEY: message", the directory left out
 * of paths; and unless there are settings exactly if there was no error. That everything runs as root, which
 * root alone is told, is left out. */
void config_place_expect(const struct config_place *place, const char *said);

/* The configuration in effect as text; the caller frees it. */
char *config_place_dump(const struct config_place *place);

#endif
