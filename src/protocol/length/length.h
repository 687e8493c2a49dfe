/* Limits of `length`, for who checks the configuration. */
#ifndef PROTOCOL_LENGTH_H
#define PROTOCOL_LENGTH_H

/* Bytes of a header at most: up to the end of the length field, and of the id. */
#define LENGTH_HEAD_MAX 256

/* Bytes of an id at most: a request remembers its own. */
#define LENGTH_ID_MAX 32

#endif
