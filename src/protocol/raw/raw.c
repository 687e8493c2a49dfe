/* No framing. Without `async` nobody reads messages: the multiplexer gives each client the connection for a
 * turn. With it, whatever is read at once counts as one message, as in the original Proximux. */
#include "protocol/pass.h"
#include "protocol/protocols.h"

static enum protocol_outcome raw_read_request(const struct protocol_settings *settings, void *client,
                                              struct protocol_request *request, struct slice *input,
                                              struct buffer *out, struct buffer *answer)
{
    (void)settings;
    (void)client;
    (void)answer;
    if (input->length == 0)
        return PROTOCOL_MORE;
    pass(input, input->length, out);
    request->decided = true;
    return PROTOCOL_COMPLETE;
}

static enum protocol_outcome raw_read_response(const struct protocol_settings *settings, void *connection,
                                               struct protocol_request *request, struct slice *input,
                                               struct buffer *out, uint64_t *id)
{
    (void)settings;
    (void)connection;
    (void)request;
    (void)id;
    if (input->length == 0)
        return PROTOCOL_MORE;
    pass(input, input->length, out);
    return PROTOCOL_COMPLETE;
}

const struct protocol protocol_raw = {
    .name = "raw",
    .takes_turns = true,
    .read_request = raw_read_request,
    .read_response = raw_read_response,
};
