/* The command lines of clients: which ones go to the target, and what the others are answered.
 *
 * A line goes to the target only if every version of memcached gives it as many answers, in the same form:
 * with one answer too many or too few, all that follow would reach the wrong clients. The words of an error
 * may differ. */
#include "protocol/memcached/memcached.h"

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

/* How a command is read. */
enum form {
    FORM_RETRIEVE, /* name key... */
    FORM_TOUCH,    /* name exptime key... */
    FORM_STORE,    /* name key flags exptime bytes [noreply] */
    FORM_CAS,      /* name key flags exptime bytes unique [noreply] */
    FORM_CHANGE,   /* name key ... [noreply] */
    FORM_META,     /* name key flag... */
    FORM_META_SET, /* name key bytes flag... */
    FORM_PLAIN,    /* name ...; there is no noreply */
    FORM_STATS,    /* stats [what ...]; likewise */
    FORM_ADMIN,    /* name ... [noreply] */
    FORM_CRAWLER,  /* name what ... [noreply] */
    FORM_MN,
    FORM_QUIT,
    FORM_REFUSED, /* `text` is said */
};

struct rule {
    struct slice name;
    enum form form;
    enum memcached_answer answer;
    const char *text;
};

/* Every command and what becomes of it; a command that is not here, `misbehave` and `debugtime` of a build
 * for tests included, is answered ERROR here, as memcached answers what it does not know. FORM_REFUSED: the
 * answer to `watch` never ends, and `shutdown` would end the target for everybody; they are answered in the
 * words of a memcached that does not allow them. */
static const struct rule rules[] = {
    { SLICE("get"), FORM_RETRIEVE, MEMCACHED_VALUES, NULL },
    { SLICE("set"), FORM_STORE, MEMCACHED_STORE, NULL },
    { SLICE("mg"), FORM_META, MEMCACHED_META, NULL },
    { SLICE("ms"), FORM_META_SET, MEMCACHED_META, NULL },
    { SLICE("mn"), FORM_MN, MEMCACHED_META, NULL },
    { SLICE("md"), FORM_META, MEMCACHED_META, NULL },
    { SLICE("ma"), FORM_META, MEMCACHED_META, NULL },
    { SLICE("gets"), FORM_RETRIEVE, MEMCACHED_VALUES, NULL },
    { SLICE("gat"), FORM_TOUCH, MEMCACHED_VALUES, NULL },
    { SLICE("gats"), FORM_TOUCH, MEMCACHED_VALUES, NULL },
    { SLICE("add"), FORM_STORE, MEMCACHED_STORE, NULL },
    { SLICE("replace"), FORM_STORE, MEMCACHED_STORE, NULL },
    { SLICE("append"), FORM_STORE, MEMCACHED_STORE, NULL },
    { SLICE("prepend"), FORM_STORE, MEMCACHED_STORE, NULL },
    { SLICE("cas"), FORM_CAS, MEMCACHED_STORE, NULL },
    { SLICE("delete"), FORM_CHANGE, MEMCACHED_CHANGE, NULL },
    { SLICE("incr"), FORM_CHANGE, MEMCACHED_CHANGE, NULL },
    { SLICE("decr"), FORM_CHANGE, MEMCACHED_CHANGE, NULL },
    { SLICE("touch"), FORM_CHANGE, MEMCACHED_CHANGE, NULL },
    { SLICE("version"), FORM_PLAIN, MEMCACHED_VERSION, NULL },
    { SLICE("quit"), FORM_QUIT, MEMCACHED_ANY, NULL },
    { SLICE("stats"), FORM_STATS, MEMCACHED_STATS, NULL },
    { SLICE("me"), FORM_PLAIN, MEMCACHED_DEBUG, NULL },
    { SLICE("flush_all"), FORM_ADMIN, MEMCACHED_ANY, NULL },
    { SLICE("verbosity"), FORM_ADMIN, MEMCACHED_ANY, NULL },
    { SLICE("cache_memlimit"), FORM_ADMIN, MEMCACHED_ANY, NULL },
    { SLICE("slabs"), FORM_ADMIN, MEMCACHED_ANY, NULL },
    { SLICE("lru"), FORM_ADMIN, MEMCACHED_ANY, NULL },
    { SLICE("lru_crawler"), FORM_CRAWLER, MEMCACHED_ANY, NULL },
    { SLICE("extstore"), FORM_ADMIN, MEMCACHED_ANY, NULL },
    { SLICE("refresh_certs"), FORM_ADMIN, MEMCACHED_ANY, NULL },
    { SLICE("watch"), FORM_REFUSED, MEMCACHED_ANY, "CLIENT_ERROR watch commands not allowed\r\n" },
    { SLICE("shutdown"), FORM_REFUSED, MEMCACHED_ANY, "ERROR: shutdown not enabled\r\n" },
};

