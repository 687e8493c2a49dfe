/* The framer of Redis. However the bytes are cut, the outcome is the same; what goes to the target is an
 * array that a naive reader understands alike, and never a command whose answer could not be paired; an
 * answer ends where a naive reader sees its end.
 *
 * Input: a byte of choices, the size of the pieces, the bytes. */
#include "fuzz/fuzz.h"

#include "protocol/protocols.h"
#include "protocol/redis/redis.h"

#include <strings.h>

#define RESPONSES   1
#define PASSWORD    2
#define CLIENT_AUTH 4
#define SMALL_HEADS 8
#define ADMIT_ALL   16

/* Nested deeper than this, the naive reader gives up. */
#define DEPTH_MAX 200

/* Requests that wait for answers. */
#define WAITING 5

static struct slice everything = { "*", 1 };

static struct protocol_settings make_settings(uint8_t choices)
{
    struct protocol_settings settings = {
        .protocol = &protocol_redis,
        .is_async = true,
        .head_limit = (choices & SMALL_HEADS) != 0 ? 40 : 65536,
        .max_message = -1,
    };
    if ((choices & PASSWORD) != 0)
        redis_own(&settings)->password = SLICE("p");
    redis_own(&settings)->client_auth = (choices & CLIENT_AUTH) != 0;
    if ((choices & ADMIT_ALL) != 0) {
        redis_own(&settings)->commands.slices = &everything;
        redis_own(&settings)->commands.count = 1;
    }
    return settings;
}

/* The rest of a line of digits, moved behind its CRLF; -1 if it is none. */
static int64_t take_number(struct slice *bytes)
{
    int64_t value = 0;
    size_t digits = 0;
    while (digits < bytes->length && digits < 18 && bytes->bytes[digits] >= '0' &&
           bytes->bytes[digits] <= '9')
        value = value * 10 + (bytes->bytes[digits++] - '0');
    if (digits == 0 || bytes->length < digits + 2 || memcmp(bytes->bytes + digits, "\r\n", 2) != 0)
        return -1;
    slice_skip(bytes, digits + 2);
    return value;
}

/* ---- Requests ------------------------------------------------------------------------------------------ */

/* Redis compares names up to a NUL. */
static bool is_named(struct slice argument, const char *name)
{
    size_t length = strnlen(argument.bytes, argument.length);
    return length == strlen(name) && strncasecmp(argument.bytes, name, length) == 0;
}

static void check_names(const struct slice *arguments)
{
    static const char *const never[] = {
        "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe",
        "monitor",   "sync",       "psync",      "replconf",    "auth",         "hello",
        "quit",      "reset",      "select",     "post",        "host:",
    };
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        FUZZ_REQUIRE(!is_named(arguments[0], never[i]));
    FUZZ_REQUIRE(!is_named(arguments[0], "client") || !is_named(arguments[1], "reply"));
    FUZZ_REQUIRE(!is_named(arguments[0], "script") || !is_named(arguments[1], "debug"));
}

/* Whether so much of a request as has come is what a naive reader takes for an array. */
static void check_forwarded(struct slice bytes, bool is_complete)
{
    struct slice arguments[2] = { { "", 0 }, { "", 0 } };
    FUZZ_REQUIRE(bytes.length > 0 && bytes.bytes[0] == '*');
    slice_skip(&bytes, 1);
    int64_t count = take_number(&bytes);
    FUZZ_REQUIRE(count > 0);
    for (int64_t i = 0; i < count; i++) {
        if (bytes.length == 0 && !is_complete)
            return;
        FUZZ_REQUIRE(bytes.length > 0 && bytes.bytes[0] == '$');
        slice_skip(&bytes, 1);
        int64_t length = take_number(&bytes);
        if (!is_complete && (length < 0 || (uint64_t)length + 2 > bytes.length))
            return;
        FUZZ_REQUIRE(length >= 0 && bytes.length >= (size_t)length + 2);
        if (i < 2)
            arguments[i] = (struct slice){ bytes.bytes, (size_t)length };
        slice_skip(&bytes, (size_t)length);
        FUZZ_REQUIRE(memcmp(bytes.bytes, "\r\n", 2) == 0);
        slice_skip(&bytes, 2);
        if (i < 2)
            check_names(arguments);
    }
    FUZZ_REQUIRE(bytes.length == 0);
}

