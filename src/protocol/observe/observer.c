/* The observer, and how it follows sessions by the framers of the shared modes, and those without a protocol.
 *
 * Framers say what would go to the target; here it has gone there already, just as it came. What they write
 * is thrown away, and where that makes a difference to what is answered (a command that is refused or
 * answered without the target in shared modes), the protocol's observes() says what to expect. */
#include "protocol/observe/observe.h"

#include "protocol/describe.h"

#include <stdlib.h>

/* Bytes of a request from which its text is made. */
#define BEGINNING_MAX OBSERVE_TEXT_MAX

/* The follower of all protocols that can be shared. */
struct framer {
    struct observer observer;
    struct protocol_request incoming;
    struct buffer beginning; /* the request's first bytes, as they came */
    struct buffer out;       /* what the framer may still want to change of it */
    struct buffer scratch;   /* what it would answer itself */
    struct buffer answer;    /* a response's first bytes, as the framer gives them */
    struct pending *current; /* with ids: whose response is being read */
    void *connection;        /* behind `client` */
    uint64_t client[];       /* the framer's own states */
};

static void framer_open(struct observer *observer)
{
    struct framer *framer = (struct framer *)observer;
    const struct protocol *protocol = observer->protocol->protocol;
    framer->connection = framer->client + (protocol->client_size + sizeof(uint64_t) - 1) / sizeof(uint64_t);
    if (protocol->open_client != NULL)
        protocol->open_client(observer->protocol, framer->client, 0);
}

static void framer_close(struct observer *observer)
{
    struct framer *framer = (struct framer *)observer;
    const struct protocol *protocol = observer->protocol->protocol;
    if (protocol->release_request != NULL)
        protocol->release_request(&framer->incoming);
    if (protocol->close_client != NULL)
        protocol->close_client(framer->client);
    if (protocol->close_connection != NULL)
        protocol->close_connection(framer->connection);
    buffer_free(&framer->beginning);
    buffer_free(&framer->out);
    buffer_free(&framer->scratch);
    buffer_free(&framer->answer);
}

/* ---- Requests ---- */

/* The id that the client itself has given the request. It stands where the response repeats it, so that the
 * reader of responses finds it. */
static bool framer_own_id(const struct framer *framer, uint64_t *id)
{
    const struct protocol_settings *settings = framer->observer.protocol;
    const struct protocol *protocol = settings->protocol;
    struct slice bytes = buffer_slice(&framer->beginning);
    struct buffer out = { 0 };
    void *connection = calloc(1, protocol->connection_size + 1);
    if (connection == NULL)
        return false;
    enum protocol_outcome outcome = protocol->read_response(settings, connection, NULL, &bytes, &out, id);
    if (protocol->close_connection != NULL)
        protocol->close_connection(connection);
    free(connection);
    buffer_free(&out);
    return outcome == PROTOCOL_WHOSE;
}

/* Adds a request that begins with these bytes, with what it asks for as its text. */
static struct pending *framer_ask(struct observer *observer, struct slice bytes, uint64_t size)
{
    struct buffer description = { 0 };
    describe_request(observer->protocol, bytes, &description);
    struct text *text = NULL;
    if (!description.failed)
        text = text_create(buffer_slice(&description), OBSERVE_TEXT_MAX);
    if (text != NULL)
        text->is_truncated = text->is_truncated || describe_is_cut(observer->protocol, bytes, size);
    struct pending *pending = observe_ask(observer, "", text, NULL, 0);
    text_release(text);
    buffer_free(&description);
    return pending;
}

static void framer_request_complete(struct framer *framer)
{
    struct observer *observer = &framer->observer;
    const struct protocol *protocol = observer->protocol->protocol;
    struct protocol_request *request = &framer->incoming;
    struct slice beginning = buffer_slice(&framer->beginning);
    uint64_t id = 0;
    bool is_followed = !protocol_has_ids(observer->protocol) || framer_own_id(framer, &id);
    if (is_followed && protocol->observes != NULL)
        is_followed = protocol->observes(observer->protocol, request, beginning);
    else
        is_followed = is_followed && !request->local;
    struct pending *pending = framer_ask(observer, beginning, observer->sides[OBSERVE_CLIENT].count);
    if (pending == NULL)
        return;
    pending->request = *request;
    pending->id = id;
    if (!is_followed)
        observe_lose(observer, "what follows can't be told apart in this protocol");
    else if (request->unanswered && pending == observe_first(observer))
        observe_answer(observer, pending);
    *request = (struct protocol_request){ 0 };
    buffer_free(&framer->beginning);
    buffer_free(&framer->out);
}

