#include "harness/forms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a $word of a form stands for. */
struct word {
    const char *name;
    char text[120];
};

static struct word words[WORD_COUNT] = {
    [WORD_ADMIN] = { .name = "admin" },
    [WORD_DATABASE] = { .name = "database" },
    [WORD_CACHE] = { .name = "cache" },
    [WORD_WEB] = { .name = "web" },
    [WORD_POSTGRESQL] = { .name = "postgresql" },
    [WORD_REDIS] = { .name = "redis" },
    [WORD_NGINX] = { .name = "nginx" },
    [WORD_POSTGRESQL_SOCKET] = { .name = "postgresql_socket" },
    [WORD_REDIS_SOCKET] = { .name = "redis_socket" },
    [WORD_NGINX_SOCKET] = { .name = "nginx_socket" },
    [WORD_MORE] = { .name = "more" },
    [WORD_OTHER] = { .name = "other" },
    [WORD_ECHO] = { .name = "echo" },
    [WORD_CLOSED] = { .name = "closed" },
    [WORD_TAKEN] = { .name = "taken" },
    [WORD_LIST] = { .name = "list" },
    [WORD_UNIX] = { .name = "unix" },
    [WORD_QUERYLOG] = { .name = "querylog" },
    [WORD_QUERIES] = { .name = "queries" },
};

void forms_set(enum word_index word, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(words[word].text, sizeof(words[word].text), format, arguments);
    va_end(arguments);
}

const char *forms_get(enum word_index word)
{
    return words[word].text;
}

unsigned forms_port(enum word_index word)
{
    return (unsigned)strtoul(words[word].text, NULL, 10);
}

const struct form forms_plain = { .what = "plain" };

const struct form forms_good[] = {
    { .what = "limits",
      .database = "max_connections = 90; max_connections_per_address = 80;",
      .cache = "max_connections = 500; queue_limit = 200; pipeline_depth = 64;",
      .web = "max_connections = 300; max_connections_per_address = 250; memory_limit = 16777216;" },
    { .what = "timeouts",
      .database = "inactivity_timeout = 60000; half_close_timeout = 20000; connect_timeout = 9000;",
      .cache = "request_timeout = 25000; queue_timeout = 28000; client_idle_timeout = 45000;",
      .web = "request_timeout = 40000; stall_timeout = 20000; client_keep_alive = false;" },
    { .what = "lists",
      .database = "blocklist = [ \"file:$list\", \"10.0.0.0/8\" ];",
      .cache = "allowlist = [ \"127.0.0.0/8\", \"::1\" ];",
      .web = "blocklist = [ \"192.0.2.0/24\", \"198.51.100.7-198.51.100.99\" ];" },
    { .what = "listeners that come",
      .database_listen = ", \"127.0.0.1:$more\"",
      .listeners = ", { name = \"other\"; listen = [ \"127.0.0.1:$other\", \"unix:$unix\" ]; targets = ( "
                   "\"127.0.0.1:$echo\" ); }" },
    { .what = "targets beside those that stay",
      .database_targets = ", \"unix:$postgresql_socket\"",
      .cache_targets = ", { address = \"unix:$redis_socket\"; connections = 2; }",
      .web_targets = ", { address = \"unix:$nginx_socket\"; backup = true; }" },
    { .what = "targets that are not there",
      .database_targets = ", \"127.0.0.1:$closed\"",
      .cache_targets = ", { address = \"127.0.0.1:$closed\"; connections = 2; }",
      .web_targets = ", { address = \"127.0.0.1:$closed\"; backup = true; }" },
    { .what = "addresses that overlap", .host = "0.0.0.0" },
    { .what = "modules, and another mode of the other listener",
      .globals = "modules = ( { path = \"$querylog\"; output = \"$queries\"; slow = 100000; } );",
      .listeners =
          ", { name = \"other\"; listen = \"127.0.0.1:$other\"; mode = \"funnel\"; protocol = { type = "
          "\"line\"; }; targets = ( \"127.0.0.1:$echo\" ); }" },
    { .what = "other ways to balance, and buffers",
      .database_targets = ", { address = \"unix:$postgresql_socket\"; weight = 3; }",
      .database = "balance = \"round_robin\"; buffer_limit = 16384;",
      .cache = "balance = \"source\"; buffer_limit = 262144;",
      .web = "buffer_limit = 32768; request_gap = 0;" },
};

const size_t forms_good_count = sizeof(forms_good) / sizeof(forms_good[0]);

const struct form forms_broken[] = {
    { .what = "syntax", .globals = "pid_file = = 5;", .web = "max_connections = 1;" },
    { .what = "unknown key", .cache = "max_connection = 5; max_connections = 1;" },
    { .what = "an address that is taken",
      .database_listen = ", \"127.0.0.1:$taken\"",
      .host = "0.0.0.0",
      .web = "max_connections = 1;",
      .listeners =
          ", { name = \"new\"; listen = \"127.0.0.1:$other\"; targets = ( \"127.0.0.1:$echo\" ); }" },
    { .what = "a list that is missing", .database = "blocklist = [ \"file:$list.none\", \"127.0.0.0/8\" ];" },
    { .what = "a value out of range", .web_targets = ", \"127.0.0.1:70000\"", .cache = "queue_timeout = 0;" },
};

const size_t forms_broken_count = sizeof(forms_broken) / sizeof(forms_broken[0]);

static const char *part(const char *text)
{
    return text != NULL ? text : "";
}

/* Replaces the words. */
static void expand(const char *form, char *text, size_t size)
{
    size_t length = 0;

    while (*form != '\0' && length + 1 < size) {
        if (*form != '$') {
            text[length++] = *form++;
            continue;
        }
        size_t name = strspn(form + 1, "abcdefghijklmnopqrstuvwxyz_"), i = 0;
        while (i < WORD_COUNT &&
               (strlen(words[i].name) != name || strncmp(words[i].name, form + 1, name) != 0))
            i++;
        test_require(i < WORD_COUNT, "no such word: %.20s", form);
        length += (size_t)snprintf(text + length, size - length, "%s", words[i].text);
        form += 1 + name;
    }
    test_require(length + 1 < size, "the configuration is too long");
    text[length] = '\0';
}

void forms_make(const struct form *form, char *text, size_t size)
{
    static char whole[8192];
    const char *host = form->host != NULL ? form->host : "127.0.0.1";

    snprintf(
        whole, sizeof(whole),
        "admin: { listen = \"127.0.0.1:$admin\"; };\nshutdown_timeout = 600000; %s\nlisteners = (\n"
        "  { name = \"database\"; listen = [ \"%s:$database\"%s ]; mode = \"proxy\";\n"
        "    protocol = \"postgresql\"; targets = ( \"127.0.0.1:$postgresql\"%s ); %s },\n"
        "  { name = \"cache\"; listen = \"%s:$cache\"; mode = \"funnel\"; protocol = \"redis\";\n"
        "    targets = ( { address = \"127.0.0.1:$redis\"; connections = 4; }%s ); warmup = true; %s },\n"
        "  { name = \"web\"; listen = \"%s:$web\"; mode = \"fifo\"; protocol = \"http\";\n"
        "    targets = ( \"127.0.0.1:$nginx\"%s ); warmup = true; %s }%s\n"
        ");\n",
        part(form->globals), host, part(form->database_listen), part(form->database_targets),
        part(form->database), host, part(form->cache_targets), part(form->cache), host,
        part(form->web_targets), part(form->web), part(form->listeners));
    expand(whole, text, size);
}
