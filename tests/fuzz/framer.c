#include "fuzz/framer.h"

/* How input is cut: whole, byte by byte, or by a seed. */
enum { CUT_WHOLE = 0, CUT_BYTES = 1 };

/* Stands in `out` before anything else does. */
#define BEFORE "what stands before"

void framer_note(struct buffer *transcript, enum framer_event event, struct slice bytes)
{
    char kind = (char)event;
    uint32_t length = (uint32_t)bytes.length;
    buffer_append(transcript, &kind, 1);
    buffer_append(transcript, (const char *)&length, sizeof length);
    buffer_append(transcript, bytes.bytes, bytes.length);
}

uint8_t framer_byte(struct slice *input)
{
    if (input->length == 0)
        return 0;
    uint8_t byte = (uint8_t)input->bytes[0];
    slice_skip(input, 1);
    return byte;
}

static char *copy(struct slice bytes)
{
    char *memory = malloc(bytes.length);
    FUZZ_REQUIRE(memory != NULL);
    if (bytes.length > 0)
        memcpy(memory, bytes.bytes, bytes.length);
    return memory;
}

struct slice framer_string(struct slice *input, size_t most)
{
    size_t length = framer_byte(input) % (most + 1);
    if (length > input->length)
        length = input->length;
    struct slice string = { input->bytes, length };
    slice_skip(input, length);
    string.bytes = copy(string);
    return string;
}

void framer_string_free(struct slice string)
{
    free((void *)(uintptr_t)string.bytes);
}

size_t framer_head_limit(struct slice *input)
{
    size_t limit = framer_byte(input);
    return limit == 0 ? 65536 : limit;
}

struct framer_parts framer_split(struct slice input)
{
    struct framer_parts parts = { .seed = CUT_BYTES + 1 + framer_byte(&input) };
    size_t length = (size_t)framer_byte(&input) << 8;
    length |= framer_byte(&input);
    parts.requests = (struct slice){ input.bytes, length < input.length ? length : input.length };
    slice_skip(&input, parts.requests.length);
    parts.responses = input;
    return parts;
}

/* Input that is handed out in pieces. */
struct cutter {
    struct slice rest;
    uint32_t seed;
    uint32_t state;
    char *piece;
};

/* The next piece, valid until the one after it. */
static struct slice cutter_next(struct cutter *cutter)
{
    size_t length = cutter->rest.length;
    if (cutter->seed == CUT_BYTES) {
        length = 1;
    } else if (cutter->seed != CUT_WHOLE) {
        cutter->state = cutter->state * 1664525 + 1013904223 + cutter->seed;
        length = 1 + (cutter->state >> 16) % 24;
    }
    if (length > cutter->rest.length)
        length = cutter->rest.length;
    struct slice piece = { cutter->rest.bytes, length };
    slice_skip(&cutter->rest, length);
    free(cutter->piece);
    cutter->piece = copy(piece);
    piece.bytes = cutter->piece;
    return piece;
}

/* Whether there are few enough pieces to try errors after each. */
static bool has_few_pieces(uint32_t seed)
{
    return seed != CUT_BYTES;
}

struct requests {
    struct protocol_request list[FRAMER_REQUESTS_MAX];
    size_t count;
};

struct asker {
    const struct protocol_settings *settings;
    uint32_t seed;
    void *client;
    struct protocol_request request;
    struct buffer out;
    struct buffer sent; /* taken away after it was decided */
    struct buffer answer;
    struct buffer *transcript;
    struct requests *requests;
    bool stopped;
};

static void release_request(const struct protocol_settings *settings, struct protocol_request *request)
{
    if (settings->protocol->release_request != NULL)
        settings->protocol->release_request(request);
    *request = (struct protocol_request){ 0 };
}

/* Errors of all reasons, of a request in whatever state. */
static void try_errors(const struct protocol_settings *settings, const struct protocol_request *request)
{
    struct buffer out = { 0 };
    buffer_append_text(&out, BEFORE);
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT && settings->protocol->write_error != NULL;
         reason++) {
        bool written = settings->protocol->write_error(settings, request, (enum reason)reason, &out);
        FUZZ_REQUIRE(written == out.length > strlen(BEFORE));
        FUZZ_REQUIRE(memcmp(buffer_bytes(&out), BEFORE, strlen(BEFORE)) == 0);
        FUZZ_REQUIRE(!written || !request->begun);
        buffer_truncate(&out, strlen(BEFORE));
    }
    buffer_free(&out);
}

/* Takes away what is decided, as a multiplexer that streams. */
static void asker_send(struct asker *asker, bool was_decided)
{
    const struct protocol_settings *settings = asker->settings;
    if (!asker->request.decided)
        return;
    if (!was_decided && protocol_has_ids(settings))
        settings->protocol->set_id(settings, &asker->request, buffer_bytes(&asker->out),
                                   asker->requests->count % settings->protocol->id_count(settings));
    buffer_append(&asker->sent, buffer_bytes(&asker->out), asker->out.length);
    buffer_truncate(&asker->out, 0);
}

