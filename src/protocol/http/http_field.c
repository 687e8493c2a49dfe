#include "protocol/http/http_field.h"

#include <strings.h>

const bool http_token_bytes[256] = {
    ['!'] = true,         ['#' ... '\''] = true, ['*' ... '+'] = true,
    ['-' ... '.'] = true, ['0' ... '9'] = true,  ['A' ... 'Z'] = true,
    ['^' ... 'z'] = true, ['|'] = true,          ['~'] = true,
};

const bool http_text_bytes[256] = {
    ['\t'] = true,
    [' ' ... '~'] = true,
    [0x80 ... 0xff] = true,
};

/* unreserved and sub-delims of RFC 3986 without the comma; "%" is looked at apart. */
static const bool host_bytes[256] = {
    ['!'] = true,         ['$'] = true,         ['&' ... '+'] = true, ['-' ... '.'] = true,
    ['0' ... '9'] = true, [';'] = true,         ['='] = true,         ['A' ... 'Z'] = true,
    ['_'] = true,         ['a' ... 'z'] = true, ['~'] = true,
};

static const struct {
    struct slice word;
    enum http_name name;
} names[] = {
    { { "host", 4 }, HTTP_HOST },
    { { "connection", 10 }, HTTP_CONNECTION },
    { { "content-length", 14 }, HTTP_CONTENT_LENGTH },
    { { "transfer-encoding", 17 }, HTTP_TRANSFER_ENCODING },
    { { "expect", 6 }, HTTP_EXPECT },
    { { "authorization", 13 }, HTTP_AUTHORIZATION },
    { { "proxy-authorization", 19 }, HTTP_PROXY_AUTHORIZATION },
    { { "keep-alive", 10 }, HTTP_KEEP_ALIVE },
    { { "proxy-connection", 16 }, HTTP_PROXY_CONNECTION },
    { { "te", 2 }, HTTP_TE },
    { { "upgrade", 7 }, HTTP_UPGRADE },
    { { "http2-settings", 14 }, HTTP_HTTP2_SETTINGS },
};

/* Whether they are the same but for case and "_" for "-". */
static bool is_disguise(struct slice name, const char *word)
{
    for (size_t i = 0; i < name.length; i++) {
        char c = name.bytes[i];
        if (c == '_' ? word[i] != '-' : strncasecmp(&c, &word[i], 1) != 0)
            return false;
    }
    return true;
}

enum http_name http_name_of(struct slice name)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].word.length != name.length)
            continue;
        if (strncasecmp(names[i].word.bytes, name.bytes, name.length) == 0)
            return names[i].name;
        if (is_disguise(name, names[i].word.bytes))
            return HTTP_DISGUISED;
    }
    return HTTP_OTHER;
}

bool http_name_is_hop(enum http_name name)
{
    return name == HTTP_CONNECTION || (name >= HTTP_KEEP_ALIVE && name <= HTTP_HTTP2_SETTINGS);
}

bool http_word_is(struct slice text, const char *word)
{
    return strlen(word) == text.length && strncasecmp(text.bytes, word, text.length) == 0;
}

bool http_is_token(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!http_token_bytes[(unsigned char)text.bytes[i]])
            return false;
    return text.length > 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

struct slice http_trim(struct slice text)
{
    while (text.length > 0 && is_space(text.bytes[0]))
        slice_skip(&text, 1);
    while (text.length > 0 && is_space(text.bytes[text.length - 1]))
        text.length--;
    return text;
}

bool http_next_element(struct slice *list, struct slice *element)
{
    while (list->length > 0) {
        const char *comma = memchr(list->bytes, ',', list->length);
        size_t length = comma != NULL ? (size_t)(comma - list->bytes) : list->length;
        *element = http_trim((struct slice){ list->bytes, length });
        slice_skip(list, comma != NULL ? length + 1 : length);
        if (element->length > 0)
            return true;
    }
    return false;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* How many bytes of the text are an IP literal in brackets, or a name or address; 0: neither. */
static size_t host_length(struct slice text)
{
    size_t i = 0;
    if (text.length > 0 && text.bytes[0] == '[') {
        for (i = 1; i < text.length && (is_hex(text.bytes[i]) || strchr(":.", text.bytes[i]) != NULL); i++)
            continue;
        return i > 1 && i < text.length && text.bytes[i] == ']' ? i + 1 : 0;
    }
    while (i < text.length) {
        if (text.bytes[i] == '%' && text.length - i > 2 && is_hex(text.bytes[i + 1]) &&
            is_hex(text.bytes[i + 2]))
            i += 3;
        else if (host_bytes[(unsigned char)text.bytes[i]])
            i++;
        else
            break;
    }
    return i;
}

bool http_is_authority(struct slice text)
{
    size_t length = host_length(text);
    if (length == 0)
        return false;
    slice_skip(&text, length);
    if (text.length == 0)
        return true;
    if (text.bytes[0] != ':' || text.length > 6)
        return false;
    for (size_t i = 1; i < text.length; i++)
        if (text.bytes[i] < '0' || text.bytes[i] > '9')
            return false;
    return true;
}