static void framer_client(struct framer *framer, struct slice *input)
{
    struct observer *observer = &framer->observer;
    struct slice rest = *input;
    enum protocol_outcome outcome = observer->protocol->protocol->read_request(
        observer->protocol, framer->client, &framer->incoming, &rest, &framer->out, &framer->scratch);
    size_t taken = input->length - rest.length;
    size_t room = BEGINNING_MAX - framer->beginning.length;
    buffer_append(&framer->beginning, input->bytes, taken < room ? taken : room);
    bool failed = framer->out.failed || framer->scratch.failed || framer->beginning.failed;
    buffer_free(&framer->scratch);
    if (framer->incoming.decided)
        buffer_truncate(&framer->out, 0);
    observe_take(observer, OBSERVE_CLIENT, input, taken);
    if (failed)
        observe_lose(observer, "memory is short");
    else if (outcome == PROTOCOL_COMPLETE)
        framer_request_complete(framer);
    else if (outcome == PROTOCOL_BROKEN)
        observe_lose(observer, "a request breaks the protocol");
    else if (taken == 0)
        observe_lose(observer, "a request can't be read");
}

/* ---- Responses ---- */

static struct pending *framer_find(const struct observer *observer, uint64_t id)
{
    list_foreach(&observer->pending, node)
    {
        struct pending *pending = list_entry(node, struct pending, node);
        if (pending->id == id)
            return pending;
    }
    return NULL;
}

static void framer_answered(struct framer *framer, struct pending *pending)
{
    struct observer *observer = &framer->observer;
    const struct protocol *protocol = observer->protocol->protocol;
    struct buffer error = { 0 };
    if (protocol->describe_error != NULL)
        protocol->describe_error(observer->protocol, buffer_slice(&framer->answer), &error);
    if (!error.failed)
        observe_note_error(observer, buffer_slice(&error));
    buffer_free(&error);
    buffer_free(&framer->answer);
    framer->current = NULL;
    /* Requests that have no answer are over when those before them are. */
    do {
        observe_answer(observer, pending);
    } while ((pending = observe_first(observer)) != NULL && pending->request.unanswered);
}

static void framer_follow(struct framer *framer, struct pending *pending, enum protocol_outcome outcome,
                          uint64_t id)
{
    struct observer *observer = &framer->observer;
    if (outcome == PROTOCOL_COMPLETE && pending != NULL)
        framer_answered(framer, pending);
    else if (outcome == PROTOCOL_COMPLETE || outcome == PROTOCOL_DISCARDED) /* it answers nothing */
        observe_drop(observer, OBSERVE_TARGET);
    else if (outcome == PROTOCOL_BROKEN)
        observe_lose(observer, "a response breaks the protocol");
    else if (outcome == PROTOCOL_WHOSE && (framer->current = framer_find(observer, id)) == NULL)
        observe_lose(observer, "a response has an unknown id");
}

static void framer_target(struct framer *framer, struct slice *input)
{
    struct observer *observer = &framer->observer;
    const struct protocol *protocol = observer->protocol->protocol;
    struct pending *pending = observe_first(observer);
    if (pending == NULL && !protocol->has_pushes) { /* a greeting, or the like */
        observe_take(observer, OBSERVE_TARGET, input, input->length);
        observe_drop(observer, OBSERVE_TARGET);
        return;
    }
    if (protocol_has_ids(observer->protocol))
        pending = framer->current;
    struct slice rest = *input;
    uint64_t id = 0;
    enum protocol_outcome outcome =
        protocol->read_response(observer->protocol, framer->connection,
                                pending == NULL ? NULL : &pending->request, &rest, &framer->answer, &id);
    size_t taken = input->length - rest.length;
    observe_take(observer, OBSERVE_TARGET, input, taken);
    if (framer->answer.failed)
        buffer_free(&framer->answer);
    if (framer->answer.length > OBSERVE_ERROR_MAX) /* the error is read from its beginning */
        buffer_truncate(&framer->answer, OBSERVE_ERROR_MAX);
    framer_follow(framer, pending, outcome, id);
    if (taken == 0 && outcome != PROTOCOL_WHOSE)
        observe_lose(observer, "a response can't be read");
}