static void asker_complete(struct asker *asker)
{
    struct protocol_request *request = &asker->request;
    FUZZ_REQUIRE(request->decided != request->local);
    if (request->local) {
        framer_note(asker->transcript, FRAMER_LOCAL, buffer_slice(&asker->answer));
        release_request(asker->settings, request);
    } else {
        framer_note(asker->transcript, request->unanswered ? FRAMER_UNANSWERED : FRAMER_FORWARD,
                    buffer_slice(&asker->sent));
        asker->requests->list[asker->requests->count++] = *request;
        asker->stopped = asker->requests->count == FRAMER_REQUESTS_MAX;
    }
    buffer_truncate(&asker->out, 0);
    buffer_truncate(&asker->sent, 0);
    buffer_truncate(&asker->answer, 0);
    *request = (struct protocol_request){ 0 };
}

static void asker_read(struct asker *asker, struct slice input)
{
    while (input.length > 0 && !asker->stopped) {
        size_t before = input.length;
        bool was_decided = asker->request.decided;
        enum protocol_outcome outcome = asker->settings->protocol->read_request(
            asker->settings, asker->client, &asker->request, &input, &asker->out, &asker->answer);
        FUZZ_REQUIRE(!asker->out.failed && !asker->answer.failed);
        FUZZ_REQUIRE(asker->request.decided || asker->out.length <= asker->settings->head_limit);
        asker_send(asker, was_decided);
        if (outcome != PROTOCOL_MORE || has_few_pieces(asker->seed))
            try_errors(asker->settings, &asker->request);
        if (outcome == PROTOCOL_MORE) {
            FUZZ_REQUIRE(input.length == 0);
        } else if (outcome == PROTOCOL_COMPLETE) {
            FUZZ_REQUIRE(input.length < before);
            asker_complete(asker);
        } else {
            FUZZ_REQUIRE(outcome == PROTOCOL_BROKEN);
            framer_note(asker->transcript, FRAMER_BROKEN, buffer_slice(&asker->answer));
            asker->stopped = true;
        }
    }
}

static void read_requests(const struct protocol_settings *settings, struct slice bytes, uint32_t seed,
                          struct requests *requests, struct buffer *transcript)
{
    const struct protocol *protocol = settings->protocol;
    struct cutter cutter = { .rest = bytes, .seed = seed };
    struct asker asker = {
        .settings = settings, .seed = seed, .transcript = transcript, .requests = requests
    };
    asker.client = calloc(1, protocol->client_size + 1);
    FUZZ_REQUIRE(asker.client != NULL);
    if (protocol->open_client != NULL)
        protocol->open_client(settings, asker.client, 1);
    while (cutter.rest.length > 0 && !asker.stopped)
        asker_read(&asker, cutter_next(&cutter));
    if (!asker.stopped && asker.sent.length > 0)
        framer_note(transcript, FRAMER_MORE, buffer_slice(&asker.sent));
    release_request(settings, &asker.request);
    if (protocol->close_client != NULL)
        protocol->close_client(asker.client);
    free(asker.client);
    free(cutter.piece);
    buffer_free(&asker.out);
    buffer_free(&asker.sent);
    buffer_free(&asker.answer);
}

struct answerer {
    const struct protocol_settings *settings;
    uint32_t seed;
    void *connection;
    struct requests *requests;
    size_t next;
    struct protocol_request *current; /* the one that ids say */
    struct buffer out;
    struct buffer *transcript;
    bool stopped;
};

static struct protocol_request *answerer_request(struct answerer *answerer)
{
    if (protocol_has_ids(answerer->settings))
        return answerer->current;
    while (answerer->next < answerer->requests->count && answerer->requests->list[answerer->next].unanswered)
        answerer->next++;
    return answerer->next < answerer->requests->count ? &answerer->requests->list[answerer->next] : NULL;
}

/* The bytes of the present answer. */
static struct slice answerer_bytes(const struct answerer *answerer)
{
    struct slice bytes = buffer_slice(&answerer->out);
    FUZZ_REQUIRE(!answerer->out.failed && bytes.length >= strlen(BEFORE));
    FUZZ_REQUIRE(memcmp(bytes.bytes, BEFORE, strlen(BEFORE)) == 0);
    slice_skip(&bytes, strlen(BEFORE));
    return bytes;
}

static void answerer_complete(struct answerer *answerer)
{
    framer_note(answerer->transcript, FRAMER_ANSWER, answerer_bytes(answerer));
    buffer_truncate(&answerer->out, strlen(BEFORE));
    answerer->current = NULL;
    answerer->next++;
}

