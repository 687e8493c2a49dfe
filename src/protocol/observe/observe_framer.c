/* Follows sessions by the framers of the shared modes, and those without a protocol.
 *
 * Framers say what would go to the target; here it has gone there already, just as it came. What they write
 * is thrown away, and where that makes a difference to what is answered (a command that is refused or
 * answered without the target in shared modes), the protocol's observes() says what to expect. */
#include "protocol/observe/observe.h"

#include "protocol/describe.h"

#include <stdlib.h>

/* Bytes of a request from which its text is made. */
#define BEGINNING_MAX OBSERVE_TEXT_MAX

struct framer_state {
    struct protocol_request incoming;
    struct buffer beginning; /* the request's first bytes, as they came */
    struct buffer out;       /* what the framer may still want to change of it */
    struct buffer scratch;   /* what it would answer itself */
    struct buffer answer;    /* a response's first bytes, as the framer gives them */
    struct pending *current; /* with ids: whose response is being read */
    size_t client_at;        /* places of the framer's own states in `own` */
    size_t connection_at;
    uint64_t own[];
};

static size_t round_up(size_t size)
{
    return (size + sizeof(uint64_t) - 1) / sizeof(uint64_t);
}

size_t observe_framer_size(const struct protocol_settings *settings)
{
    return sizeof(uint64_t) *
           (round_up(settings->protocol->client_size) + round_up(settings->protocol->connection_size));
}

static void *framer_client_state(struct framer_state *state)
{
    return state->own + state->client_at;
}

static void *framer_connection_state(struct framer_state *state)
{
    return state->own + state->connection_at;
}

static void framer_open(struct observer *observer, void *data)
{
    struct framer_state *state = data;
    const struct protocol *protocol = observer->protocol->protocol;
    state->connection_at = round_up(protocol->client_size);
    if (protocol->open_client != NULL)
        protocol->open_client(observer->protocol, framer_client_state(state), 0);
}

static void framer_close(struct observer *observer, void *data)
{
    struct framer_state *state = data;
    const struct protocol *protocol = observer->protocol->protocol;
    if (protocol->release_request != NULL)
        protocol->release_request(&state->incoming);
    if (protocol->close_client != NULL)
        protocol->close_client(framer_client_state(state));
    if (protocol->close_connection != NULL)
        protocol->close_connection(framer_connection_state(state));
    buffer_free(&state->beginning);
    buffer_free(&state->out);
    buffer_free(&state->scratch);
    buffer_free(&state->answer);
}

/* ---- Requests ---- */

/* The id that the client itself has given the request. It stands where the response repeats it, so that the
 * reader of responses finds it. */
static bool framer_own_id(const struct observer *observer, const struct framer_state *state, uint64_t *id)
{
    const struct protocol *protocol = observer->protocol->protocol;
    struct slice bytes = buffer_slice(&state->beginning);
    struct buffer out = { 0 };
    void *connection = calloc(1, protocol->connection_size > 0 ? protocol->connection_size : 1);
    if (connection == NULL)
        return false;
    enum protocol_outcome outcome =
        protocol->read_response(observer->protocol, connection, NULL, &bytes, &out, id);
    if (protocol->close_connection != NULL)
        protocol->close_connection(connection);
    free(connection);
    buffer_free(&out);
    return outcome == PROTOCOL_WHOSE;
}

/* What a request that begins with these bytes asks for; NULL when memory is short. */
static struct text *describe(const struct observer *observer, struct slice bytes, uint64_t size)
{
    struct buffer text = { 0 };
    describe_request(observer->protocol, bytes, &text);
    struct text *copy = text.failed ? NULL : text_create(buffer_slice(&text), OBSERVE_TEXT_MAX);
    if (copy != NULL)
        copy->is_cut = copy->is_cut || describe_is_cut(observer->protocol, bytes, size);
    buffer_free(&text);
    return copy;
}

static void framer_request_complete(struct observer *observer, struct framer_state *state)
{
    const struct protocol *protocol = observer->protocol->protocol;
    struct protocol_request *request = &state->incoming;
    uint64_t id = 0;
    bool is_followed = !protocol_has_ids(observer->protocol) || framer_own_id(observer, state, &id);
    if (protocol->observes != NULL)
        is_followed =
            is_followed && protocol->observes(observer->protocol, request, buffer_slice(&state->beginning));
    else
        is_followed = is_followed && !request->local;
    struct text *text =
        describe(observer, buffer_slice(&state->beginning), observer->sides[OBSERVE_CLIENT].count);
    struct pending *pending = observe_add(observer, "", text, 0);
    text_release(text);
    if (pending == NULL)
        return;
    pending->request = *request;
    pending->id = id;
    observe_tell(observer, pending);
    if (!is_followed)
        observe_lose(observer, "what follows can't be told apart in this protocol");
    else if (request->unanswered && pending == observe_first(observer))
        observe_answer(observer, pending);
    *request = (struct protocol_request){ 0 };
    buffer_free(&state->beginning);
    buffer_free(&state->out);
}

