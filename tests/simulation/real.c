/* Real protocols: messages that are right, each with "~CLIENT.NUMBER~" in it, or both as numbers. What their
 * framers refuse is a matter of the framers' own tests; here they are driven by the multiplexer. */
#include "simulation/real.h"

#include "protocol/length/length.h"
#include "protocol/line/line.h"
#include "protocol/modbus/modbus.h"
#include "protocol/protocols.h"
#include "protocol/raw/raw.h"
#include "protocol/redis/redis.h"

#include <stdio.h>
#include <string.h>

#define KIND(kind) (1U << (kind))

/* ---- Text ---- */

static void put_text_body(const struct request *request, bool is_answer, size_t length, struct buffer *out)
{
    for (size_t i = 0; i < length; i++) {
        char letter = (char)('a' + (dialect_byte(request, is_answer, i) & 15));
        buffer_append(out, &letter, 1);
    }
}

static void put_name(const struct request *request, struct buffer *out)
{
    buffer_print(out, "~%u.%u~", request->client->number, request->number);
}

/* Finds "~CLIENT.NUMBER~". */
static int text_identify(const struct world *world, struct slice head, uint32_t *client, uint32_t *number)
{
    (void)world;
    char text[128];
    char end = '\0';
    const char *start = memchr(head.bytes, '~', head.length);
    if (start == NULL)
        return head.length < 100 ? 0 : -1;
    size_t length = head.length - (size_t)(start - head.bytes);
    if (length >= sizeof text)
        return -1;
    memcpy(text, start, length);
    text[length] = '\0';
    return sscanf(text, "~%u.%u%c", client, number, &end) == 3 && end == '~' ? 1 : 0;
}

/* ---- line ---- */

static void line_choose(struct world *world)
{
    struct protocol_settings *settings = &world->protocol_settings;
    line_own(settings)->delimiter = random_chance(&world->random, 50) ? SLICE("\n") : SLICE("\r\n");
    line_own(settings)->reply_lines = (int64_t)random_between(&world->random, 1, 2);
    if (random_chance(&world->random, 40))
        line_own(settings)->reply_if = SLICE("?");
    if (random_chance(&world->random, 60))
        error_reply_own(settings)->error_reply = SLICE("ERROR\n");
}

static void line_compose(struct world *world, struct request *request)
{
    const struct protocol_settings *settings = &world->protocol_settings;
    struct slice end = line_own(settings)->delimiter;
    bool asks = line_own(settings)->reply_if.length > 0;
    if (!asks)
        request->kind = REQUEST_PLAIN;
    put_name(request, &request->bytes);
    put_text_body(request, false, request->size, &request->bytes);
    if (asks && request->kind == REQUEST_PLAIN)
        buffer_append(&request->bytes, "?", 1);
    buffer_append(&request->bytes, end.bytes, end.length);
    put_name(request, &request->answer);
    put_text_body(request, true, request->answer_size, &request->answer);
    buffer_append(&request->answer, end.bytes, end.length);
    for (int64_t i = 1; i < line_own(settings)->reply_lines; i++) {
        buffer_append_text(&request->answer, "more");
        buffer_append(&request->answer, end.bytes, end.length);
    }
    dialect_pass_on(request);
}

const struct dialect dialect_line = {
    .name = "line",
    .protocol = &protocol_line,
    .request_kinds = KIND(REQUEST_PLAIN) | KIND(REQUEST_UNANSWERED),
    .answer_kinds = KIND(ANSWER_PLAIN),
    .head_limit = 48,
    .choose = line_choose,
    .compose = line_compose,
    .identify = text_identify,
};

/* ---- length, with ids and without ---- */

#define LENGTH_HEAD ((size_t)12) /* length 2, id 2, client 4, number 4 */

static void put_number(struct buffer *out, size_t width, size_t value)
{
    for (size_t i = width; i > 0; i--) {
        char byte = (char)(unsigned char)(value >> 8 * (i - 1));
        buffer_append(out, &byte, 1);
    }
}

static size_t get_number(const char *bytes, size_t width)
{
    size_t value = 0;
    for (size_t i = 0; i < width; i++)
        value = value << 8 | (unsigned char)bytes[i];
    return value;
}

