/* The status page. */
#ifndef ADMIN_PAGE_H
#define ADMIN_PAGE_H

#include "base/buffer.h"

#include <stddef.h>

/* The page as it stands in page.html, which the build makes a string of. */
extern const char page_html[];

/* Room for a policy. */
#define PAGE_POLICY_SIZE 320

/* Appends the page, and writes the Content-Security-Policy that goes with it: the page's own script and style
 * are known by a number that is made up here and never used again, and nothing else may run. False if there
 * is no chance to be had. */
bool page_print(struct buffer *out, char *policy);

#endif