static void framer_client(struct observer *observer, void *data, struct slice *input)
{
    struct framer_state *state = data;
    const struct protocol *protocol = observer->protocol->protocol;
    struct slice rest = *input;
    enum protocol_outcome outcome =
        protocol->read_request(observer->protocol, framer_client_state(state), &state->incoming, &rest,
                               &state->out, &state->scratch);
    size_t taken = input->length - rest.length;
    size_t room = BEGINNING_MAX - state->beginning.length;
    buffer_append(&state->beginning, input->bytes, taken < room ? taken : room);
    bool failed = state->out.failed || state->scratch.failed || state->beginning.failed;
    buffer_free(&state->scratch);
    if (state->incoming.decided)
        buffer_truncate(&state->out, 0);
    observe_take(observer, OBSERVE_CLIENT, input, taken);
    if (failed)
        observe_lose(observer, "memory is short");
    else if (outcome == PROTOCOL_COMPLETE)
        framer_request_complete(observer, state);
    else if (outcome == PROTOCOL_BROKEN)
        observe_lose(observer, "a request breaks the protocol");
    else if (taken == 0)
        observe_lose(observer, "a request can't be read");
}

/* ---- Responses ---- */

/* Requests that have no answer are over when those before them are. */
static void framer_pass_unanswered(struct observer *observer)
{
    struct pending *first;
    while ((first = observe_first(observer)) != NULL && first->request.unanswered)
        observe_answer(observer, first);
}

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

static void framer_answered(struct observer *observer, struct framer_state *state, struct pending *pending)
{
    const struct protocol *protocol = observer->protocol->protocol;
    if (protocol->describe_error != NULL) {
        struct buffer error = { 0 };
        protocol->describe_error(observer->protocol, buffer_slice(&state->answer), &error);
        if (!error.failed)
            observe_note_error(observer, buffer_slice(&error));
        buffer_free(&error);
    }
    buffer_free(&state->answer);
    state->current = NULL;
    observe_answer(observer, pending);
    framer_pass_unanswered(observer);
}

/* Keeps what the error of a response is read from. */
static void framer_keep_answer(struct framer_state *state)
{
    if (state->answer.length > OBSERVE_ERROR_MAX)
        buffer_truncate(&state->answer, OBSERVE_ERROR_MAX);
}

static void framer_follow(struct observer *observer, struct framer_state *state, struct pending *pending,
                          enum protocol_outcome outcome, uint64_t id)
{
    switch (outcome) {
    case PROTOCOL_MORE:
    case PROTOCOL_INTERIM:
        break;
    case PROTOCOL_COMPLETE:
        if (pending != NULL)
            framer_answered(observer, state, pending);
        else
            observe_drop(observer, OBSERVE_TARGET); /* a push */
        break;
    case PROTOCOL_DISCARDED:
        observe_drop(observer, OBSERVE_TARGET);
        break;
    case PROTOCOL_WHOSE:
        state->current = framer_find(observer, id);
        if (state->current == NULL)
            observe_lose(observer, "a response has an unknown id");
        break;
    case PROTOCOL_BROKEN:
        observe_lose(observer, "a response breaks the protocol");
        break;
    }
}

static void framer_target(struct observer *observer, void *data, struct slice *input)
{
    struct framer_state *state = data;
    const struct protocol *protocol = observer->protocol->protocol;
    bool has_ids = protocol_has_ids(observer->protocol);
    struct pending *pending = has_ids ? state->current : observe_first(observer);
    if (observe_first(observer) == NULL && !protocol->has_pushes) { /* a greeting, or the like */
        observe_take(observer, OBSERVE_TARGET, input, input->length);
        observe_drop(observer, OBSERVE_TARGET);
        return;
    }
    struct slice rest = *input;
    uint64_t id = 0;
    enum protocol_outcome outcome =
        protocol->read_response(observer->protocol, framer_connection_state(state),
                                pending == NULL ? NULL : &pending->request, &rest, &state->answer, &id);
    size_t taken = input->length - rest.length;
    observe_take(observer, OBSERVE_TARGET, input, taken);
    if (state->answer.failed)
        buffer_free(&state->answer);
    framer_keep_answer(state);
    framer_follow(observer, state, pending, outcome, id);
    if (taken == 0 && outcome != PROTOCOL_WHOSE)
        observe_lose(observer, "a response can't be read");
}

static void framer_target_end(struct observer *observer, void *data)
{
    struct framer_state *state = data;
    const struct protocol *protocol = observer->protocol->protocol;
    struct pending *first = observe_first(observer);
    if (first == NULL || protocol->end_response == NULL)
        return;
    if (protocol->end_response(observer->protocol, framer_connection_state(state), &first->request,
                               &state->answer) == PROTOCOL_COMPLETE)
        framer_answered(observer, state, first);
}

const struct follower follower_framer = {
    .size = sizeof(struct framer_state),
    .open = framer_open,
    .close = framer_close,
    .client = framer_client,
    .target = framer_target,
    .target_end = framer_target_end,
};

/* ---- Without a protocol ---- */

static void raw_client(struct observer *observer, void *state, struct slice *input)
{
    (void)state;
    struct pending *first = observe_first(observer);
    struct slice chunk = *input;
    observe_take(observer, OBSERVE_CLIENT, input, input->length);
    if (first != NULL) { /* the request goes on */
        first->request_bytes += chunk.length;
        observe_drop(observer, OBSERVE_CLIENT);
        return;
    }
    struct text *text = describe(observer, chunk, chunk.length);
    struct pending *pending = observe_add(observer, "", text, 0);
    text_release(text);
    if (pending != NULL)
        observe_tell(observer, pending);
}

static void raw_target(struct observer *observer, void *state, struct slice *input)
{
    (void)state;
    struct pending *first = observe_first(observer);
    observe_take(observer, OBSERVE_TARGET, input, input->length);
    if (first != NULL)
        observe_answer(observer, first);
    else
        observe_drop(observer, OBSERVE_TARGET);
}

const struct follower follower_raw = {
    .client = raw_client,
    .target = raw_target,
};
