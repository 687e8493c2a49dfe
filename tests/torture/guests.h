/* Clients of one try: each sends its requests at once and must be given the right answers, errors in the
 * protocol's terms, or its end. The target sends back what it gets, so that each request is its own answer.
 */
#ifndef TORTURE_GUESTS_H
#define TORTURE_GUESTS_H

#include "harness/test.h"

#define GUESTS_MAX 8

enum guest_language { GUEST_RAW, GUEST_LINE, GUEST_REDIS, GUEST_WEB };

enum guest_end {
    GUEST_SERVED,  /* all answers were right */
    GUEST_REFUSED, /* some were errors */
    GUEST_CLOSED,  /* the connection ended before the last answer, or never was */
    GUEST_STUCK,   /* nothing came any more */
    GUEST_WRONG,   /* something else came than it asked for */
};

struct guest {
    enum guest_language language;
    unsigned port;
    size_t requests;
    size_t size;      /* of each, about; for GUEST_WEB it does not matter */
    const char *path; /* for GUEST_WEB */
    bool half_close;  /* ends its stream behind the last request, and waits for the other's end */
    bool vanishes;    /* resets the connection as soon as all is sent; served whatever happens */
    bool pauses;      /* sends a first half, waits a moment, and then the rest */

    /* of the try that runs */
    int socket;
    char *sent; /* all requests */
    size_t length;
    size_t written;
    char *got;
    size_t got_length;
    size_t got_room;
    bool has_ended; /* its stream has */
    bool over;
    int64_t resume; /* when the second half goes out */
    enum guest_end end;
};

/* Lets all of them speak at the same time, until each is over, or so many milliseconds have passed without a
 * byte for anybody. Sets `end` of each. */
#define guests_run(guests, count, milliseconds) guests_run_at((guests), (count), (milliseconds), HERE)
void guests_run_at(struct guest *guests, size_t count, int milliseconds, struct place place);

const char *guest_end_name(enum guest_end end);

#endif
