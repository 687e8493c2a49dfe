/* Drives framers as the multiplexer does and writes down what they say, so that a test is a table of inputs
 * and transcripts. Every input is tried whole, cut in two at each place, and byte by byte; each piece stands
 * in memory of its own, against an unmapped page, so that reading one byte too far crashes. All of these must
 * give the same transcript.
 *
 * Transcript of requests, one a line, bytes outside printable ASCII as \r \n \\ \xNN:
 *   forward BYTES     goes to the target     flags: closes (closes_client), unanswered
 *   local BYTES       answered here          flags: closes, refused
 *   broken BYTES      with what was appended to `answer`
 *   more BYTES        input ended inside a request; BYTES only if it is decided
 * A forwarded request that has an interim answer has "interim BYTES" in a line before it.
 *
 * Transcript of responses:
 *   answer BYTES      flags: closes (the client), closes-target
 *   interim BYTES
 *   whose ID          before the answer, where there are ids
 *   more BYTES        input ended inside an answer
 *   ended BYTES       the same, and end_response() said that it is complete; flags as of answer
 *   cut BYTES         the same, and end_response() said that it is broken (or is NULL)
 *   broken BYTES
 *   stray             bytes came when nothing was outstanding
 * Flags stand in front, in brackets: "forward [closes] QUIT\r\n". */
#ifndef UNIT_FRAMING_H
#define UNIT_FRAMING_H

#include "harness/test.h"
#include "protocol/protocol.h"

/* Settings with the defaults of the configuration: head_limit 65536, no max_message, delimiter "\n" and so
 * on. */
struct protocol_settings framing_settings(const struct protocol *protocol);

/* Requests of one client. */
#define framing_expect_requests(settings, input, expected)                                                   \
    framing_expect_requests_at((settings), (struct slice){ (input), sizeof(input) - 1 }, (expected), HERE)
void framing_expect_requests_at(const struct protocol_settings *settings, struct slice input,
                                const char *expected, struct place place);

/* Responses to the forwarded ones of `requests`, which are read whole first. Where there are ids, these are
 * set to 0, 1, 2 ... in the order of the requests. `end`: the target ends its stream then. */
#define framing_expect_responses(settings, requests, responses, end, expected)                               \
    framing_expect_responses_at((settings), (struct slice){ (requests), sizeof(requests) - 1 },              \
                                (struct slice){ (responses), sizeof(responses) - 1 }, (end), (expected),     \
                                HERE)
void framing_expect_responses_at(const struct protocol_settings *settings, struct slice requests,
                                 struct slice responses, bool end, const char *expected, struct place place);

/* The error that the first request of `requests` (complete or not) gets for this reason; NULL: none. */
#define framing_expect_error(settings, requests, reason, expected)                                           \
    framing_expect_error_at((settings), (struct slice){ (requests), sizeof(requests) - 1 }, (reason),        \
                            (expected), HERE)
void framing_expect_error_at(const struct protocol_settings *settings, struct slice requests,
                             enum reason reason, const char *expected, struct place place);

/* The transcripts themselves, input cut into `first` bytes and then pieces of `step` bytes; to be freed. For
 * tests that compare or measure on their own. */
char *framing_requests(const struct protocol_settings *settings, struct slice input, size_t first,
                       size_t step);
char *framing_responses(const struct protocol_settings *settings, struct slice requests,
                        struct slice responses, bool end, size_t first, size_t step);

#endif
