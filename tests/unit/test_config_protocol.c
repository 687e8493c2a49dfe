/* The protocol of a listener: by name or as a group, each key with its protocols, strings of bytes, and what
 * is made of them. */
#include "config/bytes.h"
#include "config/keys.h"
#include "protocol/length/length.h"
#include "protocol/line/line.h"
#include "protocol/marks/marks.h"
#include "protocol/modbus/modbus.h"
#include "protocol/protocols.h"
#include "protocol/raw/raw.h"
#include "protocol/redis/redis.h"
#include "unit/config_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Loads a listener in mode fifo with this protocol, which stands on line 2. */
static void read_protocol(struct config_place *place, const char *protocol)
{
    config_place_read(place,
                      "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; mode = \"fifo\";\n"
                      "protocol = %s;\n"
                      "targets = \"127.0.0.1:2\"; } );\n",
                      protocol);
}

static const struct protocol_settings *protocol_of(const struct config_place *place)
{
    if (place->config.settings == NULL)
        fail_msg("refused:\n%s", place->said);
    return &place->config.settings->listeners[0]->protocol;
}

static void assert_slice(struct slice slice, const char *bytes, size_t length)
{
    assert_int_equal(slice.length, length);
    assert_memory_equal(slice.bytes, bytes, length);
}

#define assert_bytes(slice, literal) assert_slice(slice, literal, sizeof(literal) - 1)

static void each_name_is_a_protocol(void **state)
{
    static const struct {
        const char *protocol;
        const char *name;
        bool is_async;
        bool aborts_on_close;
    } rows[] = {
        { "\"line\"", "line", false, false },
        { "\"modbus\"", "modbus", false, true },
        { "\"redis\"", "redis", true, false },
        { "\"memcached\"", "memcached", true, false },
        { "\"http\"", "http", false, true },
        { "{ type = \"http\"; }", "http", false, true },
        { "{ type = \"length\"; width = 4; }", "length", false, false },
        { "{ type = \"marks\"; start = \"<\"; end = \">\"; }", "marks", false, false },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        read_protocol(place, rows[i].protocol);
        config_place_expect(place, "");
        const struct listener_settings *listener = place->config.settings->listeners[0];
        assert_string_equal(listener->protocol.protocol->name, rows[i].name);
        assert_int_equal(listener->protocol.is_async, rows[i].is_async);
        assert_int_equal(listener->async, rows[i].is_async);
        assert_int_equal(listener->abort_on_close, rows[i].aborts_on_close);
    }
}

static void defaults_by_protocol_can_be_overridden(void **state)
{
    struct config_place *place = *state;
    config_place_read(place, "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; mode = \"funnel\";\n"
                             "protocol = \"redis\"; async = false; abort_on_close = true;\n"
                             "buffer_limit = 2048; max_message = 5000000000L;\n"
                             "targets = \"127.0.0.1:2\"; } );\n");
    config_place_expect(place, "");
    const struct listener_settings *listener = place->config.settings->listeners[0];
    assert_false(listener->async);
    assert_false(listener->protocol.is_async);
    assert_true(listener->abort_on_close);
    assert_int_equal(listener->protocol.head_limit, 2048);
    assert_int_equal(listener->protocol.max_message, INT64_C(5000000000));
}

