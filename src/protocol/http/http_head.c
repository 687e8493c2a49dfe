#include "protocol/http/http_head.h"

#include "protocol/http/http_field.h"
#include "protocol/number.h"

#include <strings.h>

/* ---- The end of a head -------------------------------------------------------------------------------- */

enum { LINE_START, LINE, LINE_CR, LAST_CR };

/* The state after a byte that is not amid a line's text; -1 if it must not be there. */
static int next_state(unsigned state, unsigned char c)
{
    switch (state) {
    case LINE_START:
        return c == '\r' ? LAST_CR : http_text_bytes[c] ? LINE : -1;
    case LINE:
        return c == '\r' ? LINE_CR : -1;
    default:
        return c == '\n' ? LINE_START : -1;
    }
}

enum http_scan http_scan(struct http_scanner *scanner, struct slice bytes, size_t *used)
{
    enum http_scan result = HTTP_SCAN_MORE;
    size_t i = 0;
    while (i < bytes.length && result == HTTP_SCAN_MORE) {
        unsigned char c = (unsigned char)bytes.bytes[i++];
        if (scanner->state == LINE && http_text_bytes[c])
            continue;
        int next = next_state(scanner->state, c);
        if (next < 0)
            result = HTTP_SCAN_BAD;
        else if (scanner->state == LAST_CR)
            result = HTTP_SCAN_END;
        scanner->state = next < 0 ? LINE_START : (unsigned char)next;
    }
    scanner->looked_at += i;
    *used = i;
    return result;
}

/* Takes the next line off a head, without its CRLF. False at the empty one. */
static bool next_line(struct slice *head, struct slice *line)
{
    const char *end = memchr(head->bytes, '\n', head->length);
    if (end == NULL || end - head->bytes < 2)
        return false;
    *line = (struct slice){ head->bytes, (size_t)(end - head->bytes) - 1 };
    slice_skip(head, line->length + 2);
    return true;
}

/* ---- Fields ------------------------------------------------------------------------------------------- */

/* Splits a field line. NULL, or what is wrong. */
static const char *split_field(struct slice line, struct slice *name, struct slice *value)
{
    size_t length = 0;
    while (length < line.length && http_token_bytes[(unsigned char)line.bytes[length]])
        length++;
    if (length == 0 && (line.bytes[0] == ' ' || line.bytes[0] == '\t'))
        return "a folded field";
    if (length == 0 || length == line.length || line.bytes[length] != ':')
        return "a malformed field name";
    *name = (struct slice){ line.bytes, length };
    slice_skip(&line, length + 1);
    *value = http_trim(line);
    return NULL;
}

static const char *read_connection(struct slice value, struct http_head *head)
{
    struct slice option;
    while (http_next_element(&value, &option)) {
        if (http_word_is(option, "close")) {
            head->closes = true;
            continue;
        }
        enum http_name name = http_name_of(option);
        if (name == HTTP_KEEP_ALIVE)
            head->keeps_alive = true;
        else if (name == HTTP_CONNECTION || !http_name_is_hop(name))
            return "Connection names a field that is not its own";
    }
    return NULL;
}

static const char *read_content_length(struct slice value, struct http_head *head)
{
    if (head->has_length)
        return "more than one Content-Length";
    if (!number_parse(value, INT64_MAX, &head->length))
        return "a malformed Content-Length";
    head->has_length = true;
    return NULL;
}

static bool is_compression(struct slice coding)
{
    return http_word_is(coding, "gzip") || http_word_is(coding, "x-gzip") ||
           http_word_is(coding, "compress") || http_word_is(coding, "x-compress") ||
           http_word_is(coding, "deflate");
}

static const char *read_transfer_encoding(struct slice value, struct http_head *head)
{
    struct slice coding;
    if (head->chunked || head->compressed)
        return "more than one Transfer-Encoding";
    if (http_word_is(value, "chunked")) {
        head->chunked = true;
        return NULL;
    }
    while (http_next_element(&value, &coding) && is_compression(coding))
        head->compressed = true;
    if (!head->compressed || !http_word_is(coding, "chunked") || value.length > 0)
        return "a malformed Transfer-Encoding";
    return NULL;
}

static void read_expect(struct slice value, struct http_head *head)
{
    struct slice expectation;
    while (http_next_element(&value, &expectation)) {
        if (http_word_is(expectation, "100-continue"))
            head->expects_continue = true;
        else
            head->expects_other = true;
    }
}

