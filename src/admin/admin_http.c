/* Which answer a request gets. */
#include "admin/admin_parts.h"
#include "admin/metrics.h"
#include "admin/status.h"
#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define READY_PREFIX "/readyz/"

/* Where the page has its nonce, a random number for one answer alone. */
#define NONCE_PLACE "@NONCE@"

/* What becomes the answer. */
struct answer {
    const struct admin_service *admin;
    const char *rest; /* what follows the path of the route, where that is a prefix */
    unsigned status;
    const char *type;
    char policy[320]; /* Content-Security-Policy; "": the one of all but the page */
    struct buffer body;
};

/* A path and what makes its answer: `print` from what is shown, or `make`. A quick answer never waits behind long
 * ones. */
struct route {
    const char *path;
    const char *type;
    void (*print)(const struct admin_source *source, const struct history_book *book, struct buffer *out);
    void (*make)(struct answer *answer);
    bool is_prefix;
    bool is_quick;
};

static const char text_type[] = "text/plain; charset=utf-8";
static const char json_type[] = "application/json";
static const char closed_policy[] = "default-src 'none'; frame-ancestors 'none'";

static void answer_say(struct answer *answer, unsigned status, const char *text)
{
    answer->status = status;
    answer->type = text_type;
    buffer_append_text(&answer->body, text);
}

/* Any answer at all shows that the loop turns. */
static void http_make_health(struct answer *answer)
{
    answer_say(answer, MHD_HTTP_OK, "ok\n");
}

static void http_make_metrics(struct answer *answer)
{
    metrics_print(&answer->admin->source, &answer->body);
}

/* Only script and style that carry the nonce may run. */
static void http_make_page(struct answer *answer)
{
    unsigned char bytes[16];
    char nonce[2 * sizeof bytes + 1];
    if (getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != (ssize_t)sizeof bytes) {
        answer_say(answer, MHD_HTTP_SERVICE_UNAVAILABLE, "no random numbers are to be had yet\n");
        return;
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(nonce + 2 * i, 3, "%02x", bytes[i]);
    snprintf(answer->policy, sizeof answer->policy,
             "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; img-src "
             "data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             nonce, nonce);
    const char *text = page_html;
    for (const char *place; (place = strstr(text, NONCE_PLACE)) != NULL; text = place + strlen(NONCE_PLACE)) {
        buffer_append(&answer->body, text, (size_t)(place - text));
        buffer_append_text(&answer->body, nonce);
    }
    buffer_append_text(&answer->body, text);
}

/* All listeners, or the one that the path names. */
static void http_make_readiness(struct answer *answer)
{
    const struct admin_source *source = &answer->admin->source;
    const char *rest = answer->rest;
    const struct admin_process process = source->process(source->owner);
    bool found = *rest == '\0';
    if (process.is_draining)
        answer_say(answer, MHD_HTTP_SERVICE_UNAVAILABLE, "draining\n");
    for (size_t i = 0; i < process.listeners; i++) {
        const struct admin_listener listener = source->listener(source->owner, i);
        if (*rest != '\0' && strcmp(rest, listener.name) != 0)
            continue;
        found = true;
        if (listener.gauges.ready)
            continue;
        bool accepts = strcmp(listener.state, "accepting") == 0;
        answer->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        buffer_print(&answer->body, "listener %s: %s\n", listener.name,
                     accepts ? "no target is usable" : listener.state);
    }
    if (!found)
        answer_say(answer, MHD_HTTP_NOT_FOUND, "there is no such listener\n");
    else if (answer->status == MHD_HTTP_OK)
        answer_say(answer, MHD_HTTP_OK, "ready\n");
}

static void http_make_configuration(struct answer *answer)
{
    const struct admin_source *source = &answer->admin->source;
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    if (stream != NULL)
        source->dump(source->owner, stream);
    if (stream != NULL && fclose(stream) == 0 && text != NULL)
        buffer_append(&answer->body, text, length);
    else
        answer->body.failed = true;
    free(text);
}

static const struct route routes[] = {
    { "/", "text/html; charset=utf-8", .make = http_make_page },
    { "/status.json", json_type, .print = status_print },
    { "/history.json", json_type, .print = status_print_history },
    { "/status.txt", text_type, .print = status_print_table },
    { "/metrics", "text/plain; version=0.0.4; charset=utf-8", .make = http_make_metrics },
    { "/healthz", text_type, .make = http_make_health, .is_quick = true },
    { "/readyz", text_type, .make = http_make_readiness, .is_quick = true },
    { READY_PREFIX, text_type, .make = http_make_readiness, .is_quick = true, .is_prefix = true },
    { "/config", text_type, .make = http_make_configuration },
};

static const struct route *http_find_route(const char *url, const char **rest)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        size_t length = strlen(routes[i].path);
        *rest = url + length;
        if (routes[i].is_prefix ? strncmp(url, routes[i].path, length) == 0 && **rest != '\0'
                                : strcmp(url, routes[i].path) == 0)
            return &routes[i];
    }
    return NULL;
}