static void groups_that_are_wrong(void **state)
{
    static const struct {
        const char *protocol;
        const char *said;
    } rows[] = {
        { "\"modbuss\"", "protocol: \"modbuss\" is unknown: one of \"raw\"" },
        { "\"modbuss\"",
          "\"postgresql\", or a group: { type = ...; ... } is wanted; did you mean \"modbus\"?" },
        { "{ type = \"wire\"; }", "protocol: type: \"wire\" is unknown: one of \"raw\"" },
        { "{ type = \"redis\"; pasword = \"x\"; }", "pasword: unknown key; did you mean \"password\"?" },
        { "{ type = \"redis\"; width = 2; }",
          "protocol: width: belongs to length; the type here is \"redis\"" },
        { "{ type = \"http\"; error_reply = \"x\"; }",
          "error_reply: belongs to line, length or marks; the type here is \"http\"" },
        { "{ width = 2; }", "width: belongs to length; the type here is \"raw\"" },
        { "{ type = \"line\"; response_gap = 2; }", "response_gap: belongs to raw" },
        { "{ type = \"length\"; }", "protocol: width: is required with type \"length\"" },
        { "\"length\"", "protocol: width: is required with type \"length\"" },
        { "{ type = \"marks\"; end = \"x\"; }", "protocol: start: is required with type \"marks\"" },
        { "{ type = \"marks\"; start = \"x\"; }", "protocol: end: is required with type \"marks\"" },
        { "{ type = \"marks\"; start = \"x\"; end = \"\"; }", "protocol: end: is empty" },
        { "{ type = \"line\"; delimiter = \"\"; }", "protocol: delimiter: is empty" },
        { "{ type = \"line\"; delimiter = \"\\\\q\"; }",
          "protocol: delimiter: \"\\q\" is no escape: there are \\n" },
        { "{ type = \"line\"; delimiter = \"a\\\\\"; }", "protocol: delimiter: \"\\\" is no escape" },
        { "{ type = \"line\"; reply_until = \"\\\\x1\"; }", "protocol: reply_until: \"\\x1\" is no escape" },
        { "{ type = \"line\"; reply_if = \"\\\\xg0\"; }", "protocol: reply_if: \"\\xg0\" is no escape" },
        { "{ type = \"line\"; reply_if = \"?\\x00\"; }", "reply_if: \\x00 would cut the string short" },
        { "{ type = \"line\"; reply_until = \".\"; reply_lines = 2; }",
          "protocol: reply_lines: does not go with reply_until" },
        { "{ type = \"length\"; width = 5; }", "protocol: width: a binary length has 1, 2, 3, 4 or 8 bytes" },
        { "{ type = \"length\"; width = 10; encoding = \"bcd\"; }", "a bcd length has 1 to 9 bytes" },
        { "{ type = \"length\"; width = 19; encoding = \"ascii\"; }", "width: 19 is out of range" },
        { "{ type = \"length\"; width = 2; offset = 255; }",
          "protocol: width: the length ends after 257 bytes; a header has 256 at most" },
        { "{ type = \"length\"; width = 2; encoding = \"ascii\"; endian = \"little\"; }",
          "protocol: endian: only binary numbers have an order" },
        { "{ type = \"length\"; width = 2; encoding = \"hex\"; }", "protocol: encoding: \"hex\" is unknown" },
        { "{ type = \"length\"; width = 2; id = 5; }", "protocol: id: a group: { ... } is wanted" },
        { "{ type = \"length\"; width = 2; id = { offset = 2; }; }", "protocol: id: width: is required" },
        { "{ type = \"length\"; width = 2; id = { width = 2; }; }", "protocol: id: offset: is required" },
        { "{ type = \"length\"; width = 2; id = { ofset = 2; offset = 2; width = 2; }; }",
          "did you mean \"offset\"?" },
        { "{ type = \"length\"; width = 4; id = { offset = 3; width = 2; }; }",
          "protocol: id: the id overlaps the length" },
        { "{ type = \"length\"; offset = 2; width = 4; id = { offset = 0; width = 3; }; }",
          "protocol: id: the id overlaps the length" },
        { "{ type = \"length\"; width = 2; id = { offset = 250; width = 8; }; }",
          "protocol: id: the id ends after 258 bytes; a header has 256 at most" },
        { "{ type = \"redis\"; username = \"u\"; }", "protocol: username: needs a password" },
        { "{ type = \"redis\"; password = \"\"; }", "protocol: password: is empty" },
        { "{ type = \"redis\"; commands = [ \"A\", \"J*N\" ]; }", "protocol: commands: \"J*N\" is no name" },
        { "{ type = \"redis\"; commands = \"\"; }", "protocol: commands: \"\" is no name" },
        { "{ type = \"redis\"; commands = \"SET x\"; }", "protocol: commands: \"SET x\" is no name" },
        { "{ type = \"modbus\"; match = \"turn\"; }", "protocol: match: \"turn\" is unknown: one of \"id\"" },
        { "\"mysql\"", "protocol: \"mysql\" can't be shared, which mode \"fifo\" would do: transactions" },
        { "{ type = \"postgresql\"; }", "protocol: \"postgresql\" can't be shared" },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        read_protocol(place, rows[i].protocol);
        if (place->config.settings != NULL || strstr(place->said, rows[i].said) == NULL)
            fail_msg("row %zu, %s: \"%s\" is missing in:\n%s", i, rows[i].protocol, rows[i].said,
                     place->said);
        if (strstr(place->said, "main.conf:2: error: ") == NULL)
            fail_msg("row %zu: no line in:\n%s", i, place->said);
        if (place->config.errors != 1)
            fail_msg("row %zu: more than one error:\n%s", i, place->said);
    }
}