/* The subcommands of lru_crawler. memcached 1.6.45 takes the beginning of one for all of it ("lru_crawler m"
 * is a dump), so that only these words pass. */
static const struct {
    struct slice name;
    enum memcached_answer answer;
} crawler_words[] = {
    { SLICE("crawl"), MEMCACHED_ANY },     { SLICE("tocrawl"), MEMCACHED_ANY },
    { SLICE("sleep"), MEMCACHED_ANY },     { SLICE("enable"), MEMCACHED_ANY },
    { SLICE("disable"), MEMCACHED_ANY },   { SLICE("metadump"), MEMCACHED_METADUMP },
    { SLICE("mgdump"), MEMCACHED_MGDUMP },
};

struct slice memcached_line_text(struct slice line)
{
    line.length--;
    if (line.length > 0 && line.bytes[line.length - 1] == '\r')
        line.length--;
    return line;
}

bool memcached_word_next(struct slice *rest, struct slice *word)
{
    while (rest->length > 0 && rest->bytes[0] == ' ')
        slice_skip(rest, 1);
    const char *end = rest->length > 0 ? memchr(rest->bytes, ' ', rest->length) : NULL;
    *word = (struct slice){ rest->bytes, end != NULL ? (size_t)(end - rest->bytes) : rest->length };
    slice_skip(rest, word->length);
    return word->length > 0;
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

/* A long key is answered here: memcached (1.6.18 and 1.6.45) answers it with an error and drops its answers
 * to earlier commands that are not sent yet. */
static void read_retrieve(struct memcached_command *command, const struct line *line, size_t first_key)
{
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

/* The line of a command with data. If memcached does not understand the line, it takes the data for commands,
 * which somebody else may have chosen. So only a line passes that every version understands (signs, spaces
 * and numbers beyond 32 bits are refused by some), and any other closes the client, since the end of its data
 * is not known. */
static void read_store(struct memcached_command *command, const struct line *line, bool is_cas)
{
    uint64_t number;
    bool is_right = line->count == (is_cas ? 6 : 5) && !line->has_long_key &&
                    number_parse(line->words[2], UINT32_MAX, &number) && is_exptime(line->words[3]) &&
                    number_parse(line->words[4], BLOCK_MAX, &command->block) &&
                    (!is_cas || number_parse(line->words[5], UINT64_MAX, &number));
    command->context.has_block = true;
    if (!is_right)
        say(command, MEMCACHED_BROKEN, command->context.is_swallowed ? "" : BAD_FORMAT);
}

/* Flags are told by their first byte. */
static bool has_quiet_flag(const struct line *line, size_t first)
{
    for (size_t i = first; i < line->count && i < WORDS_MAX; i++)
        if (line->words[i].bytes[0] == 'q')
            return true;
    return false;
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

static bool has_strange_flag(const struct line *line, size_t first)
{
    for (size_t i = first; i < line->count; i++)
        if (is_strange_flag(line->words[i]))
            return true;
    return false;
}

static void mark_quiet(struct memcached_command *command)
{
    command->is_quiet = true;
    command->context.answer = MEMCACHED_QUIET;
}

static void read_meta(struct memcached_command *command, const struct line *line)
{
    if (line->count > 1 && line->words[1].length > KEY_MAX)
        say(command, MEMCACHED_LOCAL, BAD_FORMAT);
    else if (line->count > WORDS_MAX)
        say(command, MEMCACHED_LOCAL, "CLIENT_ERROR options flags are too long\r\n");
    else if (has_quiet_flag(line, 2))
        mark_quiet(command);
}

static void read_meta_set(struct memcached_command *command, const struct line *line)
{
    command->context.has_block = true;
    if (line->count < 3 || line->count > WORDS_MAX || line->words[1].length > KEY_MAX ||
        !number_parse(line->words[2], BLOCK_MAX, &command->block) || has_strange_flag(line, 3))
        say(command, MEMCACHED_BROKEN, BAD_FORMAT);
    else if (has_quiet_flag(line, 3))
        mark_quiet(command);
}

static void read_crawler(struct memcached_command *command, const struct line *line)
{
    for (size_t i = 0; line->count > 1 && i < sizeof crawler_words / sizeof crawler_words[0]; i++) {
        if (slice_equal(line->words[1], crawler_words[i].name)) {
            command->context.answer = crawler_words[i].answer;
            return;
        }
    }
    say(command, MEMCACHED_LOCAL, command->context.is_swallowed ? "" : UNKNOWN);
}

/* A command that may end with noreply. In `delete noreply` the word is the key for some versions of memcached
 * only. */
static void read_with_noreply(struct memcached_command *command, struct line *line, enum form form,
                              struct slice text)
{
    if (line->count > WORDS_MAX)
        say(command, MEMCACHED_LOCAL, UNKNOWN);
    else if (form == FORM_CHANGE && line->count == 2 && is_noreply(line->last))
        say(command, MEMCACHED_LOCAL, slice_equal(line->words[0], SLICE("delete")) ? BAD_FORMAT : UNKNOWN);
    else
        take_noreply(command, line, text);
    if (command->handling != MEMCACHED_FORWARD)
        return;
    if (form == FORM_CRAWLER)
        read_crawler(command, line);
}

static void read_form(struct memcached_command *command, struct line *line, const struct rule *rule,
                      struct slice text)
{
    switch (rule->form) {
    case FORM_RETRIEVE:
        read_retrieve(command, line, 1);
        break;
    case FORM_TOUCH:
        read_retrieve(command, line, 2);
        break;
    case FORM_STORE:
    case FORM_CAS:
        take_noreply(command, line, text);
        read_store(command, line, rule->form == FORM_CAS);
        break;
    case FORM_CHANGE:
    case FORM_ADMIN:
    case FORM_CRAWLER:
        read_with_noreply(command, line, rule->form, text);
        break;
    case FORM_META:
        read_meta(command, line);
        break;
    case FORM_META_SET:
        read_meta_set(command, line);
        break;
    case FORM_STATS:
        if (line->count > 1 && (slice_equal(line->words[1], SLICE("sizes_enable")) ||
                                slice_equal(line->words[1], SLICE("sizes_disable"))))
            command->context.answer = MEMCACHED_SIZES;
        break;
    case FORM_PLAIN:
        break;
    case FORM_MN:
        command->is_mn = true;
        say(command, MEMCACHED_LOCAL, "MN\r\n");
        break;
    case FORM_QUIT:
        command->is_quit = true;
        say(command, MEMCACHED_LOCAL, "");
        break;
    case FORM_REFUSED:
        command->is_refused = true;
        say(command, MEMCACHED_LOCAL, rule->text);
        break;
    }
}

static const struct rule *find_rule(struct slice name)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (slice_equal(rules[i].name, name))
            return &rules[i];
    return NULL;
}

/* memcached answers ERROR to a command that it does not know, and closes on a request of HTTP, in whose body
 * a browser may have been made to send commands. */
static void read_unknown(struct memcached_command *command, const struct line *line)
{
    if (line->last.length >= 5 && memcmp(line->last.bytes, "HTTP/", 5) == 0)
        say(command, MEMCACHED_BROKEN, "");
    else
        say(command, MEMCACHED_LOCAL, UNKNOWN);
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
    } else if (rule == NULL) {
        read_unknown(&command, &line);
    } else {
        command.context.answer = rule->answer;
        read_form(&command, &line, rule, text);
    }
    return command;
}
