/* Shows an observer both directions of a session and writes down what it tells, so that a test is a table of
 * what was said and a transcript. Every session is tried whole, cut in two at each place of each piece, and
 * byte by byte; each cut stands in memory of its own size. All of these must give the same transcript, but
 * for `raw`, where cuts are what matters.
 *
 * Transcript, one thing a line, bytes outside printable ASCII as \xNN:
 *   ask NUMBER KIND TEXT [BYTES]       "..." behind a text that is not whole
 *   answer NUMBER [BYTES] ERROR
 *   unanswered NUMBER [BYTES]
 *   lost WHY */
#ifndef UNIT_OBSERVING_H
#define UNIT_OBSERVING_H

#include "harness/test.h"
#include "protocol/observe/observer.h"

enum said_by { CLIENT, TARGET, TARGET_ENDS, END };

/* Bytes of the values of statements that are wanted. */
#define OBSERVING_PARAMETERS 200

/* What one side says; a table ends with END. */
struct said {
    enum said_by side;
    struct slice bytes;
};

#define CLIENT_SAYS(literal)                                                                                 \
    {                                                                                                        \
        CLIENT,                                                                                              \
        {                                                                                                    \
            literal, sizeof(literal) - 1                                                                     \
        }                                                                                                    \
    }
#define TARGET_SAYS(literal)                                                                                 \
    {                                                                                                        \
        TARGET,                                                                                              \
        {                                                                                                    \
            literal, sizeof(literal) - 1                                                                     \
        }                                                                                                    \
    }
#define SAID_END                                                                                             \
    {                                                                                                        \
        END,                                                                                                 \
        {                                                                                                    \
            NULL, 0                                                                                          \
        }                                                                                                    \
    }

/* Settings of a protocol by its name. */
struct protocol_settings observing_settings(const char *protocol);

/* The transcript, each piece cut into `first` bytes and then pieces of `step` bytes; to be freed. */
char *observing_transcript(const struct protocol_settings *settings, const struct said *said, size_t first,
                           size_t step);

#define observing_expect(settings, said, expected) observing_expect_at((settings), (said), (expected), HERE)
void observing_expect_at(const struct protocol_settings *settings, const struct said *said,
                         const char *expected, struct place place);

#endif
