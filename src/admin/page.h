/* The status page. */
#ifndef ADMIN_PAGE_H
#define ADMIN_PAGE_H

#include "base/buffer.h"

#include <stddef.h>

/* The text of page.html; the build turns it into a string. */
extern const char page_html[];

/* Room for a policy. */
#define PAGE_POLICY_SIZE 320

/* Appends the page and writes its Content-Security-Policy to `policy`: only script and style that carry a
 * nonce may run, a random number for this answer alone. False if there are no random numbers yet. */
bool page_print(struct buffer *out, char *policy);

#endif
