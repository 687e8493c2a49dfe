/* The status page in a browser: what it shows, in every width and colour; that it says when nobody answers;
 * and that the browser has nothing to complain of. */
#include "harness/browser.h"
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/scene.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HOST "127.0.0.1"

/* The page has what it shows after its first answer. */
#define IS_THERE "document.getElementById('state').textContent === 'running'"

static struct browser *start_browser(struct fixture *fixture)
{
    struct browser *browser = browser_start(fixture);
    if (browser == NULL) {
        print_message("skipped: chromium is not installed (Debian: chromium)\n");
        skip();
    }
    return browser;
}

static void open_page(struct browser *browser, unsigned admin)
{
    char address[64];
    snprintf(address, sizeof address, "http://127.0.0.1:%u/", admin);
    browser_open(browser, address);
    browser_wait(browser, "document.readyState === 'complete' && location.pathname === '/' && "
                          "document.getElementById('state') !== null");
    browser_wait(browser, IS_THERE);
}

#define expect_on_page(browser, expression, expected)                                                        \
    do {                                                                                                     \
        const char *value = browser_ask((browser), (expression));                                            \
        test_require(strcmp(value, (expected)) == 0, "%s is \"%s\"", (expression), value);                   \
    } while (0)

/* In all widths, light and dark, nothing sticks out. */
static void expect_to_fit(struct browser *browser)
{
    static const struct {
        int width;
        const char *scheme;
        const char *background;
    } rows[] = {
        { 1280, "light", "rgb(245, 246, 248)" },
        { 1280, "dark", "rgb(18, 22, 28)" },
        { 360, "light", "rgb(245, 246, 248)" },
        { 360, "dark", "rgb(18, 22, 28)" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        browser_look(browser, rows[i].width, 800, rows[i].scheme);
        expect_on_page(browser, "getComputedStyle(document.body).backgroundColor", rows[i].background);
        expect_on_page(browser, "document.documentElement.scrollWidth <= innerWidth", "true");
        expect_on_page(browser,
                       "[...document.querySelectorAll('.scroll')].every(node => "
                       "node.scrollWidth <= node.clientWidth)",
                       "true");
    }
    browser_look(browser, 1280, 800, "light");
}

static void click_through(struct browser *browser)
{
    browser_ask(browser, "document.getElementById('pause').click()");
    expect_on_page(browser, "document.getElementById('pause').textContent", "Go on");
    expect_on_page(browser, "document.getElementById('pause').getAttribute('aria-pressed')", "true");
    browser_ask(browser, "document.getElementById('pause').click()");
    expect_on_page(browser, "document.getElementById('pause').textContent", "Pause");
    browser_ask(browser, "document.querySelectorAll('summary').forEach(node => node.click())");
    expect_on_page(browser, "[...document.querySelectorAll('details')].every(node => node.open)", "true");
    expect_on_page(browser, "document.querySelector('details').textContent.includes('clients let in: 1')",
                   "true");
    /* every link leads somewhere */
    expect_on_page(browser,
                   "Promise.all([...document.querySelectorAll('nav a')].map(async link => (await "
                   "fetch(link.href)).status)).then(all => all.length + ' ' + [...new Set(all)])",
                   "6 200");
}

/* What a screen reader is told: names of tables and charts, headings of columns. */
static void expect_to_be_named(struct browser *browser)
{
    expect_on_page(browser,
                   "[...document.querySelectorAll('svg')].every(node => "
                   "node.getAttribute('aria-label').includes(' of the last '))",
                   "true");
    expect_on_page(browser, "[...document.querySelectorAll('th')].every(node => node.scope !== '')", "true");
    expect_on_page(browser,
                   "[...document.querySelectorAll('[aria-labelledby]')].every(node => "
                   "document.getElementById(node.getAttribute('aria-labelledby')) !== null)",
                   "true");
    expect_on_page(browser, "document.documentElement.lang", "en");
}

static void the_page_shows_what_there_is(void **state)
{
    struct fixture *fixture = *state;
    struct browser *browser = start_browser(fixture);
    unsigned admin = peer_free_port();
    unsigned port = peer_free_port();
    struct echo *echo = echo_start(HOST, 0, NULL);
    struct proximux *proximux = proximux_start(
        fixture,
        "admin: { listen = \"127.0.0.1:%u\"; };\n"
        "listeners = ( { name = \"web\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); },\n"
        "  { name = \"shared\"; mode = \"funnel\"; listen = \"127.0.0.1:%u\"; warmup = true; " SCENE_LINE
        "    targets = ( \"127.0.0.1:%u\", \"unix:%s/<img src=x onerror=alert(1)>\","
        "      \"unix:%s/a-long-name-without-a-place-where-it-could-be-broken.sock\" ); } );",
        admin, port, echo_port(echo), peer_free_port(), echo_port(echo), fixture->directory,
        fixture->directory);
    proximux_wait_log_times(proximux, "is down", 2);
    int client = peer_connect(HOST, port);
    peer_send_text(client, "hello");
    peer_expect_text(client, "hello");
    open_page(browser, admin);
    browser_wait(browser, "document.querySelectorAll('section.listener').length === 2");
    expect_on_page(browser, "[...document.querySelectorAll('h2')].map(node => node.textContent).join()",
                   "web,shared,Last errors and warnings");
    expect_on_page(browser, "document.querySelector('dd').textContent", "1"); /* client */
    expect_on_page(browser,
                   "[...document.querySelectorAll('.targets .badge')].map(node => node.textContent).join()",
                   "up,up,down,down");
    /* what looks like markup is text */
    expect_on_page(browser, "document.querySelectorAll('img').length", "0");
    expect_on_page(browser, "document.getElementById('errors').textContent.includes('<img src=x')", "true");
    /* the first sample has come, and charts are drawn */
    browser_wait(browser, "[...document.querySelectorAll('svg')].some(node => "
                          "(node.querySelector('path:not(.grid)').getAttribute('d') || '').includes('M'))");
    click_through(browser);
    expect_to_fit(browser);
    browser_wait(browser,
                 "[...document.querySelectorAll('svg')].every(node => node.getAttribute('aria-label'))");
    expect_to_be_named(browser);
    browser_expect_content(browser);
    close(client);
    browser_stop(browser);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void the_page_says_when_nobody_answers(void **state)
{
    struct fixture *fixture = *state;
    struct browser *browser = start_browser(fixture);
    unsigned admin = peer_free_port();
    struct proximux *proximux = proximux_start(
        fixture,
        "admin: { listen = \"127.0.0.1:%u\"; };\n"
        "listeners = ( { name = \"web\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:1\" ); } );",
        admin, peer_free_port());
    open_page(browser, admin);
    expect_on_page(browser, "document.getElementById('alarm').textContent", "");
    proximux_signal(proximux, SIGSTOP);
    browser_wait(browser,
                 "document.getElementById('alarm').textContent.startsWith('Proximux does not answer. "
                 "What is below is how it was at ')");
    expect_on_page(browser, "document.getElementById('state').textContent", "no answer");
    expect_on_page(browser, "document.getElementById('alarm').getAttribute('role')", "alert");
    proximux_signal(proximux, SIGCONT);
    browser_wait(browser, "document.getElementById('alarm').textContent === '' && " IS_THERE);
    browser_expect_content(browser);
    browser_stop(browser);
    proximux_stop(proximux);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(the_page_shows_what_there_is),
        fixture_test(the_page_says_when_nobody_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
