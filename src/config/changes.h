/* What distinguishes two configurations without errors. */
#ifndef CONFIG_CHANGES_H
#define CONFIG_CHANGES_H

#include "config/config.h"

/* The changes of one listener. */
struct listener_changes {
    size_t before; /* its index in the configuration before; SIZE_MAX: it is new */
    char *keys;    /* whose values differ, separated by commas; "": none; NULL: it is new */
};

/* Owned by the caller; config_changes_free() when done, also after a failure. */
struct config_changes {
    char *keys;                         /* those outside of listeners */
    bool admin;                         /* something of `admin` is among them */
    struct listener_changes *listeners; /* one a listener of the configuration after */
    size_t count;
};

/* Compares them. Reads both, and changes nothing. False when memory is short. */
bool config_compare(const struct config *before, const struct config *after, struct config_changes *changes);
void config_changes_free(struct config_changes *changes);

#endif