static void framer_target_end(struct observer *observer)
{
    struct framer *framer = (struct framer *)observer;
    const struct protocol *protocol = observer->protocol->protocol;
    struct pending *first = observe_first(observer);
    if (first != NULL && protocol->end_response != NULL &&
        protocol->end_response(observer->protocol, framer->connection, &first->request, &framer->answer) ==
            PROTOCOL_COMPLETE)
        framer_answered(framer, first);
}

static void framer_bytes(struct observer *observer, enum observe_side side, struct slice *input)
{
    struct framer *framer = (struct framer *)observer;
    if (side == OBSERVE_CLIENT)
        framer_client(framer, input);
    else
        framer_target(framer, input);
}

static const struct follower follower_framer = {
    .size = sizeof(struct framer),
    .open = framer_open,
    .close = framer_close,
    .bytes = framer_bytes,
    .target_end = framer_target_end,
};

/* ---- Without a protocol ---- */

static void raw_bytes(struct observer *observer, enum observe_side side, struct slice *input)
{
    struct pending *first = observe_first(observer);
    struct slice chunk = *input;
    observe_take(observer, side, input, input->length);
    if (side == OBSERVE_CLIENT && first == NULL) {
        framer_ask(observer, chunk, chunk.length);
    } else if (side == OBSERVE_TARGET && first != NULL) {
        observe_answer(observer, first);
    } else {
        if (first != NULL) /* the request goes on */
            first->request_bytes += chunk.length;
        observe_drop(observer, side);
    }
}

static const struct follower follower_raw = { .size = sizeof(struct observer), .bytes = raw_bytes };

/* ---- The observer ---- */

struct observer *observer_create(const struct observer_settings *settings, const struct observer_hooks *hooks,
                                 void *owner)
{
    const struct protocol *protocol = settings->protocol->protocol;
    const struct follower *follower = protocol->turn_gap != NULL   ? &follower_raw
                                      : protocol->follower != NULL ? protocol->follower
                                                                   : &follower_framer;
    struct observer *observer =
        calloc(1, follower->size + protocol->client_size + sizeof(uint64_t) + protocol->connection_size);
    if (observer == NULL)
        return NULL;
    observer->protocol = settings->protocol;
    observer->follower = follower;
    observer->hooks = *hooks;
    observer->owner = owner;
    observer->parameter_limit = settings->parameter_limit;
    observer->sides[OBSERVE_CLIENT].limit = settings->request_limit;
    observer->sides[OBSERVE_TARGET].limit = settings->response_limit;
    list_init(&observer->pending);
    if (follower->open != NULL)
        follower->open(observer);
    return observer;
}

void observer_destroy(struct observer *observer)
{
    if (observer == NULL)
        return;
    struct pending *pending;
    while ((pending = observe_first(observer)) != NULL)
        observe_forget(observer, pending);
    if (observer->follower->close != NULL)
        observer->follower->close(observer);
    for (enum observe_side side = OBSERVE_CLIENT; side < OBSERVE_SIDES; side++) {
        observe_drop(observer, side);
        buffer_free(&observer->sides[side].packet.body);
    }
    free(observer);
}

static void observer_bytes(struct observer *observer, enum observe_side side, struct slice input, int64_t now)
{
    observer->now = now;
    while (input.length > 0 && !observer->is_silent)
        observer->follower->bytes(observer, side, &input);
}

void observer_client_bytes(struct observer *observer, const char *bytes, size_t length, int64_t now)
{
    observer_bytes(observer, OBSERVE_CLIENT, (struct slice){ bytes, length }, now);
}

void observer_target_bytes(struct observer *observer, const char *bytes, size_t length, int64_t now)
{
    observer_bytes(observer, OBSERVE_TARGET, (struct slice){ bytes, length }, now);
}

void observer_target_end(struct observer *observer, int64_t now)
{
    observer->now = now;
    if (!observer->is_silent && observer->follower->target_end != NULL)
        observer->follower->target_end(observer);
}