static void strings_that_are_too_long(void **state)
{
    struct config_place *place = *state;
    char text[512];
    char longest[258] = "";
    memset(longest, 'x', 256);
    snprintf(text, sizeof text, "{ type = \"line\"; delimiter = \"%s\"; }", longest);
    read_protocol(place, text);
    config_place_expect(place, "");
    longest[256] = 'x';
    snprintf(text, sizeof text, "{ type = \"line\"; delimiter = \"%s\"; }", longest);
    read_protocol(place, text);
    assert_non_null(strstr(place->said, "protocol: delimiter: has more than 256 bytes"));
}

static void bytes_have_escapes_of_their_own(void **state)
{
    static const struct {
        const char *text;
        const char *bytes;
        size_t length;
    } rows[] = {
        { "", "", 0 },
        { "plain", "plain", 5 },
        { "\\n\\r\\t\\0\\\\", "\n\r\t\0\\", 5 },
        { "\\x00\\xfF\\x7e", "\0\xff\x7e", 3 },
        { "\\x414\\01", "A4\0001", 4 },
        { "a\nb", "a\nb", 3 },
        { "\\\\n", "\\n", 2 },
    };
    static const char *const wrong[] = { "a\\", "\\N", "\\x", "\\x1", "\\x1g", "\\X41", "ok\\\\\\q", "\\ " };
    const char *place;
    struct slice slice;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(bytes_decode(rows[i].text, &slice, &place));
        assert_slice(slice, rows[i].bytes, rows[i].length);
        free((char *)slice.bytes);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(bytes_decode(wrong[i], &slice, &place));
        assert_ptr_equal(place, strrchr(wrong[i], '\\'));
    }
}

static void keys_of_line(void **state)
{
    struct config_place *place = *state;
    read_protocol(place, "\"line\"");
    assert_bytes(line_own(protocol_of(place))->delimiter, "\n");
    assert_int_equal(line_own(protocol_of(place))->reply_lines, 1);
    assert_int_equal(line_own(protocol_of(place))->reply_until.length, 0);
    assert_int_equal(line_own(protocol_of(place))->reply_if.length, 0);
    assert_int_equal(error_reply_own(protocol_of(place))->error_reply.length, 0);
    read_protocol(place,
                  "{ type = \"line\"; delimiter = \"\\\\r\\\\n\"; reply_until = \".\\\\0\"; reply_if = \"?\";"
                  " error_reply = \"-1\\r\\n\"; }");
    config_place_expect(place, "");
    assert_bytes(line_own(protocol_of(place))->delimiter, "\r\n");
    assert_bytes(line_own(protocol_of(place))->reply_until, ".\0");
    assert_bytes(line_own(protocol_of(place))->reply_if, "?");
    assert_bytes(error_reply_own(protocol_of(place))->error_reply, "-1\r\n");
    read_protocol(place, "{ type = \"line\"; reply_lines = 3; error_reply = \"none\"; }");
    assert_int_equal(line_own(protocol_of(place))->reply_lines, 3);
    config_place_expect(
        place, "main.conf:2: warning: listener \"a\": protocol: error_reply: is no whole message: it "
               "does not end with the delimiter\n");
}

