/* The head of a message: finding its end as it comes, reading it once it is whole, and taking out what is for one
 * connection only (RFC 9112 §2–§6, RFC 9110 §5). */
#include "protocol/http/http.h"

#include "protocol/number.h"
#include "protocol/pass.h"

#include <ctype.h>
#include <strings.h>

/* ---- Words -------------------------------------------------------------------------------------------- */

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

/* Of an IP literal in brackets. */
static const bool literal_bytes[256] = {
    ['0' ... '9'] = true, ['A' ... 'F'] = true, ['a' ... 'f'] = true, [':'] = true, ['.'] = true,
};

static const struct slice names[] = {
    [HTTP_HOST] = SLICE("host"),
    [HTTP_CONNECTION] = SLICE("connection"),
    [HTTP_CONTENT_LENGTH] = SLICE("content-length"),
    [HTTP_TRANSFER_ENCODING] = SLICE("transfer-encoding"),
    [HTTP_EXPECT] = SLICE("expect"),
    [HTTP_AUTHORIZATION] = SLICE("authorization"),
    [HTTP_PROXY_AUTHORIZATION] = SLICE("proxy-authorization"),
    [HTTP_KEEP_ALIVE] = SLICE("keep-alive"),
    [HTTP_PROXY_CONNECTION] = SLICE("proxy-connection"),
    [HTTP_TE] = SLICE("te"),
    [HTTP_UPGRADE] = SLICE("upgrade"),
    [HTTP_HTTP2_SETTINGS] = SLICE("http2-settings"),
};

/* Whether they, of one length, are the same but for case and "_" for "-". */
static bool http_is_alike(struct slice name, const char *word)
{
    size_t i = 0;
    while (i < name.length &&
           (tolower((unsigned char)name.bytes[i]) == word[i] || (name.bytes[i] == '_' && word[i] == '-')))
        i++;
    return i == name.length;
}

enum http_name http_name_of(struct slice name)
{
    for (enum http_name known = HTTP_OTHER + 1; known < HTTP_DISGUISED; known++)
        if (names[known].length == name.length && http_is_alike(name, names[known].bytes))
            return memchr(name.bytes, '_', name.length) == NULL ? known : HTTP_DISGUISED;
    return HTTP_OTHER;
}

static bool http_is_hop(enum http_name name)
{
    return name == HTTP_CONNECTION || (name >= HTTP_KEEP_ALIVE && name <= HTTP_HTTP2_SETTINGS);
}

/* Whether the field is not passed on: what Expect asks for is done here. */
static bool http_is_kept_back(enum http_name name)
{
    return http_is_hop(name) || name == HTTP_EXPECT;
}

/* How many bytes there are before one that is not in the set. */
static size_t http_span(struct slice text, const bool set[256])
{
    size_t length = 0;
    while (length < text.length && set[(unsigned char)text.bytes[length]])
        length++;
    return length;
}

static struct slice http_trim(struct slice text)
{
    while (text.length > 0 && memchr(" \t", text.bytes[0], 2) != NULL)
        slice_skip(&text, 1);
    while (text.length > 0 && memchr(" \t", text.bytes[text.length - 1], 2) != NULL)
        text.length--;
    return text;
}

/* Takes the next element off a comma-separated list that has no quoted strings; empty ones are left out. False
 * at the end. */
static bool http_next_element(struct slice *list, struct slice *element)
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

/* How many bytes of the text are an IP literal in brackets, or a name or address; 0: neither. */
static size_t http_host_length(struct slice text)
{
    size_t i = 0;
    if (slice_begins_with(text, SLICE("["))) {
        slice_skip(&text, 1);
        i = http_span(text, literal_bytes);
        return i > 0 && i < text.length && text.bytes[i] == ']' ? i + 2 : 0;
    }
    while (i < text.length) {
        if (text.bytes[i] == '%' && text.length - i > 2 && isxdigit((unsigned char)text.bytes[i + 1]) &&
            isxdigit((unsigned char)text.bytes[i + 2]))
            i += 3;
        else if (host_bytes[(unsigned char)text.bytes[i]])
            i++;
        else
            break;
    }
    return i;
}

