/* The request log: one line an exchange. */
#include "base/log.h"
#include "events/events_state.h"

#include <stdio.h>

/* Bytes of a text that fit a line, escaped. */
#define TEXT_MAX 2048

/* The text comes last, because the end of a long line is cut off. */
void request_log_write(const struct proximux_client *client, const struct proximux_exchange *exchange)
{
    char text[TEXT_MAX + 1];
    size_t length = exchange->text_length < TEXT_MAX ? exchange->text_length : TEXT_MAX;
    if (!log_enabled(LOG_KIND_INFO))
        return;
    for (size_t i = 0; i < length; i++) /* a zero would end it */
        text[i] = exchange->text[i] != '\0' ? exchange->text[i] : ' ';
    text[length] = '\0';
    const char *outcome = exchange->reason[0] != '\0'  ? exchange->reason
                          : exchange->error[0] != '\0' ? "answered with an error"
                                                       : "answered";
    log_info(
        client->listener,
        "request %llu of client %llu from %s to %s: %s%s%s, %llu bytes, answer %llu bytes, waited %.3f ms, "
        "served %.3f ms: %s%s%s%s",
        (unsigned long long)exchange->number, (unsigned long long)client->number, client->log_address,
        exchange->target[0] != '\0' ? exchange->target : "no target", outcome,
        exchange->error[0] != '\0' ? " " : "", exchange->error, (unsigned long long)exchange->request_size,
        (unsigned long long)exchange->response_size, (double)exchange->wait / 1000.0,
        (double)exchange->service / 1000.0, exchange->kind, exchange->kind[0] != '\0' ? " " : "", text,
        exchange->text_is_cut || length < exchange->text_length ? "..." : "");
}