static void keys_of_length(void **state)
{
    struct config_place *place = *state;
    read_protocol(place, "{ type = \"length\"; width = 2; }");
    const struct protocol_settings *settings = protocol_of(place);
    assert_int_equal(length_own(settings)->offset, 0);
    assert_int_equal(length_own(settings)->width, 2);
    assert_int_equal(length_own(settings)->adjust, 0);
    assert_int_equal(length_own(settings)->encoding, NUMBER_BINARY);
    assert_false(length_own(settings)->little_endian);
    assert_false(protocol_has_ids(settings));
    read_protocol(place, "{ type = \"length\"; offset = 4; width = 8; endian = \"little\"; adjust = -12;"
                         " id = { offset = 0; width = 4; }; error_reply = \"\\\\x00\\\\x01!\"; }");
    config_place_expect(place, "");
    settings = protocol_of(place);
    assert_int_equal(length_own(settings)->offset, 4);
    assert_int_equal(length_own(settings)->width, 8);
    assert_int_equal(length_own(settings)->adjust, -12);
    assert_true(length_own(settings)->little_endian);
    assert_int_equal(length_own(settings)->id_offset, 0);
    assert_int_equal(length_own(settings)->id_width, 4);
    assert_true(protocol_has_ids(settings));
    assert_bytes(error_reply_own(settings)->error_reply, "\0\1!");
    read_protocol(place, "{ type = \"length\"; width = 18; encoding = \"ascii\"; }");
    assert_int_equal(length_own(protocol_of(place))->encoding, NUMBER_ASCII);
    read_protocol(place, "{ type = \"length\"; width = 9; encoding = \"bcd\"; }");
    assert_int_equal(length_own(protocol_of(place))->encoding, NUMBER_BCD);
}

static void keys_of_marks(void **state)
{
    struct config_place *place = *state;
    read_protocol(place, "{ type = \"marks\"; start = \"\\\\x0b\"; end = \"\\\\x1c\\r\"; }");
    config_place_expect(place, "");
    assert_bytes(marks_own(protocol_of(place))->start, "\x0b");
    assert_bytes(marks_own(protocol_of(place))->end, "\x1c\r");
    read_protocol(place, "{ type = \"marks\"; start = \"<\"; end = \">\"; error_reply = \"<no>\"; }");
    config_place_expect(place, "");
    read_protocol(place, "{ type = \"marks\"; start = \"<\"; end = \">\"; error_reply = \"no>\"; }");
    config_place_expect(
        place, "main.conf:2: warning: listener \"a\": protocol: error_reply: is no whole message: it "
               "does not go from start to end\n");
}

static void keys_of_modbus(void **state)
{
    struct config_place *place = *state;
    read_protocol(place, "\"modbus\"");
    assert_false(modbus_own(protocol_of(place))->match_order);
    assert_true(protocol_has_ids(protocol_of(place)));
    read_protocol(place, "{ type = \"modbus\"; match = \"order\"; }");
    config_place_expect(place, "");
    assert_true(modbus_own(protocol_of(place))->match_order);
    assert_false(protocol_has_ids(protocol_of(place)));
}

