#include "unit/framing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REQUESTS_MAX 4096

/* Longer inputs are cut at some places only. */
#define ALL_SPLITS_MAX 600

struct protocol_settings framing_settings(const struct protocol *protocol)
{
    struct protocol_settings settings = {
        .protocol = protocol,
        .is_async = protocol->is_async,
        .head_limit = 65536,
        .max_message = -1,
    };
    for (size_t i = 0; i < protocol->key_count; i++) {
        const struct key *key = &protocol->keys[i];
        if (key->fallback != NULL && key->type == KEY_INTEGER)
            key_store_number(key, settings.own, strtoll(key->fallback, NULL, 10));
        else if (key->fallback != NULL && key->type == KEY_BOOLEAN)
            key_store_number(key, settings.own, strcmp(key->fallback, "true") == 0);
        else if (strcmp(key->name, "delimiter") == 0)
            *(struct slice *)key_field(key, settings.own) = SLICE("\n");
    }
    return settings;
}

/* A piece of input that ends where the readable memory ends. Owned by who holds it. */
struct fence {
    char *pages;
    size_t size;
};

static char *fence_put(struct fence *fence, const char *bytes, size_t length)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (length + page - 1) / page * page + page;
    if (fence->size != size) {
        if (fence->pages != NULL)
            munmap(fence->pages, fence->size);
        fence->size = size;
        fence->pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(fence->pages != MAP_FAILED);
        assert_int_equal(mprotect(fence->pages + size - page, page, PROT_NONE), 0);
    }
    char *place = fence->pages + size - page - length;
    memcpy(place, bytes, length);
    return place;
}

static void fence_free(struct fence *fence)
{
    if (fence->pages != NULL)
        munmap(fence->pages, fence->size);
}

static void write_bytes(FILE *stream, const struct buffer *buffer)
{
    struct slice slice = buffer_slice(buffer);
    assert_false(buffer->failed);
    for (size_t i = 0; i < slice.length; i++) {
        unsigned char c = (unsigned char)slice.bytes[i];
        if (c == '\r')
            fputs("\\r", stream);
        else if (c == '\n')
            fputs("\\n", stream);
        else if (c == '\\')
            fputs("\\\\", stream);
        else if (c < 0x20 || c > 0x7e)
            fprintf(stream, "\\x%02x", c);
        else
            fputc(c, stream);
    }
    fputc('\n', stream);
}

static void write_flags(FILE *stream, const char *kind, const char *first, const char *second)
{
    fputs(kind, stream);
    if (*first != '\0' || *second != '\0')
        fprintf(stream, " [%s%s%s]", first, *first != '\0' && *second != '\0' ? "," : "", second);
    fputc(' ', stream);
}

static void write_complete(FILE *stream, const struct protocol_request *request, const struct buffer *out,
                           const struct buffer *answer)
{
    const char *closes = request->closes_client ? "closes" : "";
    if (request->local) {
        write_flags(stream, "local", closes, request->refused ? "refused" : "");
        write_bytes(stream, answer);
        return;
    }
    assert_true(request->decided);
    if (answer->length > 0) {
        fputs("interim ", stream);
        write_bytes(stream, answer);
    }
    write_flags(stream, "forward", closes, request->unanswered ? "unanswered" : "");
    write_bytes(stream, out);
}

/* Everything that reading requests needs. */
struct asker {
    const struct protocol_settings *settings;
    void *client;
    struct protocol_request request;
    struct buffer out;
    struct buffer answer;
    FILE *stream; /* NULL: nothing is written down */
    struct protocol_request *forwarded;
    size_t count;
    bool broken;
};

static void asker_init(struct asker *asker, const struct protocol_settings *settings, FILE *stream)
{
    const struct protocol *protocol = settings->protocol;
    *asker = (struct asker){ .settings = settings, .stream = stream };
    asker->client = calloc(1, protocol->client_size + 1);
    asker->forwarded = calloc(REQUESTS_MAX, sizeof *asker->forwarded);
    assert_non_null(asker->client);
    assert_non_null(asker->forwarded);
    if (protocol->open_client != NULL)
        protocol->open_client(settings, asker->client, 7);
}

