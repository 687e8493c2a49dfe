/* The settings of `marks`. */
#ifndef PROTOCOL_MARKS_H
#define PROTOCOL_MARKS_H

#include "protocol/error_reply.h"

struct marks_settings {
    struct slice error_reply; /* first, see error_reply.h */
    struct slice start;       /* never empty */
    struct slice end;         /* never empty */
};

PROTOCOL_OWN(marks)

#endif
