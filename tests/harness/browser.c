#include "harness/browser.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One message of the protocol, which ends with a zero byte, must fit. */
#define MESSAGE_SIZE 262144

/* How long a browser may take to start on a busy machine, milliseconds. */
#define START_PATIENCE 60000

struct browser {
    pid_t process;
    int commands; /* pipes with names, which the browser has as descriptors 3 and 4 */
    int messages;
    unsigned last_id;
    char session[80];
    char complaints[4096];
    char message[MESSAGE_SIZE]; /* the last one */
    char input[MESSAGE_SIZE];
    size_t length; /* of what is in `input` */
    char value[MESSAGE_SIZE];
};

/* The text that follows `key` in a message, up to the quote that ends it, its escapes undone (but for \u).
 * False if it is not there. */
static bool find_text(const char *message, const char *key, char *text, size_t size)
{
    const char *from = strstr(message, key);
    size_t length = 0;

    if (from == NULL)
        return false;
    for (from += strlen(key); *from != '"' && *from != '\0' && length + 1 < size; from++) {
        if (*from == '\\' && from[1] != '\0' && from[1] != 'u') {
            from++;
            text[length++] = *from == 'n' ? '\n' : *from;
        } else {
            text[length++] = *from;
        }
    }
    text[length] = '\0';
    return true;
}

static void note_complaint(struct browser *browser, const char *message)
{
    bool complains =
        strstr(message, "\"method\":\"Runtime.exceptionThrown\"") != NULL ||
        (strstr(message, "\"method\":\"Log.entryAdded\"") != NULL &&
         (strstr(message, "\"level\":\"error\"") != NULL ||
          strstr(message, "\"level\":\"warning\"") != NULL)) ||
        (strstr(message, "\"method\":\"Runtime.consoleAPICalled\"") != NULL &&
         (strstr(message, "\"type\":\"error\"") != NULL || strstr(message, "\"type\":\"warning\"") != NULL));
    size_t used = strlen(browser->complaints);

    if (complains && used + 2 < sizeof browser->complaints)
        snprintf(browser->complaints + used, sizeof browser->complaints - used, "%.1000s\n", message);
}

/* Reads the next message into `message`; what has come behind it is kept in `input`. */
static void next_message(struct browser *browser, int64_t deadline, struct place place)
{
    char *end;

    while ((end = memchr(browser->input, '\0', browser->length)) == NULL) {
        struct pollfd entry = { .fd = browser->messages, .events = POLLIN };
        ssize_t count = 0;

        if (poll(&entry, 1, test_remaining(deadline)) == 1)
            count = read(browser->messages, browser->input + browser->length, MESSAGE_SIZE - browser->length);
        if (count <= 0)
            test_fail_at(place, "the browser does not answer");
        browser->length += (size_t)count;
    }
    size_t taken = (size_t)(end - browser->input) + 1;
    memcpy(browser->message, browser->input, taken);
    browser->length -= taken;
    memmove(browser->input, end + 1, browser->length);
    note_complaint(browser, browser->message);
}

/* Sends a command and waits for its answer, which is in `message` then. */
static void command(struct browser *browser, const char *method, const char *parameters, int64_t patience,
                    struct place place)
{
    char text[8192];
    char answer[32];
    int64_t deadline = test_deadline(patience);
    int length =
        snprintf(text, sizeof text, "{\"id\":%u,\"method\":\"%s\",\"params\":{%s}%s%s%s}", ++browser->last_id,
                 method, parameters, browser->session[0] == '\0' ? "" : ",\"sessionId\":\"", browser->session,
                 browser->session[0] == '\0' ? "" : "\"");

    if (length >= (int)sizeof text ||
        write(browser->commands, text, (size_t)length + 1) != (ssize_t)length + 1)
        test_fail_at(place, "the browser can't be told to %s", method);
    snprintf(answer, sizeof answer, "{\"id\":%u,", browser->last_id);
    do
        next_message(browser, deadline, place);
    while (strncmp(browser->message, answer, strlen(answer)) != 0);
    if (strncmp(browser->message + strlen(answer), "\"error\"", 7) == 0)
        test_fail_at(place, "%s: %s", method, browser->message);
}

static int make_pipe(const struct fixture *fixture, const char *name, char *path, struct place place)
{
    fixture_path(fixture, name, path);
    int descriptor = mkfifo(path, 0600) == 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor == -1)
        test_fail_at(place, "no pipe for the browser");
    return descriptor;
}

