#include "protocol/error_reply.h"

void error_reply_check(const struct protocol_settings *settings, struct slice start, struct slice end,
                       const char *what, const struct key_report *report)
{
    struct slice reply = error_reply_own(settings)->error_reply;
    if (reply.length > 0 && !(slice_begins_with(reply, start) && slice_ends_with(reply, end)))
        key_warning(report, "error_reply", "is no whole message: it does not %s", what);
}

bool error_reply_write(const struct protocol_settings *settings, const struct protocol_request *request,
                       enum reason, struct buffer *out)
{
    struct slice reply = error_reply_own(settings)->error_reply;
    if (request->begun || request->unanswered || reply.length == 0)
        return false;
    buffer_append(out, reply.bytes, reply.length);
    return true;
}

enum protocol_outcome error_reply_break(const struct protocol_settings *settings, struct buffer *answer)
{
    struct slice reply = error_reply_own(settings)->error_reply;
    buffer_append(answer, reply.bytes, reply.length);
    return PROTOCOL_BROKEN;
}
