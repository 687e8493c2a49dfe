/* The settings of `line`. */
#ifndef PROTOCOL_LINE_H
#define PROTOCOL_LINE_H

#include "protocol/error_reply.h"

struct line_settings {
    struct slice error_reply; /* first, see error_reply.h */
    struct slice delimiter;   /* never empty */
    int64_t reply_lines;      /* 1 or more */
    struct slice reply_until; /* prefix of a reply's last line; empty: reply_lines counts */
    struct slice reply_if;    /* only requests that contain this have a reply; empty: all */
};

PROTOCOL_OWN(line)

#endif
