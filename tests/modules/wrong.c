/* Modules for tests, each wrong in one way: of another version of the interface, without a name, or with a
 * default that is no choice. */
#include <proximux/module.h>

static const char *const choices[] = { "a", "b", NULL };

static const struct proximux_key keys[] = {
#ifdef wrong_default
    { .name = "which", .type = PROXIMUX_CHOICE, .fallback = "c", .choices = choices },
#else
    { .name = "which", .type = PROXIMUX_CHOICE, .fallback = "b", .choices = choices },
#endif
    { .name = NULL },
};

PROXIMUX_EXPORT const struct proximux_module proximux_module = {
#ifdef wrong_version
    .version = PROXIMUX_MODULE_VERSION + 1,
#else
    .version = PROXIMUX_MODULE_VERSION,
#endif
#ifndef wrong_name
    .name = "wrong",
#endif
    .keys = keys,
};
