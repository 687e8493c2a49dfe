/* One instance of a module: its file, its settings. Used inside this room only. */
#ifndef EVENTS_EVENTS_MODULE_H
#define EVENTS_EVENTS_MODULE_H

#include "config/config.h"
#include "config/parsed.h"
#include "proximux/module.h"

/* Owned by struct events. */
struct module {
    void *library;
    const struct proximux_module *module; /* in the library */
    char *path;
    struct proximux_value *values; /* one a key of the module */
    bool is_for_all;               /* listeners */
    char *listeners;               /* else their names, each with its zero (see argz_next(3)) */
    size_t listeners_size;
    void *instance;
    bool started;
};

/* Loads a module and checks its settings; errors go to the problems of `parsed`. False if there is any.
 * module_close() is due in both cases. */
bool module_load(struct module *module, const struct parsed_configuration *parsed,
                 const struct parsed_module *group);

/* Whether the files, the settings and the listeners are the same. */
bool module_is_equal(const struct module *a, const struct module *b);

bool module_start(struct module *module, char *error, size_t error_size);

/* Stops a module that was started, and unloads it. */
void module_close(struct module *module);

/* Whether a module is for the listener of that name. */
bool module_is_for(const struct module *module, const char *listener);

#endif
