/* What admin prints of made-up listeners: JSON that is well formed, the history of a made-up clock; and that
 * the manual page, the dashboard and the alerts speak of the figures that there are. */
#include "admin/history.h"
#include "admin/json.h"
#include "admin/metrics.h"
#include "admin/status.h"
#include "harness/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Made-up listeners ---- */

#define LISTENERS_MAX 3

struct made_up {
    size_t count;
    const char *names[LISTENERS_MAX];
    const char *mode;
    struct counters counters[LISTENERS_MAX];
    struct target_counters of_targets[2];
    const char *failure;
    const char *targets[2]; /* NULL: "same" */
};

static struct admin_process show_process(void *owner)
{
    const struct made_up *made_up = owner;
    return (struct admin_process){ .listeners = made_up->count, .file = "/etc/\"odd\".conf" };
}

static struct admin_listener show_listener(void *owner, size_t listener)
{
    const struct made_up *made_up = owner;
    return (struct admin_listener){
        .name = made_up->names[listener],
        .mode = made_up->mode,
        .protocol = "line",
        .state = "accepting",
        .gauges = { .clients = 3, .waiting = 2, .in_flight = 1, .ready = 1 },
        .counters = &made_up->counters[listener],
        .addresses = 1,
        .targets = 2,
    };
}

static void show_address(void *owner, size_t listener, size_t index, char *text, size_t size)
{
    (void)owner;
    snprintf(text, size, "127.0.0.%zu:%zu", listener, index);
}

static struct service_target show_target(void *owner, size_t listener, size_t index)
{
    const struct made_up *made_up = owner;
    (void)listener;
    return (struct service_target){
        .name = made_up->targets[index] != NULL ? made_up->targets[index] : "same",
        .state = "down",
        .failure = made_up->failure,
        .counters = &made_up->of_targets[index],
    };
}

static struct admin_source source_of(struct made_up *made_up)
{
    return (struct admin_source){ .owner = made_up,
                                  .process = show_process,
                                  .listener = show_listener,
                                  .address = show_address,
                                  .target = show_target };
}

/* ---- Is it JSON? ---- */

static const char *skip_value(const char *text);

static const char *skip_string(const char *text)
{
    if (*text++ != '"')
        return NULL;
    for (; *text != '"'; text++) {
        if (*text < 0x20 || *text > 0x7e)
            return NULL;
        if (*text == '\\' && strchr("\"\\", *++text) == NULL)
            return NULL;
    }
    return text + 1;
}

static const char *skip_members(const char *text, char end)
{
    if (*text == end)
        return text + 1;
    for (;;) {
        if (end == '}') {
            text = skip_string(text);
            if (text == NULL || *text++ != ':')
                return NULL;
        }
        text = skip_value(text);
        if (text == NULL || (*text != ',' && *text != end))
            return NULL;
        if (*text++ == end)
            return text;
    }
}

/* The end of the value at the beginning of the text; NULL if it is none. */
static const char *skip_value(const char *text)
{
    static const char *const words[] = { "true", "false", "null" };
    if (*text == '{' || *text == '[')
        return skip_members(text + 1, *text == '{' ? '}' : ']');
    if (*text == '"')
        return skip_string(text);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strncmp(text, words[i], strlen(words[i])) == 0)
            return text + strlen(words[i]);
    size_t length = strspn(text, "-+.0123456789e");
    return length == 0 ? NULL : text + length;
}

/* Takes the text out of the buffer; the caller frees it. */
static char *take_text(struct buffer *buffer)
{
    buffer_append(buffer, "", 1);
    assert_false(buffer->failed);
    char *text = strdup(buffer_bytes(buffer));
    assert_non_null(text);
    buffer_free(buffer);
    return text;
}

static void assert_json(const char *text)
{
    const char *end = skip_value(text);
    if (end == NULL || strcmp(end, "\n") != 0)
        fail_msg("this is no JSON: %s", text);
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is missing in:\n%s", part, text);
}

/* ---- Tests ---- */

