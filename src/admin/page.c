#include "admin/page.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

/* Where the page has its nonce. */
#define PLACE "@NONCE@"

#define NONCE_BYTES 16

static bool make_nonce(char *nonce)
{
    unsigned char bytes[NONCE_BYTES];
    if (getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != (ssize_t)sizeof bytes)
        return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(nonce + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

bool page_print(struct buffer *out, char *policy)
{
    char nonce[2 * NONCE_BYTES + 1];
    if (!make_nonce(nonce))
        return false;
    snprintf(policy, PAGE_POLICY_SIZE,
             "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; img-src "
             "data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             nonce, nonce);
    const char *text = page_html;
    for (const char *place; (place = strstr(text, PLACE)) != NULL; text = place + strlen(PLACE)) {
        buffer_append(out, text, (size_t)(place - text));
        buffer_append_text(out, nonce);
    }
    buffer_append_text(out, text);
    return true;
}
