/* The answers of memcached. The first word of a line tells what it is, and only words pass that can be part
 * of an answer to the command in question: any other shows that requests and answers are out of step, and
 * breaks the connection before somebody gets it. */
#include "protocol/memcached/memcached.h"

#include "protocol/describe.h"
#include "protocol/pass.h"

#define VALUE_MAX ((uint64_t)UINT32_MAX)

#define TO(answer)    (1u << (answer))
#define ONE_LINE_META (TO(MEMCACHED_META) | TO(MEMCACHED_QUIET))

enum role {
    ROLE_STRAY, /* not to be expected */
    ROLE_NEXT,  /* further lines follow */
    ROLE_LAST,  /* ends the answer */
    ROLE_DATA,  /* data follow */
};

/* The first words of lines, the answers that they can be part of, and their role there. 1.6.9 says OK where
 * later versions say HD. */
static const struct {
    struct slice word;
    unsigned answers;
    enum role role;
} words[] = {
    { SLICE("VALUE"), TO(MEMCACHED_VALUES), ROLE_DATA },
    { SLICE("END"), TO(MEMCACHED_VALUES) | TO(MEMCACHED_STATS) | TO(MEMCACHED_METADUMP), ROLE_LAST },
    { SLICE("STORED"), TO(MEMCACHED_STORE), ROLE_LAST },
    { SLICE("VA"), ONE_LINE_META, ROLE_DATA },
    { SLICE("HD"), ONE_LINE_META, ROLE_LAST },
    { SLICE("EN"), ONE_LINE_META | TO(MEMCACHED_DEBUG) | TO(MEMCACHED_MGDUMP), ROLE_LAST },
    { SLICE("NF"), ONE_LINE_META, ROLE_LAST },
    { SLICE("NS"), ONE_LINE_META, ROLE_LAST },
    { SLICE("EX"), ONE_LINE_META, ROLE_LAST },
    { SLICE("ME"), TO(MEMCACHED_DEBUG), ROLE_LAST },
    { SLICE("STAT"), TO(MEMCACHED_STATS), ROLE_NEXT },
    { SLICE("ITEM"), TO(MEMCACHED_STATS), ROLE_NEXT },
    { SLICE("PREFIX"), TO(MEMCACHED_STATS), ROLE_NEXT },
    { SLICE("RESET"), TO(MEMCACHED_STATS), ROLE_LAST },
    { SLICE("OK"), TO(MEMCACHED_METADUMP) | TO(MEMCACHED_MGDUMP), ROLE_NEXT },
    { SLICE("OK"), ONE_LINE_META | TO(MEMCACHED_STATS), ROLE_LAST },
    { SLICE("NOT_FOUND"), TO(MEMCACHED_STORE) | TO(MEMCACHED_CHANGE), ROLE_LAST },
    { SLICE("NOT_STORED"), TO(MEMCACHED_STORE), ROLE_LAST },
    { SLICE("EXISTS"), TO(MEMCACHED_STORE), ROLE_LAST },
    { SLICE("DELETED"), TO(MEMCACHED_CHANGE), ROLE_LAST },
    { SLICE("TOUCHED"), TO(MEMCACHED_CHANGE), ROLE_LAST },
    { SLICE("VERSION"), TO(MEMCACHED_VERSION), ROLE_LAST },
    { SLICE("mg"), TO(MEMCACHED_MGDUMP), ROLE_NEXT },
    { SLICE("BUSY"), TO(MEMCACHED_METADUMP) | TO(MEMCACHED_MGDUMP), ROLE_LAST },
    { SLICE("BADCLASS"), TO(MEMCACHED_METADUMP) | TO(MEMCACHED_MGDUMP), ROLE_LAST },
    { SLICE("NOTSTARTED"), TO(MEMCACHED_METADUMP) | TO(MEMCACHED_MGDUMP), ROLE_LAST },
};

/* Errors after which the connection can't be used any more, and the answers of which that is true. */
static const struct {
    struct slice text;
    unsigned answers;
    bool with_block; /* only if the command came with data */
} spoilers[] = {
    /* memcached wants credentials, and takes data for commands until it has them. */
    { SLICE("CLIENT_ERROR unauthenticated"), ~0u, false },
    /* memcached has thrown away its answers to the commands before that one, so that this error may stand in
     * the place of another answer. A long key has the same effect, but none is sent. */
    { SLICE("SERVER_ERROR out of memory writing get response"), ~0u, false },
    { SLICE("CLIENT_ERROR bad command line format"), TO(MEMCACHED_VALUES), false },
    /* memcached knows no meta commands, so that no MN will come. */
    { SLICE("ERROR"), TO(MEMCACHED_QUIET), false },
    /* memcached did not understand the line (ms before 1.6.10), and takes the data for commands. */
    { SLICE("ERROR"), ~0u, true },
    { SLICE("CLIENT_ERROR bad command line format"), ~0u, true },
    { SLICE("CLIENT_ERROR bad data chunk"), ~0u, true },
    { SLICE("CLIENT_ERROR invalid flag"), ~0u, true },
};

static bool is_spoiler(const struct memcached_context *context, struct slice text)
{
    for (size_t i = 0; i < sizeof spoilers / sizeof spoilers[0]; i++)
        if ((spoilers[i].answers & TO(context->answer)) != 0 &&
            (context->has_block || !spoilers[i].with_block) && slice_equal(text, spoilers[i].text))
            return true;
    return false;
}

/* ERROR, "ERROR too bad", "ERROR: too bad"; CLIENT_ERROR and SERVER_ERROR likewise. */
static bool is_error(struct slice word)
{
    if (word.length > 0 && word.bytes[word.length - 1] == ':')
        word.length--;
    return slice_equal(word, SLICE("ERROR")) || slice_equal(word, SLICE("CLIENT_ERROR")) ||
           slice_equal(word, SLICE("SERVER_ERROR"));
}

