#include "protocol/http/http_error.h"

#include <string.h>

static const char *phrase(unsigned status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 413:
        return "Content Too Large";
    case 417:
        return "Expectation Failed";
    case 431:
        return "Request Header Fields Too Large";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 504:
        return "Gateway Timeout";
    default:
        return "Service Unavailable";
    }
}

void http_error_write(const struct http_error *error, struct buffer *out)
{
    const char *words = phrase(error->status);
    size_t length = strlen("NNN : \n") + strlen(words) + strlen(error->why);
    buffer_print(out, "HTTP/1.1 %03u %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n",
                 error->status, words, length);
    if (error->closes)
        buffer_append_text(out, "Connection: close\r\n");
    else if (error->keeps_alive)
        buffer_append_text(out, "Connection: keep-alive\r\n");
    buffer_append_text(out, "\r\n");
    if (!error->answers_head)
        buffer_print(out, "%03u %s: %s\n", error->status, words, error->why);
}