/* host [":" port] as in Host, the host not empty (RFC 9110 §7.2, RFC 3986 §3.2.2). No comma, which could be two of
 * them put together. */
static bool http_is_authority(struct slice text)
{
    size_t length = http_host_length(text);
    uint64_t port;
    slice_skip(&text, length);
    if (length == 0 || text.length == 0 || text.bytes[0] != ':')
        return length > 0 && text.length == 0;
    slice_skip(&text, 1);
    return text.length == 0 || (text.length <= 5 && number_parse(text, 99999, &port));
}

/* ---- The end of a head -------------------------------------------------------------------------------- */

enum { LINE_START, LINE, LINE_CR, LAST_CR };

/* The state after a byte that is not amid a line's text; -1 if it must not be there. */
static int http_scan_next_state(unsigned state, unsigned char c)
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

enum protocol_outcome http_scan(struct http_scanner *scanner, struct slice *input, size_t room,
                                struct slice *piece)
{
    enum protocol_outcome outcome = PROTOCOL_MORE;
    size_t i = 0, count = pass_available(input, room);
    while (i < count && outcome == PROTOCOL_MORE) {
        unsigned char c = (unsigned char)input->bytes[i++];
        if (scanner->state == LINE && http_text_bytes[c])
            continue;
        int next = http_scan_next_state(scanner->state, c);
        if (next < 0)
            outcome = PROTOCOL_BROKEN;
        else if (scanner->state == LAST_CR)
            outcome = PROTOCOL_COMPLETE;
        scanner->state = next < 0 ? LINE_START : (unsigned char)next;
    }
    scanner->looked_at += i;
    *piece = (struct slice){ input->bytes, i };
    slice_skip(input, i);
    return outcome;
}

/* Takes the next line off a head, without its CRLF. False at the empty one. */
static bool http_next_line(struct slice *head, struct slice *line)
{
    const char *end = memchr(head->bytes, '\n', head->length);
    if (end == NULL || end - head->bytes < 2)
        return false;
    *line = (struct slice){ head->bytes, (size_t)(end - head->bytes) - 1 };
    slice_skip(head, line->length + 2);
    return true;
}

/* ---- Fields ------------------------------------------------------------------------------------------- */

/* NULL, or what is wrong. */
static const char *http_split_field(struct slice line, struct slice *name, struct slice *value)
{
    size_t length = http_span(line, http_token_bytes);
    if (length == 0 && (line.bytes[0] == ' ' || line.bytes[0] == '\t'))
        return "a folded field";
    if (length == 0 || length == line.length || line.bytes[length] != ':')
        return "a malformed field name";
    *name = (struct slice){ line.bytes, length };
    slice_skip(&line, length + 1);
    *value = http_trim(line);
    return NULL;
}

static const char *http_read_connection(struct slice value, struct http_head *head)
{
    struct slice option;
    while (http_next_element(&value, &option)) {
        if (slice_is_word(option, "close")) {
            head->closes = true;
            continue;
        }
        enum http_name name = http_name_of(option);
        if (name == HTTP_KEEP_ALIVE)
            head->keeps_alive = true;
        else if (name == HTTP_CONNECTION || !http_is_hop(name))
            return "Connection names a field that is not its own";
    }
    return NULL;
}

static const char *http_read_content_length(struct slice value, struct http_head *head)
{
    if (head->has_length)
        return "more than one Content-Length";
    if (!number_parse(value, INT64_MAX, &head->length))
        return "a malformed Content-Length";
    head->has_length = true;
    return NULL;
}

