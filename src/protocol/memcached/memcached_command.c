/* The command lines of clients: which ones go to the target, and what the others are answered.
 *
 * A line goes to the target only if every version of memcached gives it as many answers, in the same form:
 * with one answer too many or too few, all that follow would reach the wrong clients. The words of an error
 * may differ. */
#include "protocol/memcached/memcached.h"

#include "protocol/pass.h"

/* Most words of a line that are kept; a get may have more. memcached 1.6.18 refuses meta commands of more
 * than 19 words, and looks for a noreply up to word 23. */
#define WORDS_MAX ((size_t)19)

#define KEY_MAX ((size_t)250)

/* Largest value: memcached keeps its size, the \r\n included, in an int. */
#define BLOCK_MAX ((uint64_t)INT32_MAX - 2)

#define UNKNOWN    "ERROR\r\n"
#define BAD_FORMAT "CLIENT_ERROR bad command line format\r\n"

struct line {
    struct slice words[WORDS_MAX]; /* the first ones */
    size_t count;                  /* of all words */
    struct slice last;
    size_t length_before_last; /* of the line up to the end of the last word but one */
    bool has_long_key;         /* some word but the first has more than KEY_MAX bytes */
    bool has_control;
    bool begins_with_space;
};

struct rule {
    struct slice name;
    enum memcached_answer answer;
    /* Reads the rest of the line, given also as its words; NULL: any is right, and there is no noreply. */
    void (*read)(struct memcached_command *command, struct line *line, struct slice text);
};

bool memcached_word_next(struct slice *rest, struct slice *word)
{
    while (rest->length > 0 && rest->bytes[0] == ' ')
        slice_skip(rest, 1);
    const char *end = rest->length > 0 ? memchr(rest->bytes, ' ', rest->length) : NULL;
    *word = (struct slice){ rest->bytes, end != NULL ? (size_t)(end - rest->bytes) : rest->length };
    slice_skip(rest, word->length);
    return word->length > 0;
}

enum protocol_outcome memcached_data_read(uint64_t *remaining, struct slice *input, struct buffer *out)
{
    if (*remaining > 2) {
        size_t count = pass_available(input, *remaining - 2);
        pass(input, count, out);
        *remaining -= count;
    }
    for (; *remaining > 0 && *remaining <= 2 && input->length > 0; --*remaining) {
        if (input->bytes[0] != (*remaining == 2 ? '\r' : '\n'))
            return PROTOCOL_BROKEN;
        pass(input, 1, out);
    }
    return *remaining > 0 ? PROTOCOL_MORE : PROTOCOL_COMPLETE;
}

static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.bytes[i] < ' ' || text.bytes[i] == 0x7f)
            return true;
    return false;
}

static void split(struct slice text, struct line *line)
{
    struct slice rest = text, word;
    *line = (struct line){ .has_control = has_control(text) };
    line->begins_with_space = text.length > 0 && text.bytes[0] == ' ';
    while (memcached_word_next(&rest, &word)) {
        if (line->count > 0) {
            line->length_before_last = (size_t)(line->last.bytes + line->last.length - text.bytes);
            line->has_long_key |= word.length > KEY_MAX;
        }
        if (line->count < WORDS_MAX)
            line->words[line->count] = word;
        line->last = word;
        line->count++;
    }
}

static bool is_noreply(struct slice word)
{
    return slice_equal(word, SLICE("noreply"));
}

static void say(struct memcached_command *command, enum memcached_handling handling, const char *text)
{
    command->handling = handling;
    command->text = text;
}

/* Takes a noreply off the line. Which last words memcached takes for a noreply differs from version to
 * version, so none is left there. */
static void take_noreply(struct memcached_command *command, struct line *line, struct slice text)
{
    if (line->count < 2 || !is_noreply(line->last))
        return;
    command->context.is_swallowed = true;
    command->length = line->length_before_last;
    split((struct slice){ text.bytes, command->length }, line);
    if (line->count > 1 && is_noreply(line->last))
        say(command, MEMCACHED_LOCAL, "");
}

/* get key..., gat exptime key... A long key is answered here: memcached (1.6.18 and 1.6.45) answers it with an
 * error and drops its answers to earlier commands that are not sent yet. */
static void read_keys(struct memcached_command *command, struct line *line, struct slice)
{
    size_t first_key = slice_begins_with(line->words[0], SLICE("gat")) ? 2 : 1;
    if (line->count <= first_key)
        say(command, MEMCACHED_LOCAL, UNKNOWN);
    else if (line->has_long_key)
        say(command, MEMCACHED_LOCAL, BAD_FORMAT);
}

static bool is_exptime(struct slice word)
{
    uint64_t number;
    if (word.length > 0 && word.bytes[0] == '-')
        slice_skip(&word, 1);
    return number_parse(word, INT32_MAX, &number);
}