/* Whether a Host names this machine by an address, or as localhost. A foreign web page whose name resolves to
 * this machine can thus not read what admin shows (DNS rebinding). */
static bool http_is_host_allowed(const char *host)
{
    char text[80];
    char *name = text;
    struct address address;
    if ((size_t)snprintf(text, sizeof text, "%s", host) >= sizeof text)
        return false;
    char *colon = strrchr(text, ':');
    if (colon != NULL && (text[0] == '[' ? colon[-1] == ']' : strchr(text, ':') == colon) &&
        strspn(colon + 1, "0123456789") == strlen(colon + 1))
        *colon = '\0';
    size_t length = strlen(text);
    if (text[0] == '[' && text[length - 1] == ']') {
        text[length - 1] = '\0';
        name++;
    }
    return strcasecmp(name, "localhost") == 0 || address_parse(name, &address);
}

/* A web page can reach TCP only. Browsers always send a Host; HTTP/1.0 has none. */
static bool http_is_allowed(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    bool is_unix = info != NULL && info->client_addr->sa_family == AF_UNIX;
    return is_unix || host == NULL || http_is_host_allowed(host);
}

bool admin_http_reads(const char *method)
{
    return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static void http_make_answer(struct MHD_Connection *connection, const char *url, const char *method,
                             struct answer *answer)
{
    const struct route *route = http_find_route(url, &answer->rest);
    if (!http_is_allowed(connection)) {
        answer_say(answer, MHD_HTTP_FORBIDDEN,
                   "ask for an address or localhost: other names are not answered\n");
    } else if (route == NULL) {
        answer_say(answer, MHD_HTTP_NOT_FOUND, "there is nothing here\n");
    } else if (!admin_http_reads(method)) {
        answer_say(answer, MHD_HTTP_METHOD_NOT_ALLOWED, "there is nothing to be changed here: GET or HEAD\n");
    } else {
        answer->type = route->type;
        if (route->print != NULL)
            route->print(&answer->admin->source, &answer->admin->book, &answer->body);
        else
            route->make(answer);
    }
}

static bool http_add_headers(struct MHD_Response *response, const struct answer *answer)
{
    const char *const headers[][2] = {
        { "Content-Type", answer->type },
        { "Content-Security-Policy", answer->policy[0] != '\0' ? answer->policy : closed_policy },
        { "Cache-Control", "no-store" },
        { "X-Content-Type-Options", "nosniff" },
        { "Cross-Origin-Resource-Policy", "same-origin" },
        { "Referrer-Policy", "no-referrer" },
        { "Allow", answer->status == MHD_HTTP_METHOD_NOT_ALLOWED ? "GET, HEAD" : NULL },
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        if (headers[i][1] != NULL &&
            MHD_add_response_header(response, headers[i][0], headers[i][1]) != MHD_YES)
            return false;
    return true;
}

bool admin_http_is_quick(const char *url)
{
    const char *rest;
    const struct route *route = http_find_route(url, &rest);
    return route == NULL || route->is_quick;
}

enum MHD_Result admin_http_answer(const struct admin_service *admin, struct MHD_Connection *connection,
                                  const char *url, const char *method)
{
    struct answer answer = { .admin = admin, .status = MHD_HTTP_OK, .type = text_type };
    struct MHD_Response *response = NULL;
    enum MHD_Result result = MHD_NO;
    http_make_answer(connection, url, method, &answer);
    struct slice body = buffer_slice(&answer.body);
    if (!answer.body.failed)
        response = MHD_create_response_from_buffer(body.length, (void *)body.bytes, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        buffer_free(&answer.body);
    } else {
        if (http_add_headers(response, &answer))
            result = MHD_queue_response(connection, answer.status, response);
        MHD_destroy_response(response);
    }
    if (result != MHD_YES)
        shortage_note(&admin->runtime->shortage, admin->settings->name);
    return result;
}
