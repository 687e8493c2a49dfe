/* The memcached framer. The first byte says how large the head of a request may be, the second how the rest
 * is cut into pieces; then come requests of a client and, after a byte 0x1e, what the target says to those
 * that reach it. However the bytes are cut, client and target get the same. */
#include "fuzz/fuzz.h"

#include "protocol/memcached/memcached.h"
#include "protocol/protocols.h"

#define REQUESTS_MAX 256
#define SEPARATOR    0x1e

/* Cuts a piece off, of a length that looks random, in memory of its own: a byte read beyond it is noticed.
 * Freed by the caller. */
static char *cut(struct slice *input, unsigned *state, struct slice *piece)
{
    size_t length = input->length;
    if (*state != 0) {
        *state = *state * 1103515245u + 12345u;
        length = 1 + (*state >> 16) % (*state & 0x4000 ? 4 : 40);
    }
    piece->length = length < input->length ? length : input->length;
    char *memory = malloc(piece->length);
    FUZZ_REQUIRE(memory != NULL);
    memcpy(memory, input->bytes, piece->length);
    piece->bytes = memory;
    slice_skip(input, piece->length);
    return memory;
}

/* What became of a client's bytes. */
struct asked {
    struct protocol_request requests[REQUESTS_MAX]; /* those that went to the target */
    size_t count;
    struct buffer told; /* all that was said to target and client */
    char last;          /* to whom the last of it */
    bool is_over;
};

/* Quiet commands that follow each other count as one, as they do in one run. */
static void tell(struct asked *asked, char whom, struct slice bytes)
{
    if (asked->last != whom || whom != 'Q')
        buffer_print(&asked->told, "\n%c ", whom);
    buffer_append(&asked->told, bytes.bytes, bytes.length);
    asked->last = whom;
}

/* What goes to the target has to be something that goes there unchanged. */
static void ask_again(const struct protocol_settings *settings, struct slice input)
{
    struct memcached_client client = { 0 };
    struct protocol_request request = { 0 };
    struct buffer out = { 0 }, answer = { 0 };
    struct slice again = input;
    FUZZ_REQUIRE(protocol_memcached.read_request(settings, &client, &request, &again, &out, &answer) ==
                 PROTOCOL_COMPLETE);
    FUZZ_REQUIRE(!request.local && !memcached_context(&request).is_swallowed);
    /* The bound of a run is counted from its second command on, and may fall into another place. */
    FUZZ_REQUIRE(out.length <= input.length || memcmp(buffer_bytes(&out), input.bytes, input.length) != 0);
    FUZZ_REQUIRE(again.length > 0 || slice_equal(buffer_slice(&out), input));
    buffer_free(&out);
    buffer_free(&answer);
}

static void finish(const struct protocol_settings *settings, struct asked *asked,
                   const struct protocol_request *request, struct slice out, struct slice answer)
{
    struct memcached_context context = memcached_context(request);
    if (request->local) {
        FUZZ_REQUIRE(out.length == 0 && !request->decided);
        tell(asked, request->closes_client ? 'C' : 'L', answer);
        asked->is_over = request->closes_client;
        return;
    }
    FUZZ_REQUIRE(request->decided && out.length > 2 && answer.length == 0);
    FUZZ_REQUIRE(out.bytes[out.length - 1] == '\n');
    ask_again(settings, out);
    asked->requests[asked->count++] = *request;
    if (context.answer != MEMCACHED_QUIET) {
        tell(asked, context.is_swallowed ? 'N' : 'F', out);
        return;
    }
    FUZZ_REQUIRE(out.length > 4 && memcmp(out.bytes + out.length - 4, "mn\r\n", 4) == 0);
    out.length -= 4;
    tell(asked, 'Q', out);
    if (context.has_client_mn)
        tell(asked, 'L', SLICE("MN\r\n"));
}