/* name key flags exptime bytes [unique] [noreply]. If memcached does not understand the line, it takes the data
 * for commands, which somebody else may have chosen. So only a line passes that every version understands (some
 * refuse signs, spaces, numbers beyond 32 bits); any other closes the client, as the end of its data is unknown. */
static void read_store(struct memcached_command *command, struct line *line, struct slice text)
{
    uint64_t number;
    bool is_cas = slice_equal(line->words[0], SLICE("cas"));
    take_noreply(command, line, text);
    bool is_right = line->count == (is_cas ? 6 : 5) && !line->has_long_key &&
                    number_parse(line->words[2], UINT32_MAX, &number) && is_exptime(line->words[3]) &&
                    number_parse(line->words[4], BLOCK_MAX, &command->block) &&
                    (!is_cas || number_parse(line->words[5], UINT64_MAX, &number));
    command->context.has_block = true;
    if (!is_right)
        say(command, MEMCACHED_BROKEN, command->context.is_swallowed ? "" : BAD_FORMAT);
}

/* Whether the flag of an ms may keep memcached from reading the data: 1.6.45 does not look for them behind a
 * flag that is no letter, and its error for an F without a number is the one for data that were not found. */
static bool is_strange_flag(struct slice flag)
{
    char c = flag.bytes[0];
    uint64_t number;
    if (c == 'F')
        return !number_parse((struct slice){ flag.bytes + 1, flag.length - 1 }, UINT64_MAX, &number);
    return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
}

/* Flags are told by their first byte. */
static void read_flags(struct memcached_command *command, const struct line *line, size_t first)
{
    for (size_t i = first; i < line->count; i++)
        if (line->words[i].bytes[0] == 'q')
            command->context.answer = MEMCACHED_QUIET;
}

/* name key flag... */
static void read_meta(struct memcached_command *command, struct line *line, struct slice)
{
    if (line->count > 1 && line->words[1].length > KEY_MAX)
        say(command, MEMCACHED_LOCAL, BAD_FORMAT);
    else if (line->count > WORDS_MAX)
        say(command, MEMCACHED_LOCAL, "CLIENT_ERROR options flags are too long\r\n");
    else
        read_flags(command, line, 2);
}

/* name key bytes flag... */
static void read_meta_set(struct memcached_command *command, struct line *line, struct slice)
{
    bool is_right = line->count >= 3 && line->count <= WORDS_MAX && line->words[1].length <= KEY_MAX &&
                    number_parse(line->words[2], BLOCK_MAX, &command->block);
    for (size_t i = 3; is_right && i < line->count; i++)
        is_right = !is_strange_flag(line->words[i]);
    command->context.has_block = true;
    if (is_right)
        read_flags(command, line, 3);
    else
        say(command, MEMCACHED_BROKEN, BAD_FORMAT);
}

/* name ... [noreply] */
static void read_admin(struct memcached_command *command, struct line *line, struct slice text)
{
    if (line->count > WORDS_MAX)
        say(command, MEMCACHED_LOCAL, UNKNOWN);
    else
        take_noreply(command, line, text);
}

/* name key ... [noreply]. In `delete noreply` the word is the key for some versions of memcached only. */
static void read_change(struct memcached_command *command, struct line *line, struct slice text)
{
    if (line->count == 2 && is_noreply(line->last))
        say(command, MEMCACHED_LOCAL, slice_equal(line->words[0], SLICE("delete")) ? BAD_FORMAT : UNKNOWN);
    else
        read_admin(command, line, text);
}

/* name what ... [noreply]. memcached 1.6.45 takes the beginning of a subcommand for all of it ("lru_crawler m"
 * is a dump), so that only these words pass. */
static void read_crawler(struct memcached_command *command, struct line *line, struct slice text)
{
    static const struct {
        struct slice name;
        enum memcached_answer answer;
    } words[] = {
        { SLICE("crawl"), MEMCACHED_ANY },     { SLICE("tocrawl"), MEMCACHED_ANY },
        { SLICE("sleep"), MEMCACHED_ANY },     { SLICE("enable"), MEMCACHED_ANY },
        { SLICE("disable"), MEMCACHED_ANY },   { SLICE("metadump"), MEMCACHED_METADUMP },
        { SLICE("mgdump"), MEMCACHED_MGDUMP },
    };
    read_admin(command, line, text);
    if (command->handling != MEMCACHED_FORWARD)
        return;
    for (size_t i = 0; line->count > 1 && i < sizeof words / sizeof words[0]; i++) {
        if (slice_equal(line->words[1], words[i].name)) {
            command->context.answer = words[i].answer;
            return;
        }
    }
    say(command, MEMCACHED_LOCAL, command->context.is_swallowed ? "" : UNKNOWN);
}