static void length_choose(struct world *world)
{
    struct protocol_settings *settings = &world->protocol_settings;
    length_own(settings)->width = 2;
    length_own(settings)->adjust = -2; /* the value counts all */
    if (random_chance(&world->random, 60)) {
        length_own(settings)->id_offset = 2;
        length_own(settings)->id_width = 2;
        world->features.ids = true;
        world->features.id_offset = 2;
        world->features.id_width = 2;
    }
    if (random_chance(&world->random, 50))
        error_reply_own(settings)->error_reply = SLICE("\0\6error");
}

static void length_compose_message(const struct request *request, bool is_answer, size_t own_id, size_t body,
                                   struct buffer *out)
{
    put_number(out, 2, LENGTH_HEAD + body);
    put_number(out, 2, own_id);
    put_number(out, 4, request->client->number);
    put_number(out, 4, request->number);
    dialect_write_body(request, is_answer, body, out);
}

static size_t at_most(size_t value, size_t limit)
{
    return value < limit ? value : limit;
}

static void length_compose(struct world *world, struct request *request)
{
    size_t own_id = random_below(&world->random, 3);
    length_compose_message(request, false, own_id, at_most(request->size, 65000), &request->bytes);
    length_compose_message(request, true, own_id, at_most(request->answer_size, 65000), &request->answer);
    dialect_pass_on(request);
}

static int length_identify(const struct world *world, struct slice head, uint32_t *client, uint32_t *number)
{
    (void)world;
    if (head.length < LENGTH_HEAD)
        return 0;
    *client = (uint32_t)get_number(head.bytes + 4, 4);
    *number = (uint32_t)get_number(head.bytes + 8, 4);
    return 1;
}

static void length_write_garbage(struct world *world, struct buffer *out)
{
    (void)world;
    buffer_append(out, "\0\1\0\0", 4);
}

const struct dialect dialect_length = {
    .name = "length",
    .protocol = &protocol_length,
    .request_kinds = KIND(REQUEST_PLAIN),
    .answer_kinds = KIND(ANSWER_PLAIN),
    .head_limit = 48,
    .choose = length_choose,
    .compose = length_compose,
    .identify = length_identify,
    .write_garbage = length_write_garbage,
};

/* ---- modbus ---- */

#define MODBUS_WRITE     0x10 /* multiple registers: address, quantity, count, so many bytes */
#define MODBUS_BODY_MOST ((size_t)240)

static void modbus_choose(struct world *world)
{
    modbus_own(&world->protocol_settings)->match_order = random_chance(&world->random, 30);
    world->features.ids = !modbus_own(&world->protocol_settings)->match_order;
    world->features.id_width = world->features.ids ? 2 : 0;
}

static void modbus_compose_message(const struct request *request, bool is_answer, size_t own_id, size_t body,
                                   struct buffer *out)
{
    put_number(out, 2, own_id);
    put_number(out, 2, 0);
    put_number(out, 2, 7 + body);
    put_number(out, 1, 17); /* unit */
    put_number(out, 1, MODBUS_WRITE);
    put_number(out, 2, request->client->number);
    put_number(out, 2, request->number);
    put_number(out, 1, body);
    dialect_write_body(request, is_answer, body, out);
}

static void modbus_compose(struct world *world, struct request *request)
{
    size_t own_id = random_chance(&world->random, 80) ? 1 : random_below(&world->random, 65536);
    modbus_compose_message(request, false, own_id, at_most(request->size, MODBUS_BODY_MOST), &request->bytes);
    modbus_compose_message(request, true, own_id, at_most(request->answer_size, MODBUS_BODY_MOST),
                           &request->answer);
    dialect_pass_on(request);
}

static int modbus_identify(const struct world *world, struct slice head, uint32_t *client, uint32_t *number)
{
    (void)world;
    if (head.length < 12)
        return 0;
    *client = (uint32_t)get_number(head.bytes + 8, 2);
    *number = (uint32_t)get_number(head.bytes + 10, 2);
    return 1;
}

static void modbus_write_garbage(struct world *world, struct buffer *out)
{
    (void)world;
    buffer_append(out, "\0\1\1\1\0\6", 6);
}

const struct dialect dialect_modbus = {
    .name = "modbus",
    .protocol = &protocol_modbus,
    .request_kinds = KIND(REQUEST_PLAIN),
    .answer_kinds = KIND(ANSWER_PLAIN),
    .head_limit = 48,
    .choose = modbus_choose,
    .compose = modbus_compose,
    .identify = modbus_identify,
    .write_garbage = modbus_write_garbage,
};

/* ---- redis ---- */

static void redis_choose(struct world *world)
{
    redis_own(&world->protocol_settings)->client_auth = true;
}

