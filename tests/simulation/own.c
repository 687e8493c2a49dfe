/* The simulation's own protocol, with everything in it that a protocol can ask of the multiplexer. Which of
 * that there is in a run is in struct features. A message is a head of 16 bytes and a body:
 *
 *    0  type    of requests 'Q'; of answers 'A', interim ones 'I', local ones 'L', those of "continue" 'C',
 *               errors 'E', pushes 'P'; greeting 'G', answered by 'H' or, refused, by 'F'
 *    1  kind    of a request, flags of an answer, reason of an error
 *    2  id      of the requester, or of the connection
 *    4  client
 *    8  number
 *   12  length  of all, the highest byte first, as all numbers */
#include "simulation/own.h"
#include "simulation/dialect.h"

#include <stddef.h>
#include <string.h>

#define HEAD            ((size_t)16)
#define FLAG_CLOSES     1 /* the connection */
#define FLAG_LAST       2 /* for this client; put in by the framer */
#define FLAG_TO_END     4
#define LOCAL_BODY_SIZE 5

struct own_client {
    unsigned char head[HEAD];
    size_t have;
    size_t left;
};

struct own_connection {
    unsigned char head[HEAD];
    size_t have;
    size_t left;
    bool begun; /* the head was passed on */
};

struct own_context {
    unsigned char head[HEAD];
    bool is_known; /* head is whole */
    bool to_end;   /* its answer ends with the stream */
};

_Static_assert(sizeof(struct own_context) <= PROTOCOL_CONTEXT_SIZE, "the context is too long");

static const struct features *own_features(const struct protocol_settings *settings)
{
    const struct world *world =
        (const struct world *)(const void *)((const char *)settings -
                                             offsetof(struct world, protocol_settings));
    return &world->features;
}

static void put_number(unsigned char *bytes, size_t width, uint64_t value)
{
    for (size_t i = width; i > 0; i--, value >>= 8)
        bytes[i - 1] = (unsigned char)value;
}

