/* No framing. Without `async` nobody reads messages: the multiplexer gives each client the connection for a
 * turn. With it, whatever is read at once counts as one message, as in the original Proximux. */
#include "protocol/raw/raw.h"

#include "protocol/pass.h"
#include "protocol/protocols.h"

#include <inttypes.h>

static enum protocol_outcome raw_read_request(const struct protocol_settings *, void *,
                                              struct protocol_request *request, struct slice *input,
                                              struct buffer *out, struct buffer *)
{
    if (input->length == 0)
        return PROTOCOL_MORE;
    pass(input, input->length, out);
    request->decided = true;
    return PROTOCOL_COMPLETE;
}

static enum protocol_outcome raw_read_response(const struct protocol_settings *, void *,
                                               struct protocol_request *, struct slice *input,
                                               struct buffer *out, uint64_t *)
{
    if (input->length == 0)
        return PROTOCOL_MORE;
    pass(input, input->length, out);
    return PROTOCOL_COMPLETE;
}

static const struct key raw_keys[] = {
    INTEGER_KEY("response_gap", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "20", "silence that ends an answer",
                KEY_FIELD(struct raw_settings, response_gap)),
};

/* Messages that are not read can't be told apart for sure. */
static void raw_check(const struct protocol_settings *settings, bool is_shared,
                      const struct key_report *report)
{
    if (is_shared && settings->is_async)
        key_warning(report, NULL,
                    "DANGER: \"raw\" with async takes each piece that a target sends for one whole answer; "
                    "one that comes in two pieces, or two in one, REACH THE WRONG CLIENTS");
    else if (is_shared)
        key_warning(report, NULL,
                    "\"raw\" can't tell where an answer ends: one that pauses for longer than response_gap "
                    "(%" PRId64 " ms) can reach the wrong client, and so can the answers to a client that "
                    "does not wait for them",
                    raw_own(settings)->response_gap);
}

static int64_t raw_turn_gap(const struct protocol_settings *settings)
{
    return raw_own(settings)->response_gap;
}

const struct protocol protocol_raw = {
    .name = "raw",
    .keys = raw_keys,
    .key_count = sizeof raw_keys / sizeof raw_keys[0],
    .check = raw_check,
    .turn_gap = raw_turn_gap,
    .read_request = raw_read_request,
    .read_response = raw_read_response,
};
