/* What several framers share: the search for a byte string, and numbers in fields. */
#include "harness/test.h"

#include "protocol/match.h"
#include "protocol/number.h"

#include <stdlib.h>
#include <string.h>

/* Where the first occurrence ends, the slow way; 0 if there is none. */
static size_t slow_find(struct slice pattern, struct slice text)
{
    for (size_t end = pattern.length; end <= text.length; end++)
        if (memcmp(text.bytes + end - pattern.length, pattern.bytes, pattern.length) == 0)
            return end;
    return 0;
}

/* The same, with the text handed over in pieces, each in memory of its own. */
static size_t find_in_pieces(struct slice pattern, struct slice text, size_t step)
{
    struct match match = { 0 };
    size_t done = 0;
    while (done < text.length) {
        size_t count = text.length - done < step ? text.length - done : step, taken;
        char *piece = malloc(count);
        assert_non_null(piece);
        memcpy(piece, text.bytes + done, count);
        bool found = match_find(&match, pattern, (struct slice){ piece, count }, &taken);
        free(piece);
        done += taken;
        if (found) {
            assert_int_equal(match.matched, 0);
            return done;
        }
        assert_int_equal(taken, count);
    }
    return 0;
}

/* All patterns up to six bytes, in all texts up to eleven, of two letters: every way to fall back. */
static void matches_are_found_whatever_came_before(void **state)
{
    (void)state;
    for (size_t pattern_length = 1; pattern_length <= 6; pattern_length++)
        for (unsigned p = 0; p < 1u << pattern_length; p++)
            for (unsigned t = 0; t < 1u << 11; t++) {
                char pattern[6], text[11];
                for (size_t i = 0; i < sizeof pattern; i++)
                    pattern[i] = p >> i & 1 ? 'b' : 'a';
                for (size_t i = 0; i < sizeof text; i++)
                    text[i] = t >> i & 1 ? 'b' : 'a';
                struct slice wanted = { pattern, pattern_length }, in = { text, sizeof text };
                size_t expected = slow_find(wanted, in);
                for (size_t step = 1; step <= sizeof text; step += 3)
                    assert_int_equal(find_in_pieces(wanted, in, step), expected);
            }
}

static void a_shorter_pattern_does_no_harm(void **state)
{
    (void)state;
    struct match match = { 0 };
    size_t taken;
    assert_false(match_find(&match, SLICE("abcdef"), SLICE("abcde"), &taken));
    assert_true(match_find(&match, SLICE("x"), SLICE("fxy"), &taken));
    assert_int_equal(taken, 2);
}

#define FORMAT(kind, little) ((struct number_format){ NUMBER_##kind, little })

static void numbers_are_read_and_written(void **state)
{
    (void)state;
    const struct {
        struct number_format format;
        struct slice bytes;
        uint64_t number;
    } cases[] = {
        { FORMAT(BINARY, false), SLICE("\x01"), 1 },
        { FORMAT(BINARY, false), SLICE("\x01\x02"), 0x0102 },
        { FORMAT(BINARY, true), SLICE("\x01\x02"), 0x0201 },
        { FORMAT(BINARY, false), SLICE("\x01\x02\xff"), 0x0102ff },
        { FORMAT(BINARY, true), SLICE("\x01\x02\xff\x80"), 0x80ff0201 },
        { FORMAT(BINARY, false), SLICE("\xff\xff\xff\xff\xff\xff\xff\xff"), UINT64_MAX },
        { FORMAT(BINARY, true), SLICE("\xfe\xff\xff\xff\xff\xff\xff\xff"), UINT64_MAX - 1 },
        { FORMAT(ASCII, false), SLICE("0042"), 42 },
        { FORMAT(ASCII, true), SLICE("0042"), 42 },
        { FORMAT(ASCII, false), SLICE("00000018446744073709551615"), UINT64_MAX },
        { FORMAT(BCD, false), SLICE("\x12\x34"), 1234 },
        { FORMAT(BCD, true), SLICE("\x12\x34"), 1234 },
        { FORMAT(BCD, false), SLICE("\x99\x99\x99"), 999999 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice bytes = cases[i].bytes;
        unsigned char written[32];
        uint64_t number;
        assert_true(number_read(cases[i].format, (const unsigned char *)bytes.bytes, bytes.length, &number));
        assert_true(number == cases[i].number);
        number_write(cases[i].format, written, bytes.length, number);
        assert_memory_equal(written, bytes.bytes, bytes.length);
    }
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    const struct {
        struct number_format format;
        struct slice bytes;
    } cases[] = {
        { FORMAT(BINARY, false), SLICE("\x01\0\0\0\0\0\0\0\0") },
        { FORMAT(ASCII, false), SLICE("00:0") },
        { FORMAT(ASCII, false), SLICE("/000") },
        { FORMAT(ASCII, false), SLICE(" 12") },
        { FORMAT(ASCII, false), SLICE("-12") },
        { FORMAT(ASCII, false), SLICE("12\0") },
        { FORMAT(ASCII, false), SLICE("18446744073709551616") },
        { FORMAT(ASCII, false), SLICE("99999999999999999999") },
        { FORMAT(BCD, false), SLICE("\x1a") },
        { FORMAT(BCD, false), SLICE("\xa1") },
        { FORMAT(BCD, false), SLICE("\xff\x00") },
        { FORMAT(BCD, false), SLICE("\x99\x99\x99\x99\x99\x99\x99\x99\x99\x99") },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const unsigned char *bytes = (const unsigned char *)cases[i].bytes.bytes;
        uint64_t number;
        assert_false(number_read(cases[i].format, bytes, cases[i].bytes.length, &number));
    }
}

static void capacities_are_right(void **state)
{
    (void)state;
    assert_true(number_capacity(NUMBER_BINARY, 1) == 256);
    assert_true(number_capacity(NUMBER_BINARY, 7) == UINT64_C(1) << 56);
    assert_true(number_capacity(NUMBER_BINARY, 8) == UINT64_MAX);
    assert_true(number_capacity(NUMBER_ASCII, 4) == 10000);
    assert_true(number_capacity(NUMBER_ASCII, 20) == UINT64_MAX);
    assert_true(number_capacity(NUMBER_BCD, 2) == 10000);
    assert_true(number_capacity(NUMBER_BCD, 10) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_are_found_whatever_came_before),
        cmocka_unit_test(a_shorter_pattern_does_no_harm),
        cmocka_unit_test(numbers_are_read_and_written),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(capacities_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
