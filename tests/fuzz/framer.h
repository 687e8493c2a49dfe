/* Drives framers as the multiplexer does, over bytes cut into pieces, and writes down what they say: the
 * whole and every way to cut must give the same, and so must the model of a protocol, which may look at the
 * whole. Each piece lies in memory of its own size. What the interface demands holds all the while: MORE has
 * taken everything, undecided bytes stay within head_limit, what stands in `out` before an answer is left
 * alone, an error is written whole or not at all.
 *
 * An input is taken apart from its beginning: first the settings, then the rest by framer_split(). */
#ifndef FUZZ_FRAMER_H
#define FUZZ_FRAMER_H

#include "fuzz/fuzz.h"

#include "protocol/protocol.h"

/* A client's requests are read until so many were forwarded. */
#define FRAMER_REQUESTS_MAX 32

/* What a transcript is made of. */
enum framer_event {
    FRAMER_FORWARD = 'f',    /* with the request's bytes */
    FRAMER_UNANSWERED = 'u', /* the same, without an answer */
    FRAMER_LOCAL = 'l',      /* with the answer */
    FRAMER_DISCARDED = 'd',  /* a message of the target that answers nothing */
    FRAMER_BROKEN = 'b',     /* a request, with its error; an answer */
    FRAMER_MORE = 'm',       /* at the end: the part of a message that was handed on, unless it is none */
    FRAMER_ANSWER = 'a',
    FRAMER_WHOSE = 'w', /* with 8 bytes of id */
    FRAMER_STRAY = 's', /* answers when nothing is outstanding */
};

void framer_note(struct buffer *transcript, enum framer_event event, struct slice bytes);

/* The next byte; 0 if there is none. */
uint8_t framer_byte(struct slice *input);

/* A copy of the next bytes, after a byte that says how many of up to `most`; freed by the caller. */
struct slice framer_string(struct slice *input, size_t most);
void framer_string_free(struct slice string);

/* Mostly small, so that it is met. */
size_t framer_head_limit(struct slice *input);

/* What is left of an input: how to cut, requests, responses. Point into it. */
struct framer_parts {
    uint32_t seed;
    struct slice requests;
    struct slice responses;
};

struct framer_parts framer_split(struct slice input);

/* Tries the parts. The models may be NULL; both stop as the driver does: after FRAMER_REQUESTS_MAX requests,
 * after BROKEN and STRAY. */
void framer_check(const struct protocol_settings *settings, const struct framer_parts *parts,
                  const struct buffer *model_of_requests, const struct buffer *model_of_responses);

#endif