static void test_json_is_well_formed(void **state)
{
    (void)state;
    struct buffer buffer = { 0 };
    struct json json = { .out = &buffer };
    json_open(&json, NULL, '{');
    json_text(&json, "text", "a \"b\" \\ \n\x1b[1m \xc3\xa4");
    json_open(&json, "none", '[');
    json_close(&json, ']');
    json_open(&json, "some", '[');
    json_integer(&json, NULL, -5);
    json_real(&json, NULL, 0.25);
    json_real(&json, NULL, (double)__builtin_nanf(""));
    json_boolean(&json, NULL, true);
    json_close(&json, ']');
    json_moment(&json, "when", 1763892904123);
    json_close(&json, '}');
    char *text = take_text(&buffer);
    assert_string_equal(text, "{\"text\":\"a \\\"b\\\" \\\\ \\\\x0a\\\\x1b[1m \\\\xc3\\\\xa4\",\"none\":[],"
                              "\"some\":[-5,0.25,null,true],\"when\":\"2025-11-23T10:15:04.123Z\"}");
    free(text);
}

static void test_everything_printed_is_well_formed(void **state)
{
    (void)state;
    struct made_up made_up = {
        .count = 2, .names = { "one", "two" }, .mode = "funnel", .failure = "\"refused\" \n\x1b]0;"
    };
    struct admin_source source = source_of(&made_up);
    struct history_book book;
    struct buffer buffer = { 0 };
    made_up.counters[0].failures[REASON_QUEUE_FULL] = 7;
    histogram_record(&made_up.counters[0].wait, 1500);
    history_init(&book);
    history_sample(&book, &source, 1);
    history_sample(&book, &source, 5000001);
    status_print(&source, &book, &buffer);
    char *text = take_text(&buffer);
    assert_json(text);
    assert_has(text, "\"requests_failed\":{\"queue_full\":7}");
    assert_has(text, "\"wait\":{\"count\":1,\"p50\":1.");
    assert_has(text, "\"name\":\"same#2\"");
    free(text);
    status_print_history(&source, &book, &buffer);
    text = take_text(&buffer);
    assert_json(text);
    assert_has(text, "\"wait_p50\":[null]");
    free(text);
    status_print_table(&source, &book, &buffer);
    text = take_text(&buffer);
    for (const char *c = text; *c != '\0'; c++)
        assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
    free(text);
    history_free(&book);
}

/* A name of a hundred bytes beside a short one, and one that is no UTF-8. */
static void test_odd_names_hurt_nobody(void **state)
{
    (void)state;
    static char long_name[101];
    memset(long_name, 'n', sizeof long_name - 1);
    struct made_up made_up = { .count = 1, .names = { "one" }, .mode = "proxy", .failure = "" };
    struct admin_source source = source_of(&made_up);
    struct history_book book;
    struct buffer buffer = { 0 };
    made_up.targets[0] = long_name;
    made_up.targets[1] = "unix:/\xff\"\\\n";
    history_init(&book);
    metrics_print(&source, &buffer);
    char *text = take_text(&buffer);
    assert_has(text, "proximux_target_usable{listener=\"one\",target=\"unix:/\\\\xff\\\"\\\\\\\\x0a\"} 0\n");
    free(text);
    status_print_table(&source, &book, &buffer);
    text = take_text(&buffer);
    const char *first = strstr(text, long_name), *second = strstr(text, "unix:/\\xff");
    assert_non_null(first);
    assert_non_null(second);
    const char *first_state = strstr(first, "down"), *second_state = strstr(second, "down");
    assert_non_null(first_state);
    assert_non_null(second_state);
    assert_int_equal(first_state - first, second_state - second); /* their column begins at one place */
    free(text);
    history_free(&book);
}

