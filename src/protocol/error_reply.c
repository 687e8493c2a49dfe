#include "protocol/error_reply.h"

static bool begins_with(struct slice slice, struct slice start)
{
    return slice.length >= start.length && memcmp(slice.bytes, start.bytes, start.length) == 0;
}

static bool ends_with(struct slice slice, struct slice end)
{
    return slice.length >= end.length &&
           memcmp(slice.bytes + slice.length - end.length, end.bytes, end.length) == 0;
}

void error_reply_check(const struct protocol_settings *settings, struct slice start, struct slice end,
                       const char *what, const struct key_report *report)
{
    struct slice reply = error_reply_own(settings)->error_reply;
    if (reply.length > 0 && !(begins_with(reply, start) && ends_with(reply, end)))
        key_warning(report, "error_reply", "is no whole message: it does not %s", what);
}

bool error_reply_write(const struct protocol_settings *settings, const struct protocol_request *request,
                       enum reason reason, struct buffer *out)
{
    struct slice reply = error_reply_own(settings)->error_reply;
    (void)reason;
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
