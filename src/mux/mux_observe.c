/* What is kept of an exchange for those who want to see it, and the word that it was read, and has ended. */
#include "mux/mux_state.h"

#include <stdlib.h>

bool mux_observe_begin(struct mux_exchange *exchange)
{
    if (exchange->client->mux->settings.observe_request == 0 || exchange->client->door->is_apart)
        return true;
    exchange->observed = calloc(1, sizeof *exchange->observed);
    return exchange->observed != NULL;
}

static void mux_observe_keep(struct buffer *kept, size_t limit, const char *bytes, size_t length)
{
    if (kept->length < limit)
        buffer_append(kept, bytes, length < limit - kept->length ? length : limit - kept->length);
}

void mux_observe_request(struct mux_exchange *exchange, const char *bytes, size_t length)
{
    if (exchange->observed != NULL)
        mux_observe_keep(&exchange->observed->request, exchange->client->mux->settings.observe_request, bytes,
                         length);
}

void mux_observe_answer(struct mux_exchange *exchange, const char *bytes, size_t length)
{
    if (exchange->observed != NULL)
        mux_observe_keep(&exchange->observed->answer, exchange->client->mux->settings.observe_answer, bytes,
                         length);
}

void mux_observe_local_answer(struct mux_exchange *exchange)
{
    struct mux_observed *observed = exchange->observed;
    if (observed == NULL || observed->answer.length > 0 || exchange->answer.length == 0)
        return;
    observed->local_bytes = exchange->answer.length;
    mux_observe_answer(exchange, buffer_bytes(&exchange->answer), exchange->answer.length);
}

void mux_observe_requested(struct mux_exchange *exchange)
{
    struct mux_observed *observed = exchange->observed;
    if (observed == NULL || observed->is_announced)
        return;
    const struct mux *mux = exchange->client->mux;
    observed->is_announced = true;
    observed->number = ++exchange->client->announced;
    if (mux->hooks.requested == NULL)
        return;
    const struct mux_requested requested = {
        .client = exchange->client->owner,
        .number = observed->number,
        .request_head = buffer_slice(&observed->request),
        .request_bytes = exchange->request_bytes,
    };
    mux->hooks.requested(mux->owner, &requested);
}

void mux_observe_end(struct mux_exchange *exchange, enum reason reason)
{
    const struct mux *mux = exchange->client->mux;
    mux_observe_requested(exchange);
    const struct mux_observed *observed = exchange->observed;
    bool is_apart = exchange->client->door->is_apart;
    if (!is_apart && mux->hooks.ended == NULL)
        return;
    int64_t begun = exchange->sent != 0 ? exchange->sent : mux->now;
    struct mux_ending ending = {
        .client = exchange->client->owner,
        .connection = exchange->connection == NULL ? NULL : exchange->connection->owner,
        .request = &exchange->request,
        .answered = reason == REASON_NONE,
        .reason = reason,
        .request_bytes = exchange->request_bytes,
        .answer_bytes = exchange->answer_bytes,
        .wait = exchange->ready != 0 ? begun - exchange->ready : 0,
        .service = mux->now - begun,
    };
    if (observed != NULL) {
        ending.number = observed->number;
        ending.request_head = buffer_slice(&observed->request);
        ending.answer_head = buffer_slice(&observed->answer);
        ending.given_bytes = observed->local_bytes > 0 ? observed->local_bytes : exchange->answer_bytes;
    }
    if (is_apart)
        mux->hooks.ended_apart(mux->owner, &ending);
    else
        mux->hooks.ended(mux->owner, &ending);
}

void mux_observe_finding(const struct mux_connection *connection, const struct mux_exchange *exchange,
                         enum mux_verdict verdict, enum reason reason, const char *explanation)
{
    const struct mux *mux = connection->mux;
    if (mux->hooks.found == NULL)
        return;
    const struct mux_finding finding = {
        .connection = connection->owner,
        .verdict = verdict,
        .reason = reason,
        .explanation = explanation,
        .origin = exchange == NULL ? 0 : exchange->origin,
        .part = exchange == NULL || mux->protocol->part == NULL ? 0 : mux->protocol->part(&exchange->request),
    };
    mux->hooks.found(mux->owner, &finding);
}

void mux_observe_free(struct mux_exchange *exchange)
{
    if (exchange->observed == NULL)
        return;
    buffer_free(&exchange->observed->request);
    buffer_free(&exchange->observed->answer);
    free(exchange->observed);
    exchange->observed = NULL;
}