static void test_samples_are_rates(void **state)
{
    (void)state;
    struct made_up made_up = { .count = 1, .names = { "one" }, .mode = "funnel", .failure = "" };
    struct admin_source source = source_of(&made_up);
    struct history_book book;
    history_init(&book);
    history_sample(&book, &source, 1000000);
    assert_int_equal(history_length(history_find(&book, "one")), 0);
    made_up.counters[0].accepted = 10;
    made_up.counters[0].requests = 40;
    made_up.counters[0].failures[REASON_TARGET_RESET] = 5;
    made_up.counters[0].refused = 5;
    made_up.counters[0].bytes_from_clients = 1000;
    histogram_record(&made_up.counters[0].wait, 100);
    histogram_record(&made_up.of_targets[1].service, 1000);
    history_sample(&book, &source, 6000000);
    const struct history *history = history_find(&book, "one");
    assert_int_equal(history_length(history), 1);
    const struct history_sample *sample = history_at(history, 0);
    assert_true(sample->clients == 3 && sample->waiting == 2 && sample->in_flight == 1);
    assert_true(sample->clients_rate == 2 && sample->requests_rate == 8 && sample->faults_rate == 2);
    assert_true(sample->received_rate == 200 && sample->sent_rate == 0);
    assert_true(sample->wait_p50 > 90 && sample->wait_p50 < 110);
    assert_true(sample->service_p99 > 900 && sample->service_p99 < 1100);
    /* nothing new; and counters that begin anew are no flood */
    made_up.counters[0].requests = 0;
    history_sample(&book, &source, 11000000);
    sample = history_at(history, 1);
    assert_true(sample->requests_rate == 0 && sample->wait_p50 == -1);
    history_free(&book);
}

static void test_history_has_an_end(void **state)
{
    (void)state;
    struct made_up made_up = { .count = 2, .names = { "one", "two" }, .mode = "proxy", .failure = "" };
    struct admin_source source = source_of(&made_up);
    struct history_book book;
    int64_t now = 0;
    history_init(&book);
    for (size_t i = 0; i <= 2 * HISTORY_SAMPLES; i++) {
        made_up.counters[0].accepted += 5 * i;
        if (i == 3)
            histogram_record(&made_up.counters[0].wait, 10);
        history_sample(&book, &source, now += HISTORY_SECONDS * 1000000);
    }
    const struct history *history = history_find(&book, "one");
    assert_int_equal(history_length(history), HISTORY_SAMPLES);
    assert_true(history_at(history, 0)->clients_rate == HISTORY_SAMPLES + 1);
    assert_true(history_at(history, HISTORY_SAMPLES - 1)->clients_rate == 2 * HISTORY_SAMPLES);
    /* what was long ago is not recent */
    assert_int_equal(history_recent(history, &source, 0).wait.count, 0);
    histogram_record(&made_up.counters[0].wait, 20);
    assert_int_equal(history_recent(history, &source, 0).wait.count, 1);
    assert_int_equal(history_recent(NULL, &source, 0).wait.count, 2);
    /* who has gone is forgotten, who comes begins anew */
    made_up.names[0] = "three";
    history_sample(&book, &source, now + 5000000);
    assert_null(history_find(&book, "one"));
    assert_int_equal(history_length(history_find(&book, "two")), HISTORY_SAMPLES);
    assert_non_null(history_find(&book, "three"));
    history_free(&book);
}

/* Clients that end in the course of things are no faults. */
static void test_faults_of_proxy_mode(void **state)
{
    (void)state;
    struct made_up made_up = { .count = 1, .names = { "one" }, .mode = "proxy", .failure = "" };
    struct admin_source source = source_of(&made_up);
    struct history_book book;
    history_init(&book);
    history_sample(&book, &source, 1000000);
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
        made_up.counters[0].ends[reason] = 5;
    history_sample(&book, &source, 6000000);
    assert_true(history_at(history_find(&book, "one"), 0)->faults_rate == REASON_COUNT - 7);
    history_free(&book);
}

static char *read_file(const char *name)
{
    const char *source = getenv("srcdir");
    char path[512];
    char *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%s", source == NULL ? "." : source, name);
    FILE *stream = fopen(path, "r");
    if (stream == NULL || getdelim(&text, &size, '\0', stream) == -1)
        fail_msg("%s can't be read", path);
    fclose(stream);
    return text;
}