static bool http_is_compression(struct slice coding)
{
    return slice_is_word(coding, "gzip") || slice_is_word(coding, "x-gzip") ||
           slice_is_word(coding, "compress") || slice_is_word(coding, "x-compress") ||
           slice_is_word(coding, "deflate");
}

static const char *http_read_transfer_encoding(struct slice value, struct http_head *head)
{
    struct slice coding;
    if (head->chunked || head->compressed)
        return "more than one Transfer-Encoding";
    if (slice_is_word(value, "chunked")) {
        head->chunked = true;
        return NULL;
    }
    while (http_next_element(&value, &coding) && http_is_compression(coding))
        head->compressed = true;
    if (!head->compressed || !slice_is_word(coding, "chunked") || value.length > 0)
        return "a malformed Transfer-Encoding";
    return NULL;
}

static void http_read_expect(struct slice value, struct http_head *head)
{
    struct slice expectation;
    while (http_next_element(&value, &expectation)) {
        if (slice_is_word(expectation, "100-continue"))
            head->expects_continue = true;
        else
            head->expects_other = true;
    }
}

static const char *http_read_field(struct slice line, struct http_head *head)
{
    struct slice field, value;
    const char *fault = http_split_field(line, &field, &value);
    if (fault != NULL)
        return fault;
    enum http_name name = http_name_of(field);
    head->has_hops = head->has_hops || http_is_kept_back(name);
    /* Some parsers take a tab behind the value for a part of it. */
    if ((name == HTTP_CONTENT_LENGTH || name == HTTP_TRANSFER_ENCODING) &&
        memchr(line.bytes, '\t', line.length) != NULL)
        return "a tab in Content-Length or Transfer-Encoding";
    switch (name) {
    case HTTP_CONNECTION:
        return http_read_connection(value, head);
    case HTTP_CONTENT_LENGTH:
        return http_read_content_length(value, head);
    case HTTP_TRANSFER_ENCODING:
        return http_read_transfer_encoding(value, head);
    case HTTP_HOST:
        head->host = value;
        head->host_count++;
        return NULL;
    case HTTP_EXPECT:
        http_read_expect(value, head);
        return NULL;
    case HTTP_AUTHORIZATION:
    case HTTP_PROXY_AUTHORIZATION:
        value.length = http_span(value, http_token_bytes);
        if (slice_is_word(value, "NTLM") || slice_is_word(value, "Negotiate"))
            head->logs_in_connection = true;
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

static const char *http_read_fields(struct slice lines, struct http_head *head)
{
    struct slice line;
    while (http_next_line(&lines, &line)) {
        const char *fault = http_read_field(line, head);
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

static bool http_read_version(struct slice text, struct http_head *head)
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
static bool http_take_word(struct slice *line, struct slice *word)
{
    const char *space = memchr(line->bytes, ' ', line->length);
    if (space == NULL)
        return false;
    *word = (struct slice){ line->bytes, (size_t)(space - line->bytes) };
    slice_skip(line, word->length + 1);
    return true;
}

static const char *http_read_request_line(struct slice line, struct http_head *head)
{
    if (!http_take_word(&line, &head->method) || head->method.length == 0 ||
        http_span(head->method, http_token_bytes) < head->method.length)
        return "a malformed method";
    if (!http_take_word(&line, &head->target) || head->target.length == 0)
        return "a malformed request line";
    if (http_span(head->target, target_bytes) < head->target.length)
        return "a malformed request target";
    if (!http_read_version(line, head))
        return "not HTTP/1.0 or HTTP/1.1";
    /* A target that is not strict takes these for the methods whose answers have a body, or none. */
    if ((slice_is_word(head->method, "HEAD") && !slice_equal(head->method, SLICE("HEAD"))) ||
        (slice_is_word(head->method, "CONNECT") && !slice_equal(head->method, SLICE("CONNECT"))))
        return "a malformed method";
    return NULL;
}

/* The authority without the port that its scheme has anyway. */
static struct slice http_without_default_port(struct slice authority, struct slice port)
{
    if (slice_ends_with(authority, port))
        authority.length -= port.length;
    else if (slice_ends_with(authority, SLICE(":")))
        authority.length--;
    return authority;
}

/* Where the whole URI is the target, Host has to name the same authority, since some look at the one, some at the
 * other (RFC 9112 §3.2.2). */
static const char *http_check_target(const struct http_head *head)
{
    if (slice_equal(head->method, SLICE("CONNECT")) || head->target.bytes[0] == '/' ||
        (slice_equal(head->target, SLICE("*")) && slice_equal(head->method, SLICE("OPTIONS"))))
        return NULL;
    struct slice rest = head->target;
    bool is_secure = rest.length > 4 && tolower((unsigned char)rest.bytes[4]) == 's';
    const char *scheme = is_secure ? "https://" : "http://";
    struct slice port = is_secure ? SLICE(":443") : SLICE(":80");
    if (rest.length < strlen(scheme) || strncasecmp(rest.bytes, scheme, strlen(scheme)) != 0)
        return "a malformed request target";
    slice_skip(&rest, strlen(scheme));
    struct slice authority = { rest.bytes, 0 };
    while (authority.length < rest.length && strchr("/?", rest.bytes[authority.length]) == NULL)
        authority.length++;
    if (!http_is_authority(authority))
        return "a malformed request target";
    struct slice wanted = http_without_default_port(authority, port);
    struct slice host = http_without_default_port(head->host, port);
    if (head->host_count > 0 &&
        (host.length != wanted.length || strncasecmp(host.bytes, wanted.bytes, host.length) != 0))
        return "Host is not that of the request target";
    return NULL;
}

const char *http_read_request_head(struct slice bytes, struct http_head *head)
{
    struct slice line;
    *head = (struct http_head){ 0 };
    if (!http_next_line(&bytes, &line))
        return "no request line";
    const char *fault = http_read_request_line(line, head);
    if (fault == NULL)
        fault = http_read_fields(bytes, head);
    if (fault != NULL)
        return fault;
    if (head->host_count > 1)
        return "more than one Host";
    if (head->host_count == 0 && head->minor == 1)
        return "no Host";
    if (head->host.length > 0 && !http_is_authority(head->host))
        return "a malformed Host";
    return http_check_target(head);
}

/* ---- Responses ---------------------------------------------------------------------------------------- */

/* The space behind the status may be missing where there is no phrase: nobody is misled by that. */
static const char *http_read_status_line(struct slice line, struct http_head *head)
{
    struct slice version;
    if (!http_take_word(&line, &version) || !http_read_version(version, head))
        return "not HTTP/1.0 or HTTP/1.1";
    if (line.length < 3 || (line.length > 3 && line.bytes[3] != ' ') || line.bytes[0] == '0' ||
        !number_parse((struct slice){ line.bytes, 3 }, 999, &head->status))
        return "a malformed status";
    return NULL;
}

const char *http_read_response_head(struct slice bytes, struct http_head *head)
{
    struct slice line;
    *head = (struct http_head){ 0 };
    if (!http_next_line(&bytes, &line))
        return "no status line";
    const char *fault = http_read_status_line(line, head);
    return fault != NULL ? fault : http_read_fields(bytes, head);
}

size_t http_strip_head(char *bytes, size_t length)
{
    struct slice rest = { bytes, length };
    struct slice line, field, value;
    size_t kept = 0;
    while (http_next_line(&rest, &line)) {
        bool is_field = kept > 0 && http_split_field(line, &field, &value) == NULL;
        if (is_field && http_is_kept_back(http_name_of(field)))
            continue;
        memmove(bytes + kept, line.bytes, line.length + 2);
        kept += line.length + 2;
    }
    memmove(bytes + kept, rest.bytes, rest.length);
    return kept + rest.length;
}