static void attach(struct browser *browser, struct place place)
{
    static const char *const domains[] = { "Runtime.enable", "Log.enable", "Page.enable" };
    char target[80] = "";
    char parameters[160];

    command(browser, "Target.createTarget", "\"url\":\"about:blank\"", START_PATIENCE, place);
    find_text(browser->message, "\"targetId\":\"", target, sizeof target);
    snprintf(parameters, sizeof parameters, "\"targetId\":\"%s\",\"flatten\":true", target);
    command(browser, "Target.attachToTarget", parameters, START_PATIENCE, place);
    find_text(browser->message, "\"sessionId\":\"", browser->session, sizeof browser->session);
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++)
        command(browser, domains[i], "", TEST_PATIENCE, place);
}

struct browser *browser_start_at(const struct fixture *fixture, struct place place)
{
    char program[FIXTURE_PATH];
    char in[FIXTURE_PATH];
    char out[FIXTURE_PATH];
    char log[FIXTURE_PATH];
    char line[1024];

    if (!process_find_command("chromium", NULL, program, sizeof program))
        return NULL;
    struct browser *browser = calloc(1, sizeof *browser);
    assert_non_null(browser);
    browser->commands = make_pipe(fixture, "browser.in", in, place);
    browser->messages = make_pipe(fixture, "browser.out", out, place);
    /* no sandbox, for tests are run by root too; nothing but our page is opened */
    snprintf(line, sizeof line,
             "exec %s --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
             "--disable-extensions --disable-background-networking --disable-component-update "
             "--user-data-dir='%s/browser' --remote-debugging-pipe about:blank 3<'%s' 4>'%s'",
             program, fixture->directory, in, out);
    const char *const arguments[] = { "sh", "-c", line, NULL };
    struct process_options options = { .arguments = arguments,
                                       .output = fixture_path(fixture, "browser.log", log) };
    browser->process = process_start(&options);
    assert_true(browser->process > 0);
    attach(browser, place);
    return browser;
}

void browser_stop(struct browser *browser)
{
    static const char close_command[] = "{\"id\":1000000,\"method\":\"Browser.close\"}";
    int status;

    if (write(browser->commands, close_command, sizeof close_command) != (ssize_t)sizeof close_command ||
        !process_wait(browser->process, TEST_PATIENCE, &status))
        process_end(browser->process);
    close(browser->commands);
    close(browser->messages);
    free(browser);
}

void browser_look_at(struct browser *browser, int width, int height, const char *scheme, struct place place)
{
    char parameters[200];

    snprintf(parameters, sizeof parameters,
             "\"width\":%d,\"height\":%d,\"deviceScaleFactor\":1,\"mobile\":false", width, height);
    command(browser, "Emulation.setDeviceMetricsOverride", parameters, TEST_PATIENCE, place);
    snprintf(parameters, sizeof parameters,
             "\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"%s\"}]", scheme);
    command(browser, "Emulation.setEmulatedMedia", parameters, TEST_PATIENCE, place);
}

void browser_open_at(struct browser *browser, const char *address, struct place place)
{
    char parameters[300];

    snprintf(parameters, sizeof parameters, "\"url\":\"%s\"", address);
    command(browser, "Page.navigate", parameters, TEST_PATIENCE, place);
}

const char *browser_ask_at(struct browser *browser, const char *expression, struct place place)
{
    char parameters[4096];

    snprintf(parameters, sizeof parameters,
             "\"returnByValue\":true,\"awaitPromise\":true,\"expression\":\"(async () => String(await "
             "(%s)))()\"",
             expression);
    command(browser, "Runtime.evaluate", parameters, TEST_PATIENCE, place);
    if (!find_text(browser->message, "\"value\":\"", browser->value, sizeof browser->value) ||
        strstr(browser->message, "\"exceptionDetails\"") != NULL)
        test_fail_at(place, "%s: %s", expression, browser->message);
    return browser->value;
}

void browser_wait_at(struct browser *browser, const char *expression, struct place place)
{
    int64_t deadline = test_deadline(2 * TEST_PATIENCE);

    while (strcmp(browser_ask_at(browser, expression, place), "true") != 0) {
        if (test_now() >= deadline)
            test_fail_at(place, "never came true on the page: %s", expression);
        test_pause();
    }
}

void browser_expect_content_at(const struct browser *browser, struct place place)
{
    if (browser->complaints[0] != '\0')
        test_fail_at(place, "the browser complains: %s", browser->complaints);
}