/* How often a line of the text is just this. */
static size_t count_lines(const char *text, const char *line)
{
    size_t count = 0;
    size_t length = strlen(line);
    for (const char *at = text; (at = strstr(at, line)) != NULL; at += length)
        count += (at == text || at[-1] == '\n') && at[length] == '\n';
    return count;
}

static size_t count_text(const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

static const struct counter *all_counters(size_t place)
{
    for (int group = 0; group < GROUP_COUNT; group++) {
        size_t count;
        const struct counter *lines = counters_of((enum counter_group)group, &count);
        if (place < count)
            return &lines[place];
        place -= count;
    }
    return NULL;
}

static void test_manual_has_every_figure(void **state)
{
    (void)state;
    char *page = read_file("man/proximux-admin.7");
    char line[160];
    char key[STATUS_KEY_SIZE];
    size_t count = 0;
    const struct process_metrics metrics = metrics_of_process(&(struct admin_process){ 0 });
    for (; all_counters(count) != NULL; count++) {
        snprintf(line, sizeof line, ".It Ic " METRICS_PREFIX "%s", all_counters(count)->name);
        test_require(count_lines(page, line) == 1, "the page has not one line \"%s\"", line);
        snprintf(line, sizeof line, ".It Ic %s", status_key(all_counters(count), key));
        test_require(count_lines(page, line) >= 1, "the page has no line \"%s\"", line);
    }
    size_t of_ours = 0;
    for (size_t i = 0; i < METRICS_OF_PROCESS; i++) {
        snprintf(line, sizeof line, ".It Ic %s", metrics.all[i].name);
        test_require(count_lines(page, line) == 1, "the page has not one line \"%s\"", line);
        of_ours += strncmp(metrics.all[i].name, METRICS_PREFIX, strlen(METRICS_PREFIX)) == 0;
    }
    assert_int_equal(count_text(page, ".It Ic " METRICS_PREFIX), count + of_ours);
    free(page);
}

static bool is_metric(const char *name, size_t length)
{
    static const char *const ends[] = { "", "_bucket", "_sum", "_count" };
    char wanted[160];
    const struct process_metrics metrics = metrics_of_process(&(struct admin_process){ 0 });
    for (size_t i = 0; i < METRICS_OF_PROCESS; i++)
        if (strlen(metrics.all[i].name) == length && strncmp(metrics.all[i].name, name, length) == 0)
            return true;
    for (size_t i = 0; all_counters(i) != NULL; i++)
        for (size_t k = 0; k < sizeof ends / sizeof ends[0]; k++) {
            bool is_histogram = all_counters(i)->kind == COUNTER_TIMES;
            snprintf(wanted, sizeof wanted, METRICS_PREFIX "%s%s", all_counters(i)->name, ends[k]);
            if (is_histogram == (k > 0) && strlen(wanted) == length && strncmp(wanted, name, length) == 0)
                return true;
        }
    return false;
}

static void test_monitoring_knows_the_metrics(void **state)
{
    (void)state;
    static const char *const files[] = { "etc/monitoring/grafana.json", "etc/monitoring/alerts.yml" };
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *text = read_file(files[i]);
        size_t found = 0;
        for (const char *at = text; (at = strstr(at, METRICS_PREFIX)) != NULL; found++) {
            size_t length = strspn(at, letters);
            test_require(is_metric(at, length), "%s: there is no metric %.*s", files[i], (int)length, at);
            at += length;
        }
        assert_true(found >= 10);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_is_well_formed),
        cmocka_unit_test(test_everything_printed_is_well_formed),
        cmocka_unit_test(test_odd_names_hurt_nobody),
        cmocka_unit_test(test_samples_are_rates),
        cmocka_unit_test(test_history_has_an_end),
        cmocka_unit_test(test_faults_of_proxy_mode),
        cmocka_unit_test(test_manual_has_every_figure),
        cmocka_unit_test(test_monitoring_knows_the_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
