/* The framer `http`. The first three bytes choose what happens: bit 0 of the first one whether the rest are
 * requests or responses, bits 1 and 2 what the responses answer, bit 3 whether the target ends its stream
 * behind them, bit 4 a small head_limit; the other two the places where the rest is cut. Whole and cut it has
 * to come to the same, and what is passed on has to be read again as exactly one message of the same bytes.
 */
#include "fuzz/fuzz.h"

#include "protocol/protocols.h"

static const char *const askers[] = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
};

struct choice {
    struct protocol_settings settings;
    const char *asker;
    bool ends;
    uint32_t seed; /* of the cuts; 0: none */
};

/* How many bytes come next. */
static size_t next_piece(uint32_t *seed, size_t left)
{
    if (*seed == 0)
        return left;
    *seed = *seed * 1664525 + 1013904223;
    size_t length = 1 + (*seed >> 24) % ((*seed >> 16 & 3) == 0 ? 64 : 3);
    return length < left ? length : left;
}

static void note(struct buffer *transcript, const char *what, const struct buffer *bytes)
{
    buffer_append_text(transcript, what);
    buffer_append(transcript, buffer_bytes(bytes), bytes->length);
    FUZZ_REQUIRE(!bytes->failed && !transcript->failed);
}

/* ---- Requests ----------------------------------------------------------------------------------------- */

struct asking {
    const struct choice *choice;
    struct buffer *transcript;
    char *client;
    struct protocol_request request;
    struct buffer out;
    struct buffer answer;
    bool is_over;
};

/* What goes to the target is one request, and there is nothing left to take out of it. */
static void expect_one_request(const struct asking *asking)
{
    char *client = calloc(1, protocol_http.client_size);
    struct protocol_settings settings = asking->choice->settings;
    struct protocol_request request = { 0 };
    struct slice input = buffer_slice(&asking->out);
    struct buffer out = { 0 }, answer = { 0 };
    FUZZ_REQUIRE(client != NULL);
    settings.head_limit = 1 << 20; /* "Connection: keep-alive" was added */
    FUZZ_REQUIRE(protocol_http.read_request(&settings, client, &request, &input, &out, &answer) ==
                 PROTOCOL_COMPLETE);
    FUZZ_REQUIRE(input.length == 0 && request.decided && !request.local && answer.length == 0);
    FUZZ_REQUIRE(slice_equal(buffer_slice(&out), buffer_slice(&asking->out)));
    free(client);
    buffer_free(&out);
}

static void end_request(struct asking *asking)
{
    const struct protocol_request *request = &asking->request;
    FUZZ_REQUIRE(request->decided != request->local);
    FUZZ_REQUIRE(!request->local || (asking->out.length == 0 && asking->answer.length > 0));
    if (request->decided)
        expect_one_request(asking);
    note(asking->transcript, request->closes_client ? "\nlast " : "\nrequest ", &asking->out);
    note(asking->transcript, "\nanswer ", &asking->answer);
    asking->is_over = request->closes_client;
    buffer_truncate(&asking->out, 0);
    buffer_truncate(&asking->answer, 0);
    memset(&asking->request, 0, sizeof asking->request);
}

static void feed_request(void *data, struct slice input)
{
    struct asking *asking = data;
    const struct protocol_settings *settings = &asking->choice->settings;
    while (input.length > 0 && !asking->is_over) {
        size_t before = input.length;
        enum protocol_outcome outcome = protocol_http.read_request(settings, asking->client, &asking->request,
                                                                   &input, &asking->out, &asking->answer);
        FUZZ_REQUIRE(asking->request.decided || asking->out.length <= settings->head_limit);
        if (outcome == PROTOCOL_COMPLETE) {
            FUZZ_REQUIRE(input.length < before);
            end_request(asking);
        } else if (outcome == PROTOCOL_MORE) {
            FUZZ_REQUIRE(input.length == 0);
        } else {
            FUZZ_REQUIRE(outcome == PROTOCOL_BROKEN && asking->answer.length > 0);
            note(asking->transcript, "\nbroken ", &asking->answer);
            asking->is_over = true;
        }
    }
}

/* ---- Responses ---------------------------------------------------------------------------------------- */

struct answering {
    const struct choice *choice;
    struct buffer *transcript;
    char *connection;
    struct protocol_request request;
    struct buffer out;
    bool is_over;
};

static struct protocol_request ask(const struct choice *choice)
{
    char *client = calloc(1, protocol_http.client_size);
    struct protocol_settings settings = choice->settings;
    struct protocol_request request = { 0 };
    struct slice input = { choice->asker, strlen(choice->asker) };
    struct buffer out = { 0 }, answer = { 0 };
    FUZZ_REQUIRE(client != NULL);
    settings.head_limit = 1 << 20;
    FUZZ_REQUIRE(protocol_http.read_request(&settings, client, &request, &input, &out, &answer) ==
                 PROTOCOL_COMPLETE);
    free(client);
    buffer_free(&out);
    return request;
}

