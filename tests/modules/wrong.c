/* A module for tests, of another version of the interface. */
#include <proximux/module.h>

PROXIMUX_EXPORT const struct proximux_module proximux_module = {
    .version = PROXIMUX_MODULE_VERSION + 1,
    .name = "wrong",
};