static void keys_of_redis(void **state)
{
    struct config_place *place = *state;
    read_protocol(place, "\"redis\"");
    assert_int_equal(redis_own(protocol_of(place))->password.length, 0);
    assert_int_equal(redis_own(protocol_of(place))->database, 0);
    assert_true(redis_own(protocol_of(place))->client_auth);
    assert_int_equal(redis_own(protocol_of(place))->commands.count, 0);
    read_protocol(place, "{ type = \"redis\"; username = \"u\"; password = \"p\\\\x41\"; database = 3;"
                         " client_auth = false; commands = [ \"JSON.*\", \"ft.search\" ]; }");
    config_place_expect(place, "");
    const struct protocol_settings *settings = protocol_of(place);
    assert_bytes(redis_own(settings)->username, "u");
    assert_bytes(redis_own(settings)->password, "p\\x41"); /* taken as it is */
    assert_int_equal(redis_own(settings)->database, 3);
    assert_false(redis_own(settings)->client_auth);
    assert_int_equal(redis_own(settings)->commands.count, 2);
    assert_bytes(redis_own(settings)->commands.slices[0], "JSON.*");
    assert_bytes(redis_own(settings)->commands.slices[1], "ft.search");
    read_protocol(place, "{ type = \"redis\"; client_auth = false; commands = \"*\"; }");
    assert_non_null(strstr(place->said, "warning: listener \"a\": protocol: client_auth: has no effect"));
    assert_non_null(
        strstr(place->said, "warning: listener \"a\": protocol: commands: \"*\" lets every command pass"));
}

static void raw_is_warned_of(void **state)
{
    static const char text[] = "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; mode = \"fifo\";\n"
                               "targets = \"127.0.0.1:2\";\n"
                               "%s } );\n";
    struct config_place *place = *state;
    config_place_read(place, text, "");
    assert_non_null(strstr(place->said,
                           "main.conf:1: warning: listener \"a\": protocol: \"raw\" can't tell where an "
                           "answer ends: one that pauses for longer than response_gap (20 ms)"));
    assert_int_equal(raw_own(protocol_of(place))->response_gap, 20);
    config_place_read(place, text, "protocol = { type = \"raw\"; response_gap = 70; }; async = true;");
    assert_non_null(strstr(place->said, "main.conf:3: warning: listener \"a\": protocol: DANGER: "));
    assert_int_equal(raw_own(protocol_of(place))->response_gap, 70);
    config_place_read(place, text, "protocol = { response_gap = 70; }; request_timeout = -1;");
    assert_non_null(strstr(place->said, "response_gap (70 ms)"));
    assert_non_null(strstr(place->said, "main.conf:3: warning: listener \"a\": request_timeout: without it"));
}

static void proxy_mode_needs_no_protocol(void **state)
{
    static const char text[] = "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\";\n"
                               "protocol = %s; targets = \"127.0.0.1:2\"; } );\n";
    struct config_place *place = *state;
    config_place_read(place, text, "\"mysql\"");
    config_place_expect(place, "");
    assert_ptr_equal(protocol_of(place)->protocol, &protocol_mysql);
    config_place_read(place, text, "\"raw\"");
    config_place_expect(place, "");
    config_place_read(place, text, "{ type = \"length\"; }"); /* wrong in any mode */
    assert_non_null(strstr(place->said, "error: listener \"a\": protocol: width: is required"));
    config_place_read(place, "defaults = { protocol = \"mysql\"; };\n" CONFIG_LISTENER);
    config_place_expect(place, "");
}

static void defaults_hold_a_protocol_as_a_whole(void **state)
{
    struct config_place *place = *state;
    config_place_read(
        place, "defaults = { mode = \"fifo\"; protocol = { type = \"length\"; width = 2;\n"
               "id = { offset = 5; width = 1; }; error_reply = \"\\\\0\"; }; };\n"
               "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"x:1\"; },\n"
               "{ name = \"b\"; listen = \"127.0.0.1:2\"; targets = \"x:2\"; protocol = \"modbus\"; },\n"
               "{ name = \"c\"; listen = \"127.0.0.1:3\"; targets = \"x:3\"; } );\n");
    config_place_expect(place, "");
    for (size_t i = 0; i <= 2; i += 2) {
        const struct protocol_settings *settings = &place->config.settings->listeners[i]->protocol;
        assert_string_equal(settings->protocol->name, "length");
        assert_int_equal(length_own(settings)->id_offset, 5);
        assert_bytes(error_reply_own(settings)->error_reply, "\0");
    }
    assert_string_equal(place->config.settings->listeners[1]->protocol.protocol->name, "modbus");
}