/* What goes to the client is one response of the kind. */
static void expect_one_response(const struct answering *answering, enum protocol_outcome kind)
{
    char *connection = calloc(1, protocol_http.connection_size);
    struct protocol_settings settings = answering->choice->settings;
    struct protocol_request request = ask(answering->choice);
    struct slice input = buffer_slice(&answering->out);
    struct buffer out = { 0 };
    FUZZ_REQUIRE(connection != NULL);
    settings.head_limit = 1 << 20;
    FUZZ_REQUIRE(protocol_http.read_response(&settings, connection, &request, &input, &out, NULL) == kind);
    FUZZ_REQUIRE(input.length == 0 && slice_equal(buffer_slice(&out), buffer_slice(&answering->out)));
    protocol_http.close_connection(connection);
    free(connection);
    buffer_free(&out);
}

static void feed_response(void *data, struct slice input)
{
    struct answering *answering = data;
    const struct protocol_settings *settings = &answering->choice->settings;
    while (input.length > 0 && !answering->is_over) {
        size_t before = input.length;
        enum protocol_outcome outcome = protocol_http.read_response(
            settings, answering->connection, &answering->request, &input, &answering->out, NULL);
        if (outcome == PROTOCOL_MORE) {
            FUZZ_REQUIRE(input.length == 0);
            continue;
        }
        if (outcome == PROTOCOL_BROKEN) {
            note(answering->transcript, "\nbroken ", &answering->out);
            answering->is_over = true;
            continue;
        }
        FUZZ_REQUIRE(outcome == PROTOCOL_COMPLETE || outcome == PROTOCOL_INTERIM);
        FUZZ_REQUIRE(input.length < before && answering->out.length > 0);
        expect_one_response(answering, outcome);
        note(answering->transcript, outcome == PROTOCOL_INTERIM ? "\ninterim " : "\nanswer ",
             &answering->out);
        buffer_truncate(&answering->out, 0);
        if (outcome == PROTOCOL_COMPLETE) {
            answering->is_over = answering->request.closes_target;
            answering->request = ask(answering->choice);
        }
    }
}

static void end_response(struct answering *answering)
{
    if (answering->is_over || !answering->choice->ends)
        return;
    bool is_complete = protocol_http.end_response(&answering->choice->settings, answering->connection,
                                                  &answering->request, &answering->out) == PROTOCOL_COMPLETE;
    FUZZ_REQUIRE(!is_complete || (answering->request.closes_client && answering->request.closes_target));
    note(answering->transcript, is_complete ? "\nended " : "\ncut ", &answering->out);
}

/* ---- Both --------------------------------------------------------------------------------------------- */

/* Each piece stands in memory of its own, so that a byte read beyond it is noticed. */
static void feed(struct slice input, uint32_t seed, void (*take)(void *, struct slice), void *data)
{
    while (input.length > 0) {
        size_t length = next_piece(&seed, input.length);
        char *piece = malloc(length);
        FUZZ_REQUIRE(piece != NULL);
        memcpy(piece, input.bytes, length);
        take(data, (struct slice){ piece, length });
        free(piece);
        slice_skip(&input, length);
    }
}

static void read_requests(const struct choice *choice, struct slice input, struct buffer *transcript)
{
    struct asking asking = { .choice = choice, .transcript = transcript };
    asking.client = calloc(1, protocol_http.client_size);
    FUZZ_REQUIRE(asking.client != NULL);
    feed(input, choice->seed, feed_request, &asking);
    if (!asking.is_over && asking.request.decided)
        note(transcript, "\nmore ", &asking.out);
    free(asking.client);
    buffer_free(&asking.out);
    buffer_free(&asking.answer);
}

static void read_responses(const struct choice *choice, struct slice input, struct buffer *transcript)
{
    struct answering answering = { .choice = choice, .transcript = transcript };
    answering.connection = calloc(1, protocol_http.connection_size);
    FUZZ_REQUIRE(answering.connection != NULL);
    answering.request = ask(choice);
    feed(input, choice->seed, feed_response, &answering);
    end_response(&answering);
    if (!answering.is_over && !choice->ends)
        note(transcript, "\nmore ", &answering.out);
    protocol_http.close_connection(answering.connection);
    free(answering.connection);
    buffer_free(&answering.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct choice choice = {
        .settings = { .protocol = &protocol_http,
                      .head_limit = (data[0] & 16) != 0 ? 48 : 65536,
                      .max_message = (data[0] & 32) != 0 ? 1000 : -1 },
        .asker = askers[data[0] >> 1 & 3],
        .ends = (data[0] & 8) != 0,
    };
    struct slice input = { (const char *)data + 3, size - 3 };
    struct buffer whole = { 0 }, cut = { 0 };
    void (*read)(const struct choice *, struct slice, struct buffer *) =
        (data[0] & 1) != 0 ? read_responses : read_requests;
    read(&choice, input, &whole);
    choice.seed = 1 + (uint32_t)data[1] * 256 + data[2];
    read(&choice, input, &cut);
    FUZZ_REQUIRE(slice_equal(buffer_slice(&whole), buffer_slice(&cut)));
    buffer_free(&whole);
    buffer_free(&cut);
    return 0;
}