static void read_authorization(struct slice value, struct http_head *head)
{
    struct slice scheme = value;
    for (scheme.length = 0; scheme.length < value.length; scheme.length++)
        if (!http_token_bytes[(unsigned char)value.bytes[scheme.length]])
            break;
    if (http_word_is(scheme, "NTLM") || http_word_is(scheme, "Negotiate"))
        head->logs_in_connection = true;
}

static const char *read_field(struct slice line, struct http_head *head)
{
    struct slice field, value;
    const char *fault = split_field(line, &field, &value);
    if (fault != NULL)
        return fault;
    enum http_name name = http_name_of(field);
    if (http_name_is_hop(name) || name == HTTP_EXPECT)
        head->has_hops = true;
    /* Some parsers take a tab behind the value for a part of it. */
    if ((name == HTTP_CONTENT_LENGTH || name == HTTP_TRANSFER_ENCODING) &&
        memchr(line.bytes, '\t', line.length) != NULL)
        return "a tab in Content-Length or Transfer-Encoding";
    switch (name) {
    case HTTP_CONNECTION:
        return read_connection(value, head);
    case HTTP_CONTENT_LENGTH:
        return read_content_length(value, head);
    case HTTP_TRANSFER_ENCODING:
        return read_transfer_encoding(value, head);
    case HTTP_HOST:
        head->host = value;
        head->host_count++;
        return NULL;
    case HTTP_EXPECT:
        read_expect(value, head);
        return NULL;
    case HTTP_AUTHORIZATION:
    case HTTP_PROXY_AUTHORIZATION:
        read_authorization(value, head);
        return NULL;
    case HTTP_UPGRADE:
        head->upgrades = true;
        return NULL;
    case HTTP_DISGUISED:
        return "a field name with \"_\" for \"-\"";
    default:
        return NULL;
    }
}

static const char *read_fields(struct slice lines, struct http_head *head)
{
    struct slice line;
    while (next_line(&lines, &line)) {
        const char *fault = read_field(line, head);
        if (fault != NULL)
            return fault;
    }
    bool coded = head->chunked || head->compressed;
    if (coded && head->has_length)
        return "both Content-Length and Transfer-Encoding";
    if (coded && head->minor == 0)
        return "Transfer-Encoding in HTTP/1.0";
    return NULL;
}

static bool read_version(struct slice text, struct http_head *head)
{
    head->minor = slice_equal(text, SLICE("HTTP/1.1")) ? 1 : 0;
    return head->minor == 1 || slice_equal(text, SLICE("HTTP/1.0"));
}

/* ---- Requests ----------------------------------------------------------------------------------------- */

/* What clients really send in targets: more than URIs have, but no fragment, which is never sent. */
static const bool target_bytes[256] = {
    ['!' ... '"'] = true,
    ['$' ... '~'] = true,
    [0x80 ... 0xff] = true,
};

/* Takes what stands before the next space, and the space. */
static bool take_word(struct slice *line, struct slice *word)
{
    const char *space = memchr(line->bytes, ' ', line->length);
    if (space == NULL)
        return false;
    *word = (struct slice){ line->bytes, (size_t)(space - line->bytes) };
    slice_skip(line, word->length + 1);
    return true;
}

static const char *read_request_line(struct slice line, struct http_head *head)
{
    if (!take_word(&line, &head->method) || !http_is_token(head->method))
        return "a malformed method";
    if (!take_word(&line, &head->target) || head->target.length == 0)
        return "a malformed request line";
    for (size_t i = 0; i < head->target.length; i++)
        if (!target_bytes[(unsigned char)head->target.bytes[i]])
            return "a malformed request target";
    if (!read_version(line, head))
        return "not HTTP/1.0 or HTTP/1.1";
    /* A target that is not strict takes these for the methods whose answers have a body, or none. */
    if ((http_word_is(head->method, "HEAD") && !slice_equal(head->method, SLICE("HEAD"))) ||
        (http_word_is(head->method, "CONNECT") && !slice_equal(head->method, SLICE("CONNECT"))))
        return "a malformed method";
    return NULL;
}

/* The authority without the port that its scheme has anyway. */
static struct slice without_default_port(struct slice authority, struct slice port)
{
    if (authority.length > port.length &&
        memcmp(authority.bytes + authority.length - port.length, port.bytes, port.length) == 0)
        authority.length -= port.length;
    else if (authority.length > 0 && authority.bytes[authority.length - 1] == ':')
        authority.length--;
    return authority;
}

