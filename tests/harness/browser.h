/* A headless Chromium that a test drives by its debugging protocol, over two pipes. */
#ifndef HARNESS_BROWSER_H
#define HARNESS_BROWSER_H

#include "harness/fixture.h"

struct browser;

/* Starts one, with its files in the fixture's directory. NULL: it is not installed. Owned by the caller:
 * browser_stop(). */
#define browser_start(fixture) browser_start_at((fixture), HERE)
struct browser *browser_start_at(const struct fixture *fixture, struct place place);
void browser_stop(struct browser *browser);

/* How wide and high the page is, and which of "light" and "dark" is preferred. */
#define browser_look(browser, width, height, scheme)                                                         \
    browser_look_at((browser), (width), (height), (scheme), HERE)
void browser_look_at(struct browser *browser, int width, int height, const char *scheme, struct place place);

/* Goes to a page; use browser_wait() to see it come. */
#define browser_open(browser, address) browser_open_at((browser), (address), HERE)
void browser_open_at(struct browser *browser, const char *address, struct place place);

/* The value of an expression of JavaScript as text, in a buffer that the next call overwrites. It must have
 * neither double quotes nor backslashes. */
#define browser_ask(browser, expression) browser_ask_at((browser), (expression), HERE)
const char *browser_ask_at(struct browser *browser, const char *expression, struct place place);

/* Waits until an expression is true. */
#define browser_wait(browser, expression) browser_wait_at((browser), (expression), HERE)
void browser_wait_at(struct browser *browser, const char *expression, struct place place);

/* Fails the test if the browser has complained of anything so far: errors and warnings on its console,
 * exceptions, loads that failed or were forbidden. */
#define browser_expect_content(browser) browser_expect_content_at((browser), HERE)
void browser_expect_content_at(const struct browser *browser, struct place place);

#endif
