/* The words of HTTP/1: which bytes may stand where, the fields that a proxy has to know, and lists (RFC 9110
 * §5). Everything here is about whole lines; http_head.h finds them. */
#ifndef PROTOCOL_HTTP_FIELD_H
#define PROTOCOL_HTTP_FIELD_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* tchar: what names and methods are made of. */
extern const bool http_token_bytes[256];

/* What may stand in a field's value: HTAB, SP, VCHAR and obs-text. */
extern const bool http_text_bytes[256];

enum http_name {
    HTTP_OTHER,
    HTTP_CONNECTION,
    HTTP_CONTENT_LENGTH,
    HTTP_TRANSFER_ENCODING,
    HTTP_HOST,
    HTTP_EXPECT,
    HTTP_AUTHORIZATION,
    HTTP_PROXY_AUTHORIZATION,
    /* These concern one connection only. */
    HTTP_KEEP_ALIVE,
    HTTP_PROXY_CONNECTION,
    HTTP_TE,
    HTTP_UPGRADE,
    HTTP_HTTP2_SETTINGS,
    /* One of the above with "_" for "-": programs that make variables of names take it for that one. */
    HTTP_DISGUISED,
};

/* The longest of the names above. */
#define HTTP_NAME_MAX 19

enum http_name http_name_of(struct slice name);

/* Whether the field is for the next hop only, so that it is not passed on. */
bool http_name_is_hop(enum http_name name);

/* Whether the text is this word, upper or lower case. */
bool http_word_is(struct slice text, const char *word);

/* Whether the text is a token: not empty, tchar only. */
bool http_is_token(struct slice text);

/* The text without spaces and tabs around it. */
struct slice http_trim(struct slice text);

/* Takes the next element off a comma-separated list that has no quoted strings; empty ones are left
 * out. False at the end. */
bool http_next_element(struct slice *list, struct slice *element);

/* host [":" port] as in Host, the host not empty (RFC 9110 §7.2, RFC 3986 §3.2.2). No comma, which could be
 * two of them put together. */
bool http_is_authority(struct slice text);

#endif