static void read_stats(struct memcached_command *command, struct line *line, struct slice)
{
    if (line->count > 1 && (slice_equal(line->words[1], SLICE("sizes_enable")) ||
                            slice_equal(line->words[1], SLICE("sizes_disable"))))
        command->context.answer = MEMCACHED_SIZES;
}

/* Commands that are answered here, with the same words always. The answer to `watch` never ends, and `shutdown`
 * would end the target for everybody. */
static void read_special(struct memcached_command *command, struct line *line, struct slice)
{
    command->is_mn = slice_equal(line->words[0], SLICE("mn"));
    command->is_quit = slice_equal(line->words[0], SLICE("quit"));
    command->is_refused = !command->is_mn && !command->is_quit;
    bool is_watch = slice_equal(line->words[0], SLICE("watch"));
    say(command, MEMCACHED_LOCAL,
        command->is_mn     ? "MN\r\n"
        : command->is_quit ? ""
        : is_watch         ? "CLIENT_ERROR watch commands not allowed\r\n"
                           : "ERROR: shutdown not enabled\r\n");
}

/* Every command and what becomes of it; a command that is not here, `misbehave` and `debugtime` of a build
 * for tests included, is answered ERROR here, as memcached answers what it does not know. What is refused is
 * answered in the words of a memcached that does not allow it. */
static const struct rule rules[] = {
    { SLICE("get"), MEMCACHED_VALUES, read_keys },
    { SLICE("set"), MEMCACHED_STORE, read_store },
    { SLICE("mg"), MEMCACHED_META, read_meta },
    { SLICE("ms"), MEMCACHED_META, read_meta_set },
    { SLICE("mn"), MEMCACHED_META, read_special },
    { SLICE("md"), MEMCACHED_META, read_meta },
    { SLICE("ma"), MEMCACHED_META, read_meta },
    { SLICE("gets"), MEMCACHED_VALUES, read_keys },
    { SLICE("gat"), MEMCACHED_VALUES, read_keys },
    { SLICE("gats"), MEMCACHED_VALUES, read_keys },
    { SLICE("add"), MEMCACHED_STORE, read_store },
    { SLICE("replace"), MEMCACHED_STORE, read_store },
    { SLICE("append"), MEMCACHED_STORE, read_store },
    { SLICE("prepend"), MEMCACHED_STORE, read_store },
    { SLICE("cas"), MEMCACHED_STORE, read_store },
    { SLICE("delete"), MEMCACHED_CHANGE, read_change },
    { SLICE("incr"), MEMCACHED_CHANGE, read_change },
    { SLICE("decr"), MEMCACHED_CHANGE, read_change },
    { SLICE("touch"), MEMCACHED_CHANGE, read_change },
    { SLICE("version"), MEMCACHED_VERSION, NULL },
    { SLICE("quit"), MEMCACHED_ANY, read_special },
    { SLICE("stats"), MEMCACHED_STATS, read_stats },
    { SLICE("me"), MEMCACHED_DEBUG, NULL },
    { SLICE("flush_all"), MEMCACHED_ANY, read_admin },
    { SLICE("verbosity"), MEMCACHED_ANY, read_admin },
    { SLICE("cache_memlimit"), MEMCACHED_ANY, read_admin },
    { SLICE("slabs"), MEMCACHED_ANY, read_admin },
    { SLICE("lru"), MEMCACHED_ANY, read_admin },
    { SLICE("lru_crawler"), MEMCACHED_ANY, read_crawler },
    { SLICE("extstore"), MEMCACHED_ANY, read_admin },
    { SLICE("refresh_certs"), MEMCACHED_ANY, read_admin },
    { SLICE("watch"), MEMCACHED_ANY, read_special },
    { SLICE("shutdown"), MEMCACHED_ANY, read_special },
};

static const struct rule *find_rule(struct slice name)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (slice_equal(rules[i].name, name))
            return &rules[i];
    return NULL;
}

struct memcached_command memcached_command_read(struct slice text)
{
    struct memcached_command command = { .handling = MEMCACHED_FORWARD, .length = text.length };
    struct line line;
    split(text, &line);
    const struct rule *rule = line.count > 0 ? find_rule(line.words[0]) : NULL;
    if (line.has_control || (line.begins_with_space && rule != NULL)) {
        /* NUL ends a line for some versions, a leading space makes it another command. */
        say(&command, MEMCACHED_BROKEN, BAD_FORMAT);
    } else if (rule == NULL && slice_begins_with(line.last, SLICE("HTTP/"))) {
        /* memcached closes on a request of HTTP, in whose body a browser may have been made to send commands. */
        say(&command, MEMCACHED_BROKEN, "");
    } else if (rule == NULL) {
        say(&command, MEMCACHED_LOCAL, UNKNOWN);
    } else {
        command.context.answer = rule->answer;
        if (rule->read != NULL)
            rule->read(&command, &line, text);
    }
    return command;
}
