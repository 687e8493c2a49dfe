/* Strings that stand for bytes. libconfig can hold no zero byte, so these have escapes of their own, which
 * the file writes with two backslashes ("\\x02") and a variable with one. */
#ifndef CONFIG_BYTES_H
#define CONFIG_BYTES_H

#include "base/slice.h"

#include <stdbool.h>

/* Turns the escapes \n, \r, \t, \0, \\ and \xNN into bytes. On success `bytes` gets memory of its own, to be
 * freed by the caller. False if there is another escape: `wrong` gets where it begins; or when memory is
 * short: `wrong` is NULL then. */
bool bytes_decode(const char *text, struct slice *bytes, const char **wrong);

#endif
