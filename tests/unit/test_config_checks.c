/* The key `check`: by word or as a group, of a listener or of a target, and what it can't be. */
#include "unit/config_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Loads a listener with these keys, which stand on line 2, and two targets, the second with these. */
static void read_check(struct config_place *place, const char *keys, const char *target)
{
    config_place_read(
        place,
        "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\";\n"
        "%s\n"
        "targets = ( \"127.0.0.1:2\", { address = \"127.0.0.1:3\"; backup = true; %s } ); } );\n",
        keys, target);
}

static const struct check_settings *check_of(const struct config_place *place, size_t target)
{
    if (place->config.settings == NULL)
        fail_msg("refused:\n%s", place->said);
    return &place->config.settings->listeners[0]->targets[target].check;
}

static void a_target_has_its_own_or_that_of_its_listener(void **state)
{
    struct config_place *place = *state;
    read_check(place, "protocol = \"redis\";", "");
    assert_int_equal(check_of(place, 0)->type, CHECK_NONE);
    read_check(place, "protocol = \"redis\"; check = \"protocol\";", "check = \"none\";");
    assert_int_equal(check_of(place, 0)->type, CHECK_PROTOCOL);
    assert_int_equal(check_of(place, 0)->interval, 5000);
    assert_int_equal(check_of(place, 0)->timeout, 2000);
    assert_int_equal(check_of(place, 0)->rise, 2);
    assert_int_equal(check_of(place, 0)->fall, 3);
    assert_int_equal(check_of(place, 1)->type, CHECK_NONE);
    read_check(place, "protocol = \"modbus\"; check = { type = \"protocol\"; unit = 0; };",
               "check = { type = \"connect\"; interval = 100; };");
    assert_int_equal(check_of(place, 0)->unit, 0);
    assert_int_equal(check_of(place, 0)->function, 3);
    assert_int_equal(check_of(place, 1)->type, CHECK_CONNECT);
    assert_int_equal(check_of(place, 1)->interval, 100);
}

static void defaults_give_one_to_all(void **state)
{
    struct config_place *place = *state;
    config_place_read(
        place,
        "defaults = { protocol = \"line\"; %s };\n"
        "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; } );\n",
        "check = { type = \"exchange\"; send = \"a\\\\n\"; };");
    assert_int_equal(check_of(place, 0)->type, CHECK_EXCHANGE);
    assert_int_equal(check_of(place, 0)->send.length, 2);
    assert_memory_equal(check_of(place, 0)->send.bytes, "a\n", 2);
    assert_int_equal(check_of(place, 0)->expect.length, 0);
}

static void what_can_not_be_is_said(void **state)
{
    static const struct {
        const char *keys;
        const char *said;
    } rows[] = {
        { "check = \"protocol\";", "check: type: \"raw\" has no check of its own" },
        { "check = { interval = 1; };", "check: type: is required" },
        { "protocol = \"http\"; check = { type = \"exchange\"; send = \"a\"; };",
          "\"http\" has a check of its own" },
        { "check = \"exchange\";", "check: send: is required with type \"exchange\", or expect" },
        { "mode = \"fifo\"; check = { type = \"exchange\"; expect = \"a\"; };", "check: send: is required" },
        { "mode = \"fifo\"; protocol = \"line\"; check = { type = \"exchange\"; send = \"a\"; };",
          "check: send: is not one whole request of the protocol \"line\"" },
        { "mode = \"fifo\"; protocol = \"line\"; check = { type = \"exchange\"; send = \"a\\\\nb\\\\n\"; };",
          "check: send: is not one whole request of the protocol \"line\"" },
        { "check = { type = \"connect\"; path = \"/\"; };",
          "check: path: says nothing to a check of type \"connect\"" },
        { "protocol = \"redis\"; check = { type = \"protocol\"; unit = 1; };", "check: unit: says nothing" },
        { "protocol = \"http\"; check = { type = \"protocol\"; path = \"health\"; };",
          "check: path: \"health\" is no path" },
        { "check = \"ping\";", "check" },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        read_check(place, rows[i].keys, "");
        assert_null(place->config.settings);
        if (strstr(place->said, rows[i].said) == NULL)
            fail_msg("%s: %s", rows[i].keys, place->said);
        const char *first = strstr(place->said, "check: ");
        if (first != NULL && strstr(first + 1, "error: listener \"a\": check: ") != NULL)
            fail_msg("said twice: %s", place->said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(a_target_has_its_own_or_that_of_its_listener),
        CONFIG_TEST(defaults_give_one_to_all),
        CONFIG_TEST(what_can_not_be_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