static void release_request(const struct protocol_settings *settings, struct protocol_request *request)
{
    if (settings->protocol->release_request != NULL)
        settings->protocol->release_request(request);
}

static void asker_free(struct asker *asker)
{
    release_request(asker->settings, &asker->request);
    for (size_t i = 0; i < asker->count; i++)
        release_request(asker->settings, &asker->forwarded[i]);
    if (asker->settings->protocol->close_client != NULL)
        asker->settings->protocol->close_client(asker->client);
    buffer_free(&asker->out);
    buffer_free(&asker->answer);
    free(asker->client);
    free(asker->forwarded);
}

static void asker_finish_request(struct asker *asker)
{
    const struct protocol_settings *settings = asker->settings;
    if (!asker->request.local) {
        assert_true(asker->count < REQUESTS_MAX);
        if (protocol_has_ids(settings))
            settings->protocol->set_id(settings, &asker->request, buffer_bytes(&asker->out), asker->count);
        asker->forwarded[asker->count++] = asker->request;
    }
    if (asker->stream != NULL)
        write_complete(asker->stream, &asker->request, &asker->out, &asker->answer);
    if (asker->request.closes_client)
        asker->broken = true; /* nothing more is read */
    if (asker->request.local)
        release_request(settings, &asker->request);
    buffer_truncate(&asker->out, 0);
    buffer_truncate(&asker->answer, 0);
    memset(&asker->request, 0, sizeof asker->request);
}

static void asker_feed(struct asker *asker, struct slice input)
{
    const struct protocol *protocol = asker->settings->protocol;
    while (input.length > 0 && !asker->broken) {
        size_t before = input.length;
        enum protocol_outcome outcome = protocol->read_request(
            asker->settings, asker->client, &asker->request, &input, &asker->out, &asker->answer);
        assert_true(asker->request.decided || asker->out.length <= asker->settings->head_limit);
        switch (outcome) {
        case PROTOCOL_MORE:
            assert_int_equal(input.length, 0);
            break;
        case PROTOCOL_COMPLETE:
            assert_true(input.length < before);
            asker_finish_request(asker);
            break;
        case PROTOCOL_BROKEN:
            asker->broken = true;
            if (asker->stream != NULL) {
                fputs("broken ", asker->stream);
                write_bytes(asker->stream, &asker->answer);
            }
            break;
        default:
            fail_msg("no outcome of a request: %d", (int)outcome);
        }
    }
}

static void asker_end(struct asker *asker)
{
    if (asker->broken || asker->stream == NULL)
        return;
    if (asker->answer.length > 0 && !asker->request.local) {
        fputs("interim ", asker->stream);
        write_bytes(asker->stream, &asker->answer);
    }
    if (asker->out.length == 0 && !asker->request.decided)
        return;
    if (!asker->request.decided)
        buffer_truncate(&asker->out, 0);
    fputs("more ", asker->stream);
    write_bytes(asker->stream, &asker->out);
}

/* Calls `feed` with the input in pieces. */
static void feed_pieces(struct slice input, size_t first, size_t step, void (*feed)(void *, struct slice),
                        void *data)
{
    struct fence fence = { 0 };
    size_t length = first;
    while (input.length > 0) {
        if (length > input.length)
            length = input.length;
        if (length > 0)
            feed(data, (struct slice){ fence_put(&fence, input.bytes, length), length });
        slice_skip(&input, length);
        length = step;
    }
    fence_free(&fence);
}

static void feed_asker(void *data, struct slice input)
{
    asker_feed(data, input);
}