/* Compares two dumps line by line, without the comments. */
static void assert_same_but_for_origins(const char *one, const char *two)
{
    while (*one != '\0' && *two != '\0') {
        size_t length = strcspn(one, "#\n");
        assert_int_equal(strcspn(two, "#\n"), length);
        assert_memory_equal(one, two, length);
        one += strcspn(one, "\n") + 1;
        two += strcspn(two, "\n") + 1;
    }
    assert_int_equal(*one, *two);
}

static void the_dump_can_be_read_again(void **state)
{
    static const char *const protocols[] = {
        "\"http\"",
        "\"line\"",
        "{ type = \"line\"; delimiter = \"\\\\r\\\\n\\\\x00\\\\\\\\\"; reply_until = \"\\\"\"; }",
        "{ type = \"length\"; offset = 4; width = 8; endian = \"little\"; adjust = -12;"
        " id = { offset = 0; width = 4; }; error_reply = \"\\\\x00\\\\x01!\"; }",
        "{ type = \"length\"; width = 4; encoding = \"bcd\"; }",
        "{ type = \"marks\"; start = \"\\x02\"; end = \"\\\\x03\"; }",
        "{ type = \"modbus\"; match = \"order\"; }",
        "{ type = \"redis\"; username = \"u\"; password = \"(hidden)\"; commands = [ \"A*\", \"B\" ]; }",
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        read_protocol(place, protocols[i]);
        config_place_expect(place, "");
        protocol_of(place);
        struct listener_settings *before = listener_settings_reference(place->config.settings->listeners[0]);
        char *first = config_place_dump(place);
        config_place_write_bytes(place, "main.conf", first, strlen(first));
        config_place_load(place, NULL);
        config_place_expect(place, "");
        assert_true(protocol_settings_equal(protocol_of(place), &before->protocol));
        listener_settings_release(before);
        char *second = config_place_dump(place);
        assert_same_but_for_origins(first, second);
        free(first);
        free(second);
    }
}

static void the_dump_tells_no_secret(void **state)
{
    struct config_place *place = *state;
    read_protocol(place, "{ type = \"redis\"; password = \"open sesame\"; }");
    char *dump = config_place_dump(place);
    assert_null(strstr(dump, "sesame"));
    assert_non_null(strstr(dump, "password = \"(hidden)\";  # "));
    assert_non_null(strstr(dump, "async = true;  # default by protocol\n"));
    assert_non_null(strstr(dump, "abort_on_close = false;  # default by protocol\n"));
    assert_non_null(strstr(dump, "half_close_timeout = -1;  # default, without effect in this mode\n"));
    free(dump);
    read_protocol(place,
                  "{ type = \"redis\"; username = \"\"; password = \"open sesame\"; pasword = \"sesame\"; }");
    assert_null(strstr(place->said, "sesame"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(each_name_is_a_protocol),
        CONFIG_TEST(defaults_by_protocol_can_be_overridden),
        CONFIG_TEST(groups_that_are_wrong),
        CONFIG_TEST(strings_that_are_too_long),
        cmocka_unit_test(bytes_have_escapes_of_their_own),
        CONFIG_TEST(keys_of_line),
        CONFIG_TEST(keys_of_length),
        CONFIG_TEST(keys_of_marks),
        CONFIG_TEST(keys_of_modbus),
        CONFIG_TEST(keys_of_redis),
        CONFIG_TEST(raw_is_warned_of),
        CONFIG_TEST(proxy_mode_needs_no_protocol),
        CONFIG_TEST(defaults_hold_a_protocol_as_a_whole),
        CONFIG_TEST(the_dump_can_be_read_again),
        CONFIG_TEST(the_dump_tells_no_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