static void redis_compose(struct world *world, struct request *request)
{
    (void)world;
    struct buffer name = { 0 };
    if (request->kind == REQUEST_LOCAL) {
        buffer_append_text(&request->bytes, "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n");
    } else if (request->kind == REQUEST_REFUSED) {
        buffer_append_text(&request->bytes, "*1\r\n$5\r\nMULTI\r\n");
    } else if (request->kind == REQUEST_BROKEN) {
        buffer_append_text(&request->bytes, "*1\r\n!");
    } else {
        put_name(request, &name);
        buffer_print(&request->bytes, "*3\r\n$3\r\nSET\r\n$%zu\r\n", name.length);
        put_name(request, &request->bytes);
        buffer_print(&request->bytes, "\r\n$%zu\r\n", request->size);
        put_text_body(request, false, request->size, &request->bytes);
        buffer_append_text(&request->bytes, "\r\n");
    }
    buffer_free(&name);
    buffer_print(&request->answer, "*2\r\n+");
    put_name(request, &request->answer);
    buffer_print(&request->answer, "\r\n$%zu\r\n", request->answer_size);
    put_text_body(request, true, request->answer_size, &request->answer);
    buffer_append_text(&request->answer, "\r\n");
    dialect_pass_on(request);
}

static void redis_write_garbage(struct world *world, struct buffer *out)
{
    (void)world;
    buffer_append_text(out, "?oops\r\n");
}

const struct dialect dialect_redis = {
    .name = "redis",
    .protocol = &protocol_redis,
    .request_kinds = KIND(REQUEST_PLAIN) | KIND(REQUEST_LOCAL) | KIND(REQUEST_REFUSED) | KIND(REQUEST_BROKEN),
    .answer_kinds = KIND(ANSWER_PLAIN),
    .head_limit = 512,
    .local_most = 200,
    .choose = redis_choose,
    .compose = redis_compose,
    .identify = text_identify,
    .write_garbage = redis_write_garbage,
};

/* ---- memcached ---- */

static void memcached_choose(struct world *world)
{
    (void)world;
}

static void memcached_compose(struct world *world, struct request *request)
{
    (void)world;
    if (request->kind == REQUEST_LOCAL) {
        buffer_append_text(&request->bytes, "mn\r\n");
    } else if (request->size < 24) {
        buffer_append_text(&request->bytes, "get ");
        put_name(request, &request->bytes);
        buffer_append_text(&request->bytes, "\r\n");
        buffer_append_text(&request->answer, "VALUE ");
        put_name(request, &request->answer);
        buffer_print(&request->answer, " 0 %zu\r\n", request->answer_size);
        put_text_body(request, true, request->answer_size, &request->answer);
        buffer_append_text(&request->answer, "\r\nEND\r\n");
    } else {
        buffer_append_text(&request->bytes, "set ");
        put_name(request, &request->bytes);
        buffer_print(&request->bytes, " 0 0 %zu\r\n", request->size);
        put_text_body(request, false, request->size, &request->bytes);
        buffer_append_text(&request->bytes, "\r\n");
        buffer_append_text(&request->answer, "SERVER_ERROR out of memory for ");
        put_name(request, &request->answer);
        buffer_append_text(&request->answer, "\r\n");
    }
    dialect_pass_on(request);
}

static void memcached_write_garbage(struct world *world, struct buffer *out)
{
    (void)world;
    buffer_append_text(out, "\x80nonsense\r\n");
}

const struct dialect dialect_memcached = {
    .name = "memcached",
    .protocol = &protocol_memcached,
    .request_kinds = KIND(REQUEST_PLAIN) | KIND(REQUEST_LOCAL),
    .answer_kinds = KIND(ANSWER_PLAIN),
    .head_limit = 512,
    .local_most = 64,
    .choose = memcached_choose,
    .compose = memcached_compose,
    .identify = text_identify,
    .write_garbage = memcached_write_garbage,
};

/* ---- http ---- */

static void http_choose(struct world *world)
{
    (void)world;
}

static void http_put_body(const struct request *request, bool is_answer, size_t size, bool chunked,
                          struct buffer *out)
{
    if (!chunked) {
        buffer_print(out, "Content-Length: %zu\r\n\r\n", size);
        put_text_body(request, is_answer, size, out);
        return;
    }
    buffer_append_text(out, "Transfer-Encoding: chunked\r\n\r\n");
    if (size > 0) {
        buffer_print(out, "%zx\r\n", size);
        put_text_body(request, is_answer, size, out);
        buffer_append_text(out, "\r\n");
    }
    buffer_append_text(out, "0\r\n\r\n");
}