char *framing_requests(const struct protocol_settings *settings, struct slice input, size_t first,
                       size_t step)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    struct asker asker;
    asker_init(&asker, settings, stream);
    feed_pieces(input, first, step, feed_asker, &asker);
    asker_end(&asker);
    asker_free(&asker);
    assert_int_equal(fclose(stream), 0);
    return text;
}

/* Everything that reading responses needs. */
struct answerer {
    const struct protocol_settings *settings;
    void *connection;
    struct protocol_request *requests;
    size_t count;
    size_t next;                      /* without ids: the one that is being answered */
    struct protocol_request *current; /* with ids: said to be the one */
    struct buffer out;
    FILE *stream;
    bool broken;
};

static struct protocol_request *answerer_request(const struct answerer *answerer)
{
    if (protocol_has_ids(answerer->settings))
        return answerer->current;
    return answerer->next < answerer->count ? &answerer->requests[answerer->next] : NULL;
}

static void answerer_write(struct answerer *answerer, const char *kind,
                           const struct protocol_request *request)
{
    write_flags(answerer->stream, kind, request != NULL && request->closes_client ? "closes" : "",
                request != NULL && request->closes_target ? "closes-target" : "");
    write_bytes(answerer->stream, &answerer->out);
    buffer_truncate(&answerer->out, 0);
}

static void answerer_complete(struct answerer *answerer, struct protocol_request *request, const char *kind)
{
    assert_non_null(request);
    answerer_write(answerer, kind, request);
    answerer->current = NULL;
    answerer->next++;
    if (request->closes_target)
        answerer->broken = true;
}

static void answerer_skip_unanswered(struct answerer *answerer)
{
    while (answerer->next < answerer->count && answerer->requests[answerer->next].unanswered)
        answerer->next++;
}

static void answerer_feed(void *data, struct slice input)
{
    struct answerer *answerer = data;
    const struct protocol *protocol = answerer->settings->protocol;
    while (input.length > 0 && !answerer->broken) {
        uint64_t id = UINT64_MAX;
        answerer_skip_unanswered(answerer);
        struct protocol_request *request = answerer_request(answerer);
        if (request == NULL && !protocol->has_pushes && !protocol_has_ids(answerer->settings)) {
            fputs("stray\n", answerer->stream);
            answerer->broken = true;
            return;
        }
        switch (protocol->read_response(answerer->settings, answerer->connection, request, &input,
                                        &answerer->out, &id)) {
        case PROTOCOL_MORE:
            assert_int_equal(input.length, 0);
            break;
        case PROTOCOL_COMPLETE:
            answerer_complete(answerer, request, "answer");
            break;
        case PROTOCOL_INTERIM:
            answerer_write(answerer, "interim", NULL);
            break;
        case PROTOCOL_DISCARDED:
            assert_true(protocol->has_pushes);
            answerer_write(answerer, "discarded", NULL);
            break;
        case PROTOCOL_WHOSE:
            assert_null(request);
            fprintf(answerer->stream, "whose %llu\n", (unsigned long long)id);
            answerer->broken = id >= answerer->count;
            answerer->current = answerer->broken ? NULL : &answerer->requests[id];
            break;
        case PROTOCOL_BROKEN:
            answerer_write(answerer, request == NULL ? "stray" : "broken", NULL);
            answerer->broken = true;
            break;
        }
    }
}

static void answerer_end(struct answerer *answerer, bool end)
{
    const struct protocol *protocol = answerer->settings->protocol;
    answerer_skip_unanswered(answerer);
    struct protocol_request *request = answerer_request(answerer);
    if (answerer->broken || (request == NULL && answerer->out.length == 0))
        return;
    if (!end) {
        if (answerer->out.length > 0)
            answerer_write(answerer, "more", NULL);
    } else if (request != NULL && protocol->end_response != NULL &&
               protocol->end_response(answerer->settings, answerer->connection, request, &answerer->out) ==
                   PROTOCOL_COMPLETE) {
        answerer_write(answerer, "ended", request);
    } else {
        answerer_write(answerer, "cut", NULL);
    }
}