/* The whole URI as a target: Host has to name the same authority, since some look at the one, some at the
 * other (RFC 9112 §3.2.2). */
static const char *check_absolute(const struct http_head *head)
{
    static const struct {
        struct slice scheme;
        struct slice port;
    } schemes[] = { { { "http://", 7 }, { ":80", 3 } }, { { "https://", 8 }, { ":443", 4 } } };
    struct slice rest = head->target;
    size_t kind = rest.length > 4 && (rest.bytes[4] == 's' || rest.bytes[4] == 'S') ? 1 : 0;
    struct slice scheme = { rest.bytes, schemes[kind].scheme.length };
    if (rest.length < scheme.length || !http_word_is(scheme, schemes[kind].scheme.bytes))
        return "a malformed request target";
    slice_skip(&rest, scheme.length);
    struct slice authority = { rest.bytes, 0 };
    while (authority.length < rest.length && strchr("/?", rest.bytes[authority.length]) == NULL)
        authority.length++;
    if (!http_is_authority(authority))
        return "a malformed request target";
    struct slice wanted = without_default_port(authority, schemes[kind].port);
    struct slice host = without_default_port(head->host, schemes[kind].port);
    if (head->host_count > 0 &&
        (host.length != wanted.length || strncasecmp(host.bytes, wanted.bytes, host.length) != 0))
        return "Host is not that of the request target";
    return NULL;
}

static const char *check_target(const struct http_head *head)
{
    if (slice_equal(head->method, SLICE("CONNECT")) || head->target.bytes[0] == '/')
        return NULL;
    if (slice_equal(head->target, SLICE("*")) && slice_equal(head->method, SLICE("OPTIONS")))
        return NULL;
    return check_absolute(head);
}

const char *http_read_request_head(struct slice bytes, struct http_head *head)
{
    struct slice line;
    *head = (struct http_head){ 0 };
    if (!next_line(&bytes, &line))
        return "no request line";
    const char *fault = read_request_line(line, head);
    if (fault == NULL)
        fault = read_fields(bytes, head);
    if (fault != NULL)
        return fault;
    if (head->host_count > 1)
        return "more than one Host";
    if (head->host_count == 0 && head->minor == 1)
        return "no Host";
    if (head->host.length > 0 && !http_is_authority(head->host))
        return "a malformed Host";
    return check_target(head);
}

/* ---- Responses ---------------------------------------------------------------------------------------- */

/* The space behind the status may be missing where there is no phrase: nobody is misled by that. */
static const char *read_status_line(struct slice line, struct http_head *head)
{
    struct slice version;
    if (!take_word(&line, &version) || !read_version(version, head))
        return "not HTTP/1.0 or HTTP/1.1";
    if (line.length < 3 || (line.length > 3 && line.bytes[3] != ' ') || line.bytes[0] == '0')
        return "a malformed status";
    for (size_t i = 0; i < 3; i++) {
        if (line.bytes[i] < '0' || line.bytes[i] > '9')
            return "a malformed status";
        head->status = head->status * 10 + (unsigned)(line.bytes[i] - '0');
    }
    return NULL;
}

const char *http_read_response_head(struct slice bytes, struct http_head *head)
{
    struct slice line;
    *head = (struct http_head){ 0 };
    if (!next_line(&bytes, &line))
        return "no status line";
    const char *fault = read_status_line(line, head);
    return fault != NULL ? fault : read_fields(bytes, head);
}

/* ---- Fields for one hop only ---------------------------------------------------------------------------- */

size_t http_strip_head(char *bytes, size_t length)
{
    struct slice rest = { bytes, length };
    struct slice line, field, value;
    size_t kept = 0;
    bool is_first = true;
    while (next_line(&rest, &line)) {
        bool drops = false;
        if (!is_first && split_field(line, &field, &value) == NULL) {
            enum http_name name = http_name_of(field);
            drops = http_name_is_hop(name) || name == HTTP_EXPECT;
        }
        is_first = false;
        if (drops)
            continue;
        memmove(bytes + kept, line.bytes, line.length + 2);
        kept += line.length + 2;
    }
    memmove(bytes + kept, rest.bytes, rest.length);
    return kept + rest.length;
}
