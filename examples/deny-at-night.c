/* A whole module: turns clients away between two hours of the day (local time). Build it with
 *
 *     cc -shared -fPIC -o deny-at-night.so deny-at-night.c
 *
 * and load it by: modules = ( { path = "/path/to/deny-at-night.so"; from = 22; to = 6; } ); */
#if __has_include("../include/proximux/module.h") /* in a checkout */
#include "../include/proximux/module.h"
#else
#include <proximux/module.h>
#endif

#include <time.h>

static const struct proximux_key keys[] = {
    { .name = "from", .type = PROXIMUX_INTEGER, .fallback = "22", .minimum = 0, .maximum = 23 },
    { .name = "to", .type = PROXIMUX_INTEGER, .fallback = "6", .minimum = 0, .maximum = 24 },
    { .name = NULL },
};

static bool start(const struct proximux_host *host, const struct proximux_value *values, void **instance,
                  char *error, size_t error_size)
{
    (void)host, (void)error, (void)error_size;
    *instance = (void *)values; /* they live as long as the instance */
    return true;
}

static bool connected(void *instance, struct proximux_client *client)
{
    const struct proximux_value *from = instance, *to = from + 1;
    time_t now = time(NULL);
    int hour = localtime(&now)->tm_hour;
    (void)client;
    bool is_night = from->number <= to->number ? hour >= from->number && hour < to->number
                                               : hour >= from->number || hour < to->number;
    return !is_night;
}

PROXIMUX_EXPORT const struct proximux_module proximux_module = {
    .version = PROXIMUX_MODULE_VERSION,
    .name = "deny-at-night",
    .keys = keys,
    .start = start,
    .connected = connected,
};