char *framing_responses(const struct protocol_settings *settings, struct slice requests,
                        struct slice responses, bool end, size_t first, size_t step)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    struct asker asker;
    asker_init(&asker, settings, NULL);
    feed_pieces(requests, requests.length, requests.length, feed_asker, &asker);
    if (asker.request.decided) { /* an answer can come before its request has ended */
        asker.forwarded[asker.count++] = asker.request;
        asker.request = (struct protocol_request){ 0 };
    }
    struct answerer answerer = {
        .settings = settings,
        .connection = calloc(1, settings->protocol->connection_size + 1),
        .requests = asker.forwarded,
        .count = asker.count,
        .stream = stream,
    };
    assert_non_null(answerer.connection);
    feed_pieces(responses, first, step, answerer_feed, &answerer);
    answerer_end(&answerer, end);
    if (settings->protocol->close_connection != NULL)
        settings->protocol->close_connection(answerer.connection);
    free(answerer.connection);
    buffer_free(&answerer.out);
    asker_free(&asker);
    assert_int_equal(fclose(stream), 0);
    return text;
}

static void compare(char *transcript, const char *expected, const char *how, size_t cut, struct place place)
{
    if (strcmp(transcript, expected) != 0) {
        print_error("%s %zu:\n%s\nexpected:\n%s\n", how, cut, transcript, expected);
        test_fail_at(place, "another transcript was expected");
    }
    free(transcript);
}

static size_t split_stride(struct slice input)
{
    return input.length <= ALL_SPLITS_MAX ? 1 : input.length / 97 + 1;
}

void framing_expect_requests_at(const struct protocol_settings *settings, struct slice input,
                                const char *expected, struct place place)
{
    compare(framing_requests(settings, input, input.length, 1), expected, "whole", input.length, place);
    compare(framing_requests(settings, input, 1, 1), expected, "pieces of", 1, place);
    compare(framing_requests(settings, input, 3, 3), expected, "pieces of", 3, place);
    for (size_t cut = 1; cut < input.length; cut += split_stride(input))
        compare(framing_requests(settings, input, cut, input.length), expected, "cut at", cut, place);
}

void framing_expect_responses_at(const struct protocol_settings *settings, struct slice requests,
                                 struct slice responses, bool end, const char *expected, struct place place)
{
    size_t whole = responses.length;
    compare(framing_responses(settings, requests, responses, end, whole, 1), expected, "whole", whole, place);
    compare(framing_responses(settings, requests, responses, end, 1, 1), expected, "pieces of", 1, place);
    compare(framing_responses(settings, requests, responses, end, 3, 3), expected, "pieces of", 3, place);
    for (size_t cut = 1; cut < whole; cut += split_stride(responses))
        compare(framing_responses(settings, requests, responses, end, cut, whole), expected, "cut at", cut,
                place);
}

void framing_expect_error_at(const struct protocol_settings *settings, struct slice requests,
                             enum reason reason, const char *expected, struct place place)
{
    struct buffer out = { 0 };
    struct asker asker;
    asker_init(&asker, settings, NULL);
    feed_pieces(requests, requests.length, requests.length, feed_asker, &asker);
    const struct protocol_request *request = asker.count > 0 ? &asker.forwarded[0] : &asker.request;
    bool written = settings->protocol->write_error != NULL &&
                   settings->protocol->write_error(settings, request, reason, &out);
    if (written != (expected != NULL))
        test_fail_at(place, written ? "an error was written" : "no error was written");
    if (written && !slice_equal(buffer_slice(&out), (struct slice){ expected, strlen(expected) })) {
        print_error("%.*s\n", (int)out.length, buffer_bytes(&out));
        test_fail_at(place, "another error was expected");
    }
    buffer_free(&out);
    asker_free(&asker);
}
