/* What the framer `mllp` keeps for each client and each connection to a target. Only mllp.c and
 * its tests need to know. */
#ifndef PROTOCOL_MLLP_H
#define PROTOCOL_MLLP_H

#include "protocol/protocol.h"

enum {
    MLLP_HEAD_MAX = 4096, /* bytes of a request up to the end of MSH-12 */
    MLLP_ID_MAX = 199,    /* of MSH-10, as HL7 2.7 has it */
};

/* Where in the bytes of one side we are. */
enum mllp_phase { MLLP_BETWEEN, MLLP_HEAD, MLLP_BODY, MLLP_ENDING };

/* All zeros between two requests. */
struct mllp_client {
    enum mllp_phase phase;
    bool refuses;    /* the request is answered here */
    char separator;  /* of fields, as MSH-1 says */
    unsigned fields; /* separators so far */
};

/* What precedes MSA-2 of an answer is held until it is known whose it is. */
struct mllp_connection {
    enum mllp_phase phase;
    bool is_discarded;
    char separator;
    char segment[3];      /* how the segment begins that is coming in */
    size_t segment_bytes; /* of it so far */
    unsigned fields;      /* separators in it */
    bool has_msh;         /* the first segment has ended */
    size_t id_at;         /* where MSA-2 begins in `held`; 0: not yet */
    struct buffer held;
};

#endif