static void ask(const struct protocol_settings *settings, struct slice input, unsigned state,
                struct asked *asked)
{
    struct memcached_client client = { 0 };
    struct protocol_request request = { 0 };
    struct buffer out = { 0 }, answer = { 0 };
    size_t length = input.length;
    *asked = (struct asked){ 0 };
    while (input.length > 0 && !asked->is_over) {
        struct slice piece;
        char *memory = cut(&input, &state, &piece);
        while (piece.length > 0 && !asked->is_over && asked->count < REQUESTS_MAX) {
            size_t before = piece.length;
            enum protocol_outcome outcome =
                protocol_memcached.read_request(settings, &client, &request, &piece, &out, &answer);
            FUZZ_REQUIRE(request.decided || out.length <= settings->head_limit);
            FUZZ_REQUIRE(outcome != PROTOCOL_MORE || piece.length == 0);
            if (outcome == PROTOCOL_BROKEN) {
                tell(asked, 'B', buffer_slice(&answer));
                asked->is_over = true;
            } else if (outcome == PROTOCOL_COMPLETE) {
                FUZZ_REQUIRE(piece.length < before);
                finish(settings, asked, &request, buffer_slice(&out), buffer_slice(&answer));
                memset(&request, 0, sizeof request);
                buffer_truncate(&out, 0);
                buffer_truncate(&answer, 0);
            }
        }
        free(memory);
    }
    FUZZ_REQUIRE(client.looked_at <= 2 * length);
    if (!asked->is_over && request.decided)
        tell(asked, memcached_context(&request).answer == MEMCACHED_QUIET ? 'Q' : 'F', buffer_slice(&out));
    buffer_free(&out);
    buffer_free(&answer);
}

/* Reads the answers to the requests; `told` is all that their clients get. */
static void answer(const struct protocol_settings *settings, const struct asked *asked, struct slice input,
                   unsigned state, struct buffer *told)
{
    struct memcached_connection connection = { 0 };
    size_t next = 0, length = input.length;
    enum protocol_outcome outcome = PROTOCOL_COMPLETE;
    struct protocol_request request = { 0 };
    while (input.length > 0 && outcome != PROTOCOL_BROKEN) {
        struct slice piece;
        char *memory = cut(&input, &state, &piece);
        while (piece.length > 0 && outcome != PROTOCOL_BROKEN && !request.closes_target &&
               (outcome != PROTOCOL_COMPLETE || next < asked->count)) {
            size_t before = piece.length, given = told->length;
            if (outcome == PROTOCOL_COMPLETE)
                request = asked->requests[next++];
            outcome = protocol_memcached.read_response(settings, &connection, &request, &piece, told, NULL);
            FUZZ_REQUIRE(outcome != PROTOCOL_MORE || piece.length == 0);
            FUZZ_REQUIRE(outcome != PROTOCOL_COMPLETE || piece.length < before);
            FUZZ_REQUIRE(!memcached_context(&request).is_swallowed || told->length == given);
            if (outcome == PROTOCOL_COMPLETE)
                buffer_print(told, "\n%c ", request.closes_target ? 'T' : '-');
            else if (outcome == PROTOCOL_BROKEN)
                buffer_append_text(told, "\nB");
        }
        free(memory);
    }
    FUZZ_REQUIRE(connection.looked_at <= length);
}

static void write_errors(const struct protocol_settings *settings, const struct asked *asked)
{
    for (size_t i = 0; i < asked->count; i++) {
        struct buffer out = { 0 };
        FUZZ_REQUIRE(protocol_memcached.write_error(settings, &asked->requests[i],
                                                    (enum reason)(1 + i % (REASON_COUNT - 1)), &out));
        FUZZ_REQUIRE((out.length == 0) == memcached_context(&asked->requests[i]).is_swallowed);
        buffer_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t limits[] = { 65536, 4096, 300, 64 };
    static struct asked whole, split;
    if (size < 2)
        return 0;
    struct protocol_settings settings = { .protocol = &protocol_memcached,
                                          .head_limit = limits[data[0] % 4] };
    unsigned state = data[1] + 1u;
    struct slice requests = { (const char *)data + 2, size - 2 }, answers = { "", 0 };
    const char *separator = memchr(requests.bytes, SEPARATOR, requests.length);
    if (separator != NULL) {
        answers = requests;
        requests.length = (size_t)(separator - requests.bytes);
        slice_skip(&answers, requests.length + 1);
    }

    ask(&settings, requests, 0, &whole);
    ask(&settings, requests, state, &split);
    if (whole.count < REQUESTS_MAX && split.count < REQUESTS_MAX)
        FUZZ_REQUIRE(slice_equal(buffer_slice(&whole.told), buffer_slice(&split.told)));
    struct buffer told_whole = { 0 }, told_split = { 0 };
    answer(&settings, &whole, answers, 0, &told_whole);
    answer(&settings, &whole, answers, state, &told_split);
    FUZZ_REQUIRE(slice_equal(buffer_slice(&told_whole), buffer_slice(&told_split)));
    write_errors(&settings, &whole);
    buffer_free(&told_whole);
    buffer_free(&told_split);
    buffer_free(&whole.told);
    buffer_free(&split.told);
    return 0;
}