/* `own`: with what is between the client and us. */
static void http_compose_request(const struct request *request, bool own, bool chunked, struct buffer *out)
{
    buffer_append_text(out, "POST /");
    put_name(request, out);
    buffer_append_text(out, " HTTP/1.1\r\nHost: a\r\n");
    if (own && request->kind == REQUEST_LAST)
        buffer_append_text(out, "Connection: close\r\n");
    if (own && request->kind == REQUEST_CONTINUED)
        buffer_append_text(out, "Expect: 100-continue\r\n");
    if (request->kind == REQUEST_BROKEN)
        buffer_append_text(out, "No Colon\r\n");
    http_put_body(request, false, request->size, chunked, out);
}

/* `own`: with what is between the target and us. */
static void http_compose_answer(const struct request *request, bool own, bool chunked, struct buffer *out)
{
    buffer_append_text(out, "HTTP/1.1 200 OK\r\nName: ");
    put_name(request, out);
    buffer_append_text(out, "\r\n");
    if (own && request->answer_kind == ANSWER_CLOSES)
        buffer_append_text(out, "Connection: close\r\n");
    if (request->answer_kind != ANSWER_TO_END) {
        http_put_body(request, true, request->answer_size, chunked, out);
        return;
    }
    buffer_append_text(out, "\r\n");
    put_text_body(request, true, request->answer_size, out);
}

static void http_compose(struct world *world, struct request *request)
{
    bool chunks_request = random_chance(&world->random, 30);
    bool chunks_answer = random_chance(&world->random, 30);
    http_compose_request(request, true, chunks_request, &request->bytes);
    http_compose_request(request, false, chunks_request, &request->forward);
    http_compose_answer(request, true, chunks_answer, &request->answer);
    http_compose_answer(request, false, chunks_answer, &request->expected);
    for (size_t i = 0; i < request->interims; i++) {
        buffer_append_text(&request->interim[i], "HTTP/1.1 103 Early Hints\r\nName: ");
        put_name(request, &request->interim[i]);
        buffer_append_text(&request->interim[i], "\r\n\r\n");
        buffer_append(&request->interim_expected[i], buffer_bytes(&request->interim[i]),
                      request->interim[i].length);
    }
}

/* The answer as composed, but for the line "Connection:", which is the framer's. */
static long http_match_answer(const struct world *world, struct request *request, struct slice bytes)
{
    (void)world;
    static const char first[] = "HTTP/1.1 200";
    static const char own[] = "\r\nConnection: ";
    size_t count = at_most(bytes.length, sizeof first - 1);
    if (memcmp(bytes.bytes, first, count) != 0)
        return -1;
    const char *end = memmem(bytes.bytes, bytes.length, "\r\n\r\n", 4);
    if (end == NULL)
        return bytes.length < 300 ? 0 : -1;
    size_t head = (size_t)(end - bytes.bytes) + 4;
    const char *line = memmem(bytes.bytes, head, own, sizeof own - 1);
    size_t skipped = 0;
    struct buffer got = { 0 };
    if (line != NULL) {
        const char *after = memmem(line + 2, (size_t)(end + 4 - line) - 2, "\r\n", 2);
        skipped = (size_t)(after - line);
        request->said_last = memmem(line, skipped, "close", 5) != NULL;
        buffer_append(&got, bytes.bytes, (size_t)(line - bytes.bytes));
    }
    const char *rest = bytes.bytes + (line == NULL ? 0 : (size_t)(line - bytes.bytes) + skipped);
    buffer_append(&got, rest, bytes.length - (size_t)(rest - bytes.bytes));
    count = at_most(got.length, request->expected.length);
    bool same = memcmp(buffer_bytes(&got), buffer_bytes(&request->expected), count) == 0;
    buffer_free(&got);
    if (!same)
        return -1;
    return count == request->expected.length ? (long)(count + skipped) : 0;
}

static void http_write_garbage(struct world *world, struct buffer *out)
{
    (void)world;
    buffer_append_text(out, "HTTP/1.1 two hundred\r\n\r\n");
}

