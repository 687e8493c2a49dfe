/* A whole module: logs how long each request took its target. Build it with
 *
 *     cc -shared -fPIC -o response-time.so response-time.c
 *
 * and load it by: modules = ( { path = "/path/to/response-time.so"; } ); */
#if __has_include("../include/proximux/module.h") /* in a checkout */
#include "../include/proximux/module.h"
#else
#include <proximux/module.h>
#endif

#include <stdio.h>

static bool start(const struct proximux_host *host, const struct proximux_value *values, void **instance,
                  char *error, size_t error_size)
{
    (void)values, (void)error, (void)error_size;
    *instance = (void *)host; /* which has the functions to log with */
    return true;
}

static void response(void *instance, struct proximux_client *client, const struct proximux_exchange *exchange)
{
    const struct proximux_host *host = instance;
    char line[300];
    int length = exchange->text_length < 200 ? (int)exchange->text_length : 200;
    snprintf(line, sizeof(line), "%.3f ms for %s: %.*s", (double)exchange->service / 1000,
             client->log_address, length, exchange->text);
    host->log(PROXIMUX_INFO, client->listener, line);
}

PROXIMUX_EXPORT const struct proximux_module proximux_module = {
    .version = PROXIMUX_MODULE_VERSION,
    .name = "response-time",
    .start = start,
    .response = response,
};