struct asker {
    struct protocol_settings settings;
    void *client;
    struct protocol_request request;
    struct buffer out;
    struct buffer answer;
    struct buffer transcript;
    bool ended;
};

static void write_down(struct buffer *transcript, const char *what, const struct buffer *bytes)
{
    buffer_print(transcript, "%s %zu:", what, bytes->length);
    if (bytes->length > 0)
        buffer_append(transcript, buffer_bytes(bytes), bytes->length);
}

static void end_request(struct asker *asker)
{
    const struct protocol_request *request = &asker->request;
    FUZZ_REQUIRE(request->local || request->decided);
    if (request->local) {
        FUZZ_REQUIRE(asker->out.length == 0 && asker->answer.length > 0);
        write_down(&asker->transcript, request->refused ? "refused" : "local", &asker->answer);
    } else {
        FUZZ_REQUIRE(asker->answer.length == 0);
        FUZZ_REQUIRE(asker->out.length > 0);
        check_forwarded(buffer_slice(&asker->out), true);
        write_down(&asker->transcript, "forward", &asker->out);
    }
    asker->ended = request->closes_client;
    buffer_truncate(&asker->out, 0);
    buffer_truncate(&asker->answer, 0);
    asker->request = (struct protocol_request){ 0 };
}

static void ask(void *data, struct slice input)
{
    struct asker *asker = data;
    while (input.length > 0 && !asker->ended) {
        size_t before = input.length;
        enum protocol_outcome outcome = protocol_redis.read_request(
            &asker->settings, asker->client, &asker->request, &input, &asker->out, &asker->answer);
        FUZZ_REQUIRE(asker->request.decided || asker->out.length <= asker->settings.head_limit);
        if (outcome == PROTOCOL_MORE) {
            FUZZ_REQUIRE(input.length == 0);
        } else if (outcome == PROTOCOL_COMPLETE) {
            FUZZ_REQUIRE(input.length < before);
            end_request(asker);
        } else {
            FUZZ_REQUIRE(outcome == PROTOCOL_BROKEN && asker->answer.length > 0);
            write_down(&asker->transcript, "broken", &asker->answer);
            asker->ended = true;
        }
    }
}

/* ---- Responses ----------------------------------------------------------------------------------------- */

struct answerer {
    struct protocol_settings settings;
    void *connection;
    struct protocol_request requests[WAITING];
    size_t next;
    struct buffer out;
    struct buffer transcript;
    bool ended;
};

/* Takes an element off; false if it is not all there, not understood, or nested too deep. */
static bool take_element(struct slice *bytes, unsigned depth)
{
    if (bytes->length == 0 || depth > DEPTH_MAX)
        return false;
    char type = bytes->bytes[0];
    const char *end = memmem(bytes->bytes, bytes->length, "\r\n", 2);
    if (end == NULL)
        return false;
    if (strchr("+-:,(#_", type) != NULL || memcmp(bytes->bytes + 1, "-1\r\n", 4) == 0) {
        slice_skip(bytes, (size_t)(end - bytes->bytes) + 2);
        return true;
    }
    slice_skip(bytes, 1);
    int64_t count = take_number(bytes);
    if (count < 0)
        return false;
    if (strchr("$!=", type) != NULL) {
        if (bytes->length < 2 || (uint64_t)count > bytes->length - 2)
            return false;
        slice_skip(bytes, (size_t)count + 2);
        return true;
    }
    for (int64_t i = 0; i < (type == '%' || type == '|' ? 2 * count : count); i++)
        if (!take_element(bytes, depth + 1))
            return false;
    return type != '|' || take_element(bytes, depth + 1);
}

