#include "protocol/error_reply.h"

bool error_reply_write(const struct protocol_settings *settings, const struct protocol_request *request,
                       enum reason reason, struct buffer *out)
{
    (void)reason;
    if (request->begun || request->unanswered || settings->error_reply.length == 0)
        return false;
    buffer_append(out, settings->error_reply.bytes, settings->error_reply.length);
    return true;
}

enum protocol_outcome error_reply_break(const struct protocol_settings *settings, struct buffer *answer)
{
    buffer_append(answer, settings->error_reply.bytes, settings->error_reply.length);
    return PROTOCOL_BROKEN;
}