static void answerer_ask_whose(struct answerer *answerer, uint64_t id)
{
    framer_note(answerer->transcript, FRAMER_WHOSE, (struct slice){ (const char *)&id, sizeof id });
    if (id < answerer->requests->count)
        answerer->current = &answerer->requests->list[id];
    else
        answerer->stopped = true;
}

static void answerer_read(struct answerer *answerer, struct slice input)
{
    const struct protocol_settings *settings = answerer->settings;
    bool has_ids = protocol_has_ids(settings);
    while (input.length > 0 && !answerer->stopped) {
        struct protocol_request *request = answerer_request(answerer);
        if (request == NULL && !has_ids && !settings->protocol->has_pushes) {
            framer_note(answerer->transcript, FRAMER_STRAY, (struct slice){ 0 });
            answerer->stopped = true;
            return;
        }
        uint64_t id = 0;
        enum protocol_outcome outcome = settings->protocol->read_response(
            settings, answerer->connection, request, &input, &answerer->out, &id);
        struct slice bytes = answerer_bytes(answerer);
        FUZZ_REQUIRE(request != NULL || bytes.length == 0);
        if (request != NULL)
            request->begun = bytes.length > 0;
        if (request != NULL && (outcome != PROTOCOL_MORE || has_few_pieces(answerer->seed)))
            try_errors(settings, request);
        switch (outcome) {
        case PROTOCOL_MORE:
            FUZZ_REQUIRE(input.length == 0);
            break;
        case PROTOCOL_COMPLETE:
            FUZZ_REQUIRE(request != NULL && bytes.length > 0);
            answerer_complete(answerer);
            break;
        case PROTOCOL_WHOSE:
            FUZZ_REQUIRE(request == NULL && has_ids);
            answerer_ask_whose(answerer, id);
            break;
        case PROTOCOL_BROKEN:
            framer_note(answerer->transcript, FRAMER_BROKEN, bytes);
            answerer->stopped = true;
            break;
        case PROTOCOL_INTERIM:
            FUZZ_REQUIRE(outcome != PROTOCOL_INTERIM);
            break;
        case PROTOCOL_DISCARDED:
            FUZZ_REQUIRE(settings->protocol->has_pushes && bytes.length == 0);
            framer_note(answerer->transcript, FRAMER_DISCARDED, bytes);
        }
    }
}

static void read_responses(const struct protocol_settings *settings, struct slice bytes, uint32_t seed,
                           struct requests *requests, struct buffer *transcript)
{
    const struct protocol *protocol = settings->protocol;
    struct cutter cutter = { .rest = bytes, .seed = seed };
    struct answerer answerer = {
        .settings = settings, .seed = seed, .requests = requests, .transcript = transcript
    };
    answerer.connection = calloc(1, protocol->connection_size + 1);
    FUZZ_REQUIRE(answerer.connection != NULL);
    buffer_append_text(&answerer.out, BEFORE);
    while (cutter.rest.length > 0 && !answerer.stopped)
        answerer_read(&answerer, cutter_next(&cutter));
    if (!answerer.stopped && answerer_bytes(&answerer).length > 0)
        framer_note(transcript, FRAMER_MORE, answerer_bytes(&answerer));
    if (protocol->close_connection != NULL)
        protocol->close_connection(answerer.connection);
    free(answerer.connection);
    free(cutter.piece);
    buffer_free(&answerer.out);
}

static void compare(const char *what, const struct buffer *one, const struct buffer *other)
{
    if (one == NULL || other == NULL || slice_equal(buffer_slice(one), buffer_slice(other)))
        return;
    fprintf(stderr, "%s differ:\n", what);
    fwrite(buffer_bytes(one), 1, one->length, stderr);
    fprintf(stderr, "\nand:\n");
    fwrite(buffer_bytes(other), 1, other->length, stderr);
    fprintf(stderr, "\n");
    abort();
}

void framer_check(const struct protocol_settings *settings, const struct framer_parts *parts,
                  const struct buffer *model_of_requests, const struct buffer *model_of_responses)
{
    const uint32_t seeds[] = { CUT_WHOLE, CUT_BYTES, parts->seed };
    struct buffer first_requests = { 0 }, first_responses = { 0 };
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        struct requests requests = { .count = 0 };
        struct buffer asked = { 0 }, answered = { 0 };
        read_requests(settings, parts->requests, seeds[i], &requests, &asked);
        read_responses(settings, parts->responses, seeds[i], &requests, &answered);
        for (size_t k = 0; k < requests.count; k++)
            release_request(settings, &requests.list[k]);
        if (i == 0) {
            compare("the model of requests", model_of_requests, &asked);
            compare("the model of responses", model_of_responses, &answered);
            buffer_move(&first_requests, &asked);
            buffer_move(&first_responses, &answered);
        } else {
            compare("requests cut differently", &first_requests, &asked);
            compare("responses cut differently", &first_responses, &answered);
        }
        buffer_free(&asked);
        buffer_free(&answered);
    }
    buffer_free(&first_requests);
    buffer_free(&first_responses);
}