static void check_answer(struct slice answer)
{
    /* The naive reader does not know of streamed elements. */
    if (memchr(answer.bytes, '?', answer.length) == NULL && take_element(&answer, 0))
        FUZZ_REQUIRE(answer.length == 0);
}

static void answer(void *data, struct slice input)
{
    struct answerer *answerer = data;
    while (input.length > 0 && !answerer->ended) {
        struct protocol_request *request =
            answerer->next < WAITING ? &answerer->requests[answerer->next] : NULL;
        size_t before = input.length;
        enum protocol_outcome outcome = protocol_redis.read_response(
            &answerer->settings, answerer->connection, request, &input, &answerer->out, NULL);
        if (outcome == PROTOCOL_MORE) {
            FUZZ_REQUIRE(input.length == 0);
        } else if (outcome == PROTOCOL_COMPLETE) {
            FUZZ_REQUIRE(request != NULL && input.length < before);
            check_answer(buffer_slice(&answerer->out));
            write_down(&answerer->transcript, "answer", &answerer->out);
            buffer_truncate(&answerer->out, 0);
            answerer->next++;
        } else {
            FUZZ_REQUIRE(outcome == PROTOCOL_BROKEN);
            answerer->ended = true;
        }
        FUZZ_REQUIRE(request != NULL || answerer->out.length == 0);
    }
}

/* ---- Both ---------------------------------------------------------------------------------------------- */

/* Each piece has memory of its own, so that a byte read beyond it is noticed. */
static void give_pieces(struct slice bytes, size_t step, void (*give)(void *, struct slice), void *data)
{
    while (bytes.length > 0) {
        size_t length = step < bytes.length ? step : bytes.length;
        char *piece = malloc(length);
        FUZZ_REQUIRE(piece != NULL);
        memcpy(piece, bytes.bytes, length);
        give(data, (struct slice){ piece, length });
        free(piece);
        slice_skip(&bytes, length);
    }
}

static struct buffer requests_transcript(uint8_t choices, struct slice bytes, size_t step)
{
    struct asker asker = { .settings = make_settings(choices) };
    asker.client = calloc(1, protocol_redis.client_size);
    FUZZ_REQUIRE(asker.client != NULL);
    protocol_redis.open_client(&asker.settings, asker.client, 1);
    give_pieces(bytes, step, ask, &asker);
    if (asker.request.decided && !asker.ended) {
        FUZZ_REQUIRE(asker.out.length > 0);
        check_forwarded(buffer_slice(&asker.out), false);
        write_down(&asker.transcript, "more", &asker.out);
    }
    protocol_redis.close_client(asker.client);
    free(asker.client);
    buffer_free(&asker.out);
    buffer_free(&asker.answer);
    return asker.transcript;
}

static struct buffer responses_transcript(uint8_t choices, struct slice bytes, size_t step)
{
    struct answerer answerer = { .settings = make_settings(choices) };
    answerer.connection = calloc(1, protocol_redis.connection_size);
    FUZZ_REQUIRE(answerer.connection != NULL);
    give_pieces(bytes, step, answer, &answerer);
    write_down(&answerer.transcript, answerer.ended ? "broken" : "more", &answerer.out);
    free(answerer.connection);
    buffer_free(&answerer.out);
    return answerer.transcript;
}

static struct buffer transcript(uint8_t choices, struct slice bytes, size_t step)
{
    return (choices & RESPONSES) != 0 ? responses_transcript(choices, bytes, step)
                                      : requests_transcript(choices, bytes, step);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct slice bytes = { (const char *)data + 2, size - 2 };
    struct buffer whole = transcript(data[0], bytes, bytes.length);
    struct buffer pieces = transcript(data[0], bytes, 1 + data[1] % 64u);
    FUZZ_REQUIRE(!whole.failed && !pieces.failed);
    FUZZ_REQUIRE(whole.length == pieces.length);
    FUZZ_REQUIRE(whole.length == 0 || slice_equal(buffer_slice(&whole), buffer_slice(&pieces)));
    buffer_free(&whole);
    buffer_free(&pieces);
    return 0;
}