/* The role of a line whose first word does not tell it. */
static enum role role_of_others(enum memcached_answer answer, struct slice text, struct slice word)
{
    if (answer == MEMCACHED_SIZES && slice_equal(word, SLICE("STAT")))
        return slice_equal(text, SLICE("STAT sizes_status error")) ? ROLE_NEXT : ROLE_LAST;
    if (answer == MEMCACHED_ANY)
        return ROLE_LAST;
    if (answer == MEMCACHED_CHANGE && word.bytes[0] >= '0' && word.bytes[0] <= '9')
        return ROLE_LAST;
    if (answer == MEMCACHED_METADUMP && word.length >= 4 && memcmp(word.bytes, "key=", 4) == 0)
        return ROLE_NEXT;
    return ROLE_STRAY;
}

static enum role role_of(const struct memcached_context *context, struct slice text, struct slice word)
{
    if (word.length == 0)
        return ROLE_STRAY;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if ((words[i].answers & TO(context->answer)) != 0 && slice_equal(words[i].word, word))
            return words[i].role;
    return is_error(word) ? ROLE_LAST : role_of_others(context->answer, text, word);
}

/* VALUE key flags bytes [unique], VA bytes flag... */
static bool read_value_line(const struct memcached_context *context, struct slice text, uint64_t *bytes)
{
    struct slice word = { 0 };
    int place = context->answer == MEMCACHED_VALUES ? 3 : 1;
    for (int i = 0; i <= place; i++)
        if (!memcached_word_next(&text, &word))
            return false;
    return number_parse(word, VALUE_MAX, bytes);
}

static void give(struct buffer *out, struct slice bytes)
{
    if (out != NULL)
        buffer_append(out, bytes.bytes, bytes.length);
}

/* The end of a line, or, of a very long one, of its beginning. */
static enum protocol_outcome end_line(const struct memcached_context *context,
                                      struct memcached_connection *connection,
                                      struct protocol_request *request, struct slice line, bool is_whole,
                                      struct buffer *out)
{
    struct slice text = is_whole ? describe_line_of(line) : line;
    struct slice rest = text, word;
    bool is_quiet = context->answer == MEMCACHED_QUIET;
    memcached_word_next(&rest, &word);
    if (word.bytes != text.bytes) /* a space was before it */
        return PROTOCOL_BROKEN;
    if (is_quiet && is_whole && slice_equal(text, SLICE("MN"))) {
        if (context->has_client_mn)
            give(out, line);
        return PROTOCOL_COMPLETE;
    }
    enum role role = role_of(context, text, word);
    bool spoils = role != ROLE_DATA && is_spoiler(context, text);
    if (role == ROLE_STRAY ||
        (role == ROLE_DATA && (!is_whole || !read_value_line(context, text, &connection->block))))
        return PROTOCOL_BROKEN;
    if (is_quiet && spoils) /* nothing tells which command it answers, nor where the answers of the run end */
        return PROTOCOL_BROKEN;
    give(out, line);
    connection->block += role == ROLE_DATA ? 2 : 0;
    connection->in_rest = !is_whole;
    connection->is_last =
        !is_quiet && (role == ROLE_LAST || (role == ROLE_DATA && context->answer == MEMCACHED_META));
    request->closes_target = request->closes_target || spoils;
    return connection->is_last && role == ROLE_LAST && is_whole ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
}

/* Collects a line until its end is there or `line` is full. */
static enum protocol_outcome read_line(const struct memcached_context *context,
                                       struct memcached_connection *connection,
                                       struct protocol_request *request, struct slice *input,
                                       struct buffer *out)
{
    size_t count = pass_available(input, sizeof connection->line - connection->length);
    const char *newline = memchr(input->bytes, '\n', count);
    if (newline != NULL)
        count = (size_t)(newline - input->bytes) + 1;
    memcpy(connection->line + connection->length, input->bytes, count);
    slice_skip(input, count);
    connection->looked_at += count;
    connection->length += count;
    if (newline == NULL && connection->length < sizeof connection->line)
        return PROTOCOL_MORE;
    struct slice line = { connection->line, connection->length };
    connection->length = 0;
    return end_line(context, connection, request, line, newline != NULL, out);
}

static enum protocol_outcome read_rest(struct memcached_connection *connection, struct slice *input,
                                       struct buffer *out)
{
    const char *newline = memchr(input->bytes, '\n', input->length);
    size_t count = newline != NULL ? (size_t)(newline - input->bytes) + 1 : input->length;
    pass(input, count, out);
    connection->looked_at += count;
    connection->in_rest = newline == NULL;
    return newline != NULL ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
}

enum protocol_outcome memcached_answer_read(const struct protocol_settings *, void *state,
                                            struct protocol_request *request, struct slice *input,
                                            struct buffer *out, uint64_t *)
{
    struct memcached_connection *connection = state;
    struct memcached_context context = memcached_context(request);
    enum protocol_outcome outcome = PROTOCOL_MORE;
    if (context.is_swallowed)
        out = NULL;
    while (outcome == PROTOCOL_MORE && input->length > 0) {
        if (connection->block == 0 && !connection->in_rest) {
            outcome = read_line(&context, connection, request, input, out);
            continue;
        }
        outcome = connection->in_rest ? read_rest(connection, input, out)
                                      : memcached_data_read(&connection->block, input, out);
        if (outcome == PROTOCOL_COMPLETE && !connection->is_last)
            outcome = PROTOCOL_MORE;
    }
    if (outcome == PROTOCOL_COMPLETE)
        connection->is_last = false;
    return outcome;
}