static size_t get_number(const unsigned char *bytes, size_t width)
{
    size_t value = 0;
    for (size_t i = 0; i < width; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* Takes bytes of a head. Returns whether it is whole now. */
static bool take_head(unsigned char *head, size_t *have, struct slice *input)
{
    size_t count = HEAD - *have < input->length ? HEAD - *have : input->length;
    memcpy(head + *have, input->bytes, count);
    *have += count;
    slice_skip(input, count);
    return *have == HEAD;
}

/* ---- Requests ---- */

static void write_head(struct buffer *out, char type, unsigned char flags, const unsigned char *from,
                       size_t length)
{
    unsigned char head[HEAD];
    memcpy(head, from, HEAD);
    head[0] = (unsigned char)type;
    head[1] = flags;
    put_number(head + 12, 4, length);
    buffer_append(out, (const char *)head, HEAD);
}

static enum protocol_outcome refuse(const struct protocol_settings *settings, const unsigned char *head,
                                    struct buffer *answer)
{
    if (own_features(settings)->errors)
        write_head(answer, 'E', REASON_PROTOCOL_ERROR, head, HEAD);
    return PROTOCOL_BROKEN;
}

/* The head is whole. Returns MORE if all is well. */
static enum protocol_outcome read_head(const struct protocol_settings *settings, struct own_client *client,
                                       struct protocol_request *request, struct buffer *out,
                                       struct buffer *answer)
{
    struct own_context *context = (struct own_context *)request->context;
    enum request_kind kind = (enum request_kind)client->head[1];
    size_t length = get_number(client->head + 12, 4);
    memcpy(context->head, client->head, HEAD);
    context->is_known = true;
    if (client->head[0] != 'Q' || length < HEAD || kind == REQUEST_BROKEN ||
        (kind == REQUEST_LATE && length > settings->head_limit))
        return refuse(settings, client->head, answer);
    client->left = length - HEAD;
    request->local = kind == REQUEST_LOCAL || kind == REQUEST_REFUSED;
    request->refused = kind == REQUEST_REFUSED;
    request->unanswered = kind == REQUEST_UNANSWERED;
    request->closes_client = kind == REQUEST_LAST;
    request->decided = !request->local && kind != REQUEST_LATE;
    if (request->local)
        buffer_truncate(out, 0);
    if (kind == REQUEST_CONTINUED)
        write_head(answer, 'C', 0, client->head, HEAD);
    return PROTOCOL_MORE;
}

static enum protocol_outcome finish_request(const struct protocol_settings *settings,
                                            struct own_client *client, struct protocol_request *request,
                                            struct buffer *answer)
{
    client->have = 0;
    if (client->head[1] == REQUEST_BROKEN_END)
        return refuse(settings, client->head, answer);
    if (request->refused) {
        write_head(answer, 'E', REASON_REFUSED_COMMAND, client->head, HEAD);
    } else if (request->local) {
        write_head(answer, 'L', 0, client->head, HEAD + LOCAL_BODY_SIZE);
        buffer_append(answer, "local", LOCAL_BODY_SIZE);
    } else {
        request->decided = true;
    }
    return PROTOCOL_COMPLETE;
}

static enum protocol_outcome own_read_request(const struct protocol_settings *settings, void *state,
                                              struct protocol_request *request, struct slice *input,
                                              struct buffer *out, struct buffer *answer)
{
    struct own_client *client = state;
    if (client->have < HEAD) {
        const char *bytes = input->bytes;
        size_t length = input->length;
        bool is_whole = take_head(client->head, &client->have, input);
        buffer_append(out, bytes, length - input->length);
        if (!is_whole)
            return PROTOCOL_MORE;
        enum protocol_outcome outcome = read_head(settings, client, request, out, answer);
        if (outcome != PROTOCOL_MORE)
            return outcome;
    }
    size_t count = client->left < input->length ? client->left : input->length;
    if (!request->local)
        buffer_append(out, input->bytes, count);
    slice_skip(input, count);
    client->left -= count;
    return client->left > 0 ? PROTOCOL_MORE : finish_request(settings, client, request, answer);
}

static bool own_write_error(const struct protocol_settings *settings, const struct protocol_request *request,
                            enum reason reason, struct buffer *out)
{
    const struct own_context *context = (const struct own_context *)request->context;
    if (!own_features(settings)->errors || request->begun)
        return false;
    if (!request->unanswered)
        write_head(out, 'E', (unsigned char)reason, context->head, HEAD);
    return true;
}

static uint64_t own_id_count(const struct protocol_settings *settings)
{
    return own_features(settings)->ids ? own_features(settings)->id_count : 0;
}

static void own_set_id(const struct protocol_settings *settings, struct protocol_request *request,
                       char *bytes, uint64_t id)
{
    (void)settings;
    (void)request;
    put_number((unsigned char *)bytes + 2, 2, id);
}

static size_t own_largest_answer(const struct protocol_settings *settings)
{
    return own_features(settings)->largest_answer;
}

/* ---- Responses ---- */

static void pass_head(struct own_connection *connection, struct protocol_request *request, struct buffer *out)
{
    struct own_context *context = (struct own_context *)request->context;
    unsigned char flags = connection->head[1];
    unsigned char head[HEAD];
    memcpy(head, connection->head, HEAD);
    memcpy(head + 2, context->head + 2, 2);
    if (connection->head[0] == 'A') {
        context->to_end = (flags & FLAG_TO_END) != 0;
        if ((flags & (FLAG_CLOSES | FLAG_TO_END)) != 0)
            request->closes_target = true;
        if (request->closes_client)
            head[1] = flags | FLAG_LAST;
    }
    buffer_append(out, (const char *)head, HEAD);
    connection->begun = true;
}

/* The head is whole: whose it is, and whether it may be. Returns MORE if it is to be read on. */
static enum protocol_outcome read_answer_head(const struct protocol_settings *settings,
                                              struct own_connection *connection,
                                              struct protocol_request *request, struct buffer *out,
                                              uint64_t *id)
{
    const struct features *features = own_features(settings);
    size_t length = get_number(connection->head + 12, 4);
    bool is_push = connection->head[0] == 'P';
    bool is_answer = connection->head[0] == 'A' || connection->head[0] == 'I';
    if (length < HEAD || (!is_push && !is_answer))
        return PROTOCOL_BROKEN;
    if (is_answer && request == NULL) {
        if (!features->ids)
            return PROTOCOL_BROKEN;
        *id = get_number(connection->head + 2, 2);
        return PROTOCOL_WHOSE;
    }
    connection->left = length - HEAD;
    if (is_answer)
        pass_head(connection, request, out);
    else
        connection->begun = true;
    return PROTOCOL_MORE;
}

static enum protocol_outcome own_read_response(const struct protocol_settings *settings, void *state,
                                               struct protocol_request *request, struct slice *input,
                                               struct buffer *out, uint64_t *id)
{
    struct own_connection *connection = state;
    do {
        if (!connection->begun) {
            if (!take_head(connection->head, &connection->have, input))
                return PROTOCOL_MORE;
            enum protocol_outcome outcome = read_answer_head(settings, connection, request, out, id);
            if (outcome != PROTOCOL_MORE)
                return outcome;
        }
        bool is_answer = connection->head[0] != 'P';
        bool to_end = connection->head[0] == 'A' && (connection->head[1] & FLAG_TO_END) != 0;
        size_t count = to_end || input->length < connection->left ? input->length : connection->left;
        if (is_answer)
            buffer_append(out, input->bytes, count);
        slice_skip(input, count);
        if (to_end)
            return PROTOCOL_MORE;
        connection->left -= count;
        if (connection->left > 0)
            return PROTOCOL_MORE;
        connection->have = 0;
        connection->begun = false;
        if (is_answer)
            return connection->head[0] == 'I' ? PROTOCOL_INTERIM : PROTOCOL_COMPLETE;
    } while (input->length > 0); /* on after a push */
    return PROTOCOL_MORE;
}

static enum protocol_outcome own_end_response(const struct protocol_settings *settings, void *state,
                                              struct protocol_request *request, struct buffer *out)
{
    const struct own_context *context = (const struct own_context *)request->context;
    (void)settings;
    (void)state;
    (void)out;
    return context->to_end ? PROTOCOL_COMPLETE : PROTOCOL_BROKEN;
}

/* ---- Greeting ---- */

#define GREETING         "GREETING  TARGET"
#define GREETING_ANSWER  "HOW ARE YOU? ...."
#define GREETING_REFUSAL "FAR TOO EARLY"

static void own_greet(const struct protocol_settings *settings, void *connection, struct buffer *out)
{
    (void)connection;
    if (own_features(settings)->greeting)
        buffer_append_text(out, GREETING);
}

static enum protocol_outcome own_read_greeting(const struct protocol_settings *settings, void *state,
                                               struct slice *input, struct buffer *error)
{
    struct own_connection *connection = state;
    (void)settings;
    while (input->length > 0) {
        char got = input->bytes[0];
        size_t wanted = strlen(GREETING_ANSWER);
        if (got != GREETING_ANSWER[connection->have]) {
            buffer_append_text(error, "the target said no");
            return PROTOCOL_BROKEN;
        }
        slice_skip(input, 1);
        if (++connection->have == wanted) {
            connection->have = 0;
            return PROTOCOL_COMPLETE;
        }
    }
    return PROTOCOL_MORE;
}

#define OWN_FUNCTIONS                                                                                        \
    .client_size = sizeof(struct own_client), .connection_size = sizeof(struct own_connection),              \
    .read_request = own_read_request, .read_response = own_read_response, .end_response = own_end_response,  \
    .write_error = own_write_error, .id_count = own_id_count, .set_id = own_set_id,                          \
    .largest_answer = own_largest_answer, .write_handshake = own_greet, .read_handshake = own_read_greeting

const struct protocol protocol_own = { .name = "own", OWN_FUNCTIONS };
const struct protocol protocol_own_pushes = { .name = "own with pushes", .has_pushes = true, OWN_FUNCTIONS };

/* ---- How it is spoken ---- */

static void own_choose(struct world *world)
{
    static const size_t id_counts[] = { 2, 3, 8, 65536 };
    static const size_t largest[] = { 0, 40, 200, 2000 };
    struct random *random = &world->random;
    struct features *features = &world->features;
    features->errors = random_chance(random, 75);
    features->ids = random_chance(random, 40);
    features->id_count = random_pick(random, id_counts);
    features->largest_answer = features->ids ? random_pick(random, largest) : 0;
    features->greeting = random_chance(random, 20);
    if (features->ids) {
        features->id_offset = 2;
        features->id_width = 2;
    }
}

static void compose_message(const struct request *request, char type, unsigned char flags, size_t own_id,
                            size_t body, struct buffer *out)
{
    unsigned char head[HEAD] = { 0 };
    put_number(head + 2, 2, own_id);
    put_number(head + 4, 4, request->client->number);
    put_number(head + 8, 4, request->number);
    write_head(out, type, flags, head, HEAD + body);
    if (body > 0)
        dialect_write_body(request, type != 'Q', body, out);
}

static void own_compose(struct world *world, struct request *request)
{
    size_t own_id = random_below(&world->random, 3); /* the same ones at many clients */
    unsigned char flags = (unsigned char)(request->answer_kind == ANSWER_CLOSES   ? FLAG_CLOSES
                                          : request->answer_kind == ANSWER_TO_END ? FLAG_TO_END
                                                                                  : 0);
    if (world->features.largest_answer != 0 && request->answer_size > world->features.largest_answer - HEAD)
        request->answer_size = world->features.largest_answer - HEAD;
    compose_message(request, 'Q', (unsigned char)request->kind, own_id, request->size, &request->bytes);
    compose_message(request, 'Q', (unsigned char)request->kind, own_id, request->size, &request->forward);
    compose_message(request, 'A', flags, own_id, request->answer_size, &request->answer);
    compose_message(request, 'A', flags, own_id, request->answer_size, &request->expected);
    for (size_t i = 0; i < request->interims; i++) {
        compose_message(request, 'I', (unsigned char)i, own_id, i * 3, &request->interim[i]);
        compose_message(request, 'I', (unsigned char)i, own_id, i * 3, &request->interim_expected[i]);
    }
}

static int own_identify(const struct world *world, struct slice head, uint32_t *client, uint32_t *number)
{
    const unsigned char *bytes = (const unsigned char *)head.bytes;
    (void)world;
    if (bytes[0] != 'Q')
        return -1;
    if (head.length < 12)
        return 0;
    *client = (uint32_t)get_number(bytes + 4, 4);
    *number = (uint32_t)get_number(bytes + 8, 4);
    return 1;
}

/* The framer may have said that it is the last one. */
static long own_match_answer(const struct world *world, struct request *request, struct slice bytes)
{
    const struct buffer *expected = &request->expected;
    (void)world;
    size_t count = bytes.length < expected->length ? bytes.length : expected->length;
    for (size_t i = 0; i < count; i++) {
        char wanted = buffer_bytes(expected)[i];
        bool is_last = i == 1 && bytes.bytes[i] == (char)(wanted | FLAG_LAST);
        if (is_last)
            request->said_last = true;
        else if (bytes.bytes[i] != wanted)
            return -1;
    }
    return count == expected->length ? (long)count : 0;
}

static void own_write_garbage(struct world *world, struct buffer *out)
{
    char bytes[HEAD] = { (char)random_between(&world->random, 'Q', 'z') };
    buffer_append(out, bytes, sizeof bytes);
}

static void own_write_push(struct world *world, struct buffer *out)
{
    static const unsigned char head[HEAD];
    size_t body = random_below(&world->random, 20);
    write_head(out, 'P', 0, head, HEAD + body);
    for (size_t i = 0; i < body; i++)
        buffer_append(out, "A", 1);
}

#define OWN_DIALECT                                                                                          \
    .request_kinds = (1U << (REQUEST_BROKEN_END + 1)) - 1, .answer_kinds = (1U << (ANSWER_TO_END + 1)) - 1,  \
    .has_interims = true, .head_limit = HEAD, .choose = own_choose, .compose = own_compose,                  \
    .identify = own_identify, .match_answer = own_match_answer, .write_garbage = own_write_garbage,          \
    .greeting = { GREETING, sizeof GREETING - 1 },                                                           \
    .greeting_answer = { GREETING_ANSWER, sizeof GREETING_ANSWER - 1 },                                      \
    .greeting_refusal = { GREETING_REFUSAL, sizeof GREETING_REFUSAL - 1 }

const struct dialect dialect_own = { .name = "own", .protocol = &protocol_own, OWN_DIALECT };
const struct dialect dialect_own_pushes = {
    .name = "own with pushes",
    .protocol = &protocol_own_pushes,
    .write_push = own_write_push,
    OWN_DIALECT,
};