const struct dialect dialect_http = {
    .name = "http",
    .protocol = &protocol_http,
    .request_kinds =
        KIND(REQUEST_PLAIN) | KIND(REQUEST_CONTINUED) | KIND(REQUEST_LAST) | KIND(REQUEST_BROKEN),
    .answer_kinds = KIND(ANSWER_PLAIN) | KIND(ANSWER_CLOSES) | KIND(ANSWER_TO_END),
    .has_interims = true,
    .head_limit = 512,
    .local_most = 500,
    .choose = http_choose,
    .compose = http_compose,
    .identify = text_identify,
    .match_answer = http_match_answer,
    .write_garbage = http_write_garbage,
};

/* ---- mllp ---- */

static void mllp_choose(struct world *world)
{
    (void)world;
}

static void mllp_put_message(const struct request *request, bool is_answer, struct buffer *out)
{
    /* not the usual characters, for '~' stands in names */
    buffer_print(out, "\x0bMSH|^!\\&|a|b|c|d|||%s|", is_answer ? "ACK" : "ADT");
    if (request->kind != REQUEST_REFUSED || is_answer)
        put_name(request, out);
    buffer_append_text(out, "|P|2.5\r");
    if (is_answer) {
        buffer_append_text(out, "MSA|AA|");
        put_name(request, out);
        buffer_append_text(out, "\r");
    }
    buffer_append_text(out, "ZZZ|");
    put_text_body(request, is_answer, is_answer ? request->answer_size : request->size, out);
    buffer_append_text(out, "\r\x1c\r");
}

static void mllp_compose(struct world *world, struct request *request)
{
    (void)world;
    if (request->kind == REQUEST_BROKEN)
        buffer_append_text(&request->bytes, "\x0bPID");
    else
        mllp_put_message(request, false, &request->bytes);
    mllp_put_message(request, true, &request->answer);
    dialect_pass_on(request);
}

static void mllp_write_garbage(struct world *world, struct buffer *out)
{
    (void)world;
    buffer_append_text(out, "\x0bPID|");
}

/* An answer that nobody waits for, and an empty line. */
static void mllp_write_push(struct world *world, struct buffer *out)
{
    (void)world;
    buffer_append_text(out, "\r\n\x0bMSH|^!\\&|||||||ACK|1|P|2.5\rMSA|AA|late\r\x1c\r");
}

const struct dialect dialect_mllp = {
    .name = "mllp",
    .protocol = &protocol_mllp,
    .request_kinds = KIND(REQUEST_PLAIN) | KIND(REQUEST_REFUSED) | KIND(REQUEST_BROKEN),
    .answer_kinds = KIND(ANSWER_PLAIN),
    .head_limit = 128,
    .local_most = 256,
    .choose = mllp_choose,
    .compose = mllp_compose,
    .identify = text_identify,
    .write_garbage = mllp_write_garbage,
    .write_push = mllp_write_push,
};

/* ---- raw: whose turn it is ---- */

static void raw_choose(struct world *world)
{
    raw_own(&world->protocol_settings)->response_gap = (int64_t)random_between(&world->random, 1, 30);
}

static void raw_compose(struct world *world, struct request *request)
{
    (void)world;
    request->kind = REQUEST_PLAIN;
    put_name(request, &request->bytes);
    put_text_body(request, false, request->size, &request->bytes);
    put_name(request, &request->answer);
    put_text_body(request, true, request->answer_size, &request->answer);
    dialect_pass_on(request);
}

const struct dialect dialect_raw = {
    .name = "raw",
    .protocol = &protocol_raw,
    .request_kinds = KIND(REQUEST_PLAIN),
    .answer_kinds = KIND(ANSWER_PLAIN),
    .has_turns = true,
    .faults = KIND(FAULT_CLIENT_RESET) | KIND(FAULT_CLIENT_NEVER_READS) | KIND(FAULT_CLIENT_BLOCKED) |
              KIND(FAULT_CLIENT_DRAINED) | KIND(FAULT_TARGET_CLOSES) | KIND(FAULT_TARGET_RESETS) |
              KIND(FAULT_TARGET_SILENT) | KIND(FAULT_TARGET_DEAF) | KIND(FAULT_LATE_ANSWERS) |
              KIND(FAULT_STRAY_BYTES) | KIND(FAULT_REFUSED_CONNECTIONS) | KIND(FAULT_SHORT_QUEUE) |
              KIND(FAULT_SHORT_MEMORY) | KIND(FAULT_SHORT_TIMES),
    .head_limit = 48,
    .choose = raw_choose,
    .compose = raw_compose,
    .identify = text_identify,
};
