#include "protocol/observe/observe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void observe_take(struct observer *observer, enum observe_side side, struct slice *input, size_t count)
{
    struct observed_side *observed = &observer->sides[side];
    if (observed->head.length < observed->limit) {
        size_t room = observed->limit - observed->head.length;
        buffer_append(&observed->head, input->bytes, count < room ? count : room);
    }
    observed->count += count;
    slice_skip(input, count);
}

void observe_drop(struct observer *observer, enum observe_side side)
{
    struct observed_side *observed = &observer->sides[side];
    observed->count = 0;
    buffer_free(&observed->head);
}

void observe_forget(struct observer *observer, struct pending *pending)
{
    list_remove(&pending->node);
    observer->pending_count--;
    observer->text_bytes -= text_slice(pending->text).length + text_slice(pending->parameters).length;
    if (observer->protocol->protocol->release_request != NULL)
        observer->protocol->protocol->release_request(&pending->request);
    text_release(pending->text);
    text_release(pending->parameters);
    free(pending);
}

/* A reference, or NULL if the text does not fit. */
static struct text *observe_hold(struct observer *observer, struct text *text)
{
    if (text_slice(text).length > OBSERVE_TEXTS_MAX - observer->text_bytes)
        return NULL;
    observer->text_bytes += text_slice(text).length;
    return text_reference(text);
}

struct pending *observe_add(struct observer *observer, const char *kind, struct text *text,
                            struct text *parameters, int code)
{
    struct pending *pending = NULL;
    if (observer->pending_count < OBSERVE_PENDING_MAX)
        pending = calloc(1, sizeof *pending);
    if (pending == NULL) {
        observe_lose(observer, "too many requests without an answer");
        return NULL;
    }
    pending->kind = kind;
    pending->code = code;
    pending->text = observe_hold(observer, text);
    pending->parameters = observe_hold(observer, parameters);
    list_append(&observer->pending, &pending->node);
    observer->pending_count++;
    return pending;
}

static struct observation observation_of(const struct pending *pending)
{
    const struct text *text = pending->text;
    const struct text *parameters = pending->parameters;
    return (struct observation){
        .number = pending->number,
        .kind = pending->kind,
        .text = text_slice(text),
        .is_truncated = text != NULL && text->is_truncated,
        .parameters = text_slice(parameters),
        .parameters_are_cut = parameters != NULL && parameters->is_truncated,
        .request_bytes = pending->request_bytes,
        .requested = pending->requested,
    };
}

void observe_tell(struct observer *observer, struct pending *pending)
{
    struct observed_side *client = &observer->sides[OBSERVE_CLIENT];
    pending->is_exchange = true;
    pending->number = ++observer->numbers;
    pending->request_bytes = client->count;
    pending->requested = observer->now;
    struct observation observation = observation_of(pending);
    observation.request = buffer_slice(&client->head);
    observer->hooks.requested(observer->owner, &observation);
    observe_drop(observer, OBSERVE_CLIENT);
}

struct pending *observe_ask(struct observer *observer, const char *kind, struct text *text,
                            struct text *parameters, int code)
{
    struct pending *pending = observe_add(observer, kind, text, parameters, code);
    if (pending != NULL)
        observe_tell(observer, pending);
    return pending;
}

struct pending *observe_first(const struct observer *observer)
{
    struct list_node *first = list_first(&observer->pending);
    return first == NULL ? NULL : list_entry(first, struct pending, node);
}

void observe_note_error(struct observer *observer, struct slice error)
{
    if (observer->error_length > 0 || error.length == 0)
        return;
    observer->error_length = error.length < OBSERVE_ERROR_MAX ? error.length : OBSERVE_ERROR_MAX;
    memcpy(observer->error, error.bytes, observer->error_length);
}

void observe_print_error(struct observer *observer, const char *format, ...)
{
    char text[OBSERVE_ERROR_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0)
        observe_note_error(observer, (struct slice){ text, strlen(text) });
}

void observe_answer(struct observer *observer, struct pending *pending)
{
    struct observed_side *target = &observer->sides[OBSERVE_TARGET];
    if (pending->is_exchange) {
        struct observation observation = observation_of(pending);
        observation.response = buffer_slice(&target->head);
        observation.response_bytes = target->count;
        observation.error = (struct slice){ observer->error, observer->error_length };
        observer->hooks.answered(observer->owner, &observation);
        observe_drop(observer, OBSERVE_TARGET);
        observer->error_length = 0;
    }
    observe_forget(observer, pending);
}

void observer_end(struct observer *observer)
{
    struct pending *pending;
    while ((pending = observe_first(observer)) != NULL) {
        if (pending->is_exchange) {
            struct observation observation = observation_of(pending);
            observation.response_bytes = observer->sides[OBSERVE_TARGET].count;
            observe_drop(observer, OBSERVE_TARGET);
            observer->hooks.unanswered(observer->owner, &observation);
        }
        observe_forget(observer, pending);
    }
}

void observe_lose(struct observer *observer, const char *why)
{
    if (observer->is_silent)
        return;
    observer_end(observer);
    observe_drop(observer, OBSERVE_CLIENT);
    observe_drop(observer, OBSERVE_TARGET);
    observer->is_silent = true;
    if (observer->hooks.lost != NULL)
        observer->hooks.lost(observer->owner, why);
}

/* ---- Packets ---- */

bool packet_read_head(struct observer *observer, enum observe_side side, struct slice *input, size_t size)
{
    struct packet *packet = &observer->sides[side].packet;
    if (packet->has_head)
        return false;
    size_t count = size - packet->head_length < input->length ? size - packet->head_length : input->length;
    memcpy(packet->head + packet->head_length, input->bytes, count);
    packet->head_length += count;
    observe_take(observer, side, input, count);
    packet->has_head = packet->head_length == size;
    return packet->has_head;
}

bool packet_read_body(struct observer *observer, enum observe_side side, struct slice *input,
                      struct slice *body)
{
    struct packet *packet = &observer->sides[side].packet;
    if (!packet->has_head)
        return false;
    size_t count = packet->left < input->length ? (size_t)packet->left : input->length;
    size_t room = packet->keep - packet->body.length;
    *body = (struct slice){ input->bytes, count < room ? count : room };
    packet->left -= count;
    observe_take(observer, side, input, count);
    if (packet->left > 0 || packet->body.length > 0) {
        buffer_append(&packet->body, body->bytes, body->length);
        *body = buffer_slice(&packet->body);
    }
    if (packet->left > 0)
        return false;
    packet->has_head = false;
    packet->head_length = 0;
    return true;
}
