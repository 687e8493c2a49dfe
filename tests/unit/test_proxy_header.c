/* PROXY headers: every form, each cut at every place; every malformed one; and what is written. */
#include "net/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* Bytes that may hold zeros. */
#define BYTES(text) text, sizeof(text) - 1

struct good_row {
    const char *bytes;
    size_t length;
    const char *source; /* NULL: the header names no client */
    const char *destination;
};

static const struct good_row good[] = {
    { BYTES("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"), "192.0.2.1:56324", "198.51.100.7:443" },
    { BYTES("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n"), "255.255.255.255:65535", "0.0.0.0:0" },
    { BYTES("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), "[2001:db8::1]:1", "[::1]:2" },
    { BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n"), "192.0.2.1:1", "192.0.2.2:2" },
    { BYTES("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
            "65535 65535\r\n"),
      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535" },
    { BYTES("PROXY UNKNOWN\r\n"), NULL, NULL },
    { BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
      NULL, NULL },
    { BYTES(SIGNATURE "\x21\x11\x00\x0c"
                      "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"),
      "192.0.2.1:56324", "198.51.100.7:443" },
    { BYTES(SIGNATURE
            "\x21\x21\x00\x24"
            "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02"),
      "[2001:db8::1]:1", "[::1]:2" },
    /* extensions, known or not, well formed or not, are skipped */
    { BYTES(SIGNATURE "\x21\x11\x00\x13"
                      "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb\x02\x00\x04host"),
      "192.0.2.1:56324", "198.51.100.7:443" },
    { BYTES(SIGNATURE "\x21\x11\x00\x0e"
                      "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb\xff\xff"),
      "192.0.2.1:56324", "198.51.100.7:443" },
    { BYTES(SIGNATURE "\x20\x00\x00\x00"), NULL, NULL },
    { BYTES(SIGNATURE "\x20\x11\x00\x0c"
                      "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"),
      NULL, NULL },
    { BYTES(SIGNATURE "\x20\x77\x00\x03xyz"), NULL, NULL },
    { BYTES(SIGNATURE "\x21\x00\x00\x02xy"), NULL, NULL },
};

static void expect_address(const struct address *address, const char *expected)
{
    char text[ADDRESS_TEXT_SIZE];
    assert_string_equal(address_print(address, text), expected);
}

static void expect_good(const struct good_row *row, const struct proxy_header *header)
{
    assert_int_equal(header->total, row->length);
    assert_int_equal(header->has_addresses, row->source != NULL);
    if (row->source == NULL)
        return;
    expect_address(&header->source, row->source);
    expect_address(&header->destination, row->destination);
}

static void every_form_cut_everywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const struct good_row *row = &good[i];
        for (size_t cut = 0; cut <= row->length; cut++) {
            struct proxy_header header = { 0 };
            size_t used;
            if (cut < row->length) {
                assert_int_equal(proxy_header_read(&header, row->bytes, cut, &used), PROXY_HEADER_MORE);
                assert_int_equal(used, cut);
            }
            size_t begin = cut < row->length ? cut : 0;
            assert_int_equal(proxy_header_read(&header, row->bytes + begin, row->length - begin, &used),
                             PROXY_HEADER_DONE);
            expect_good(row, &header);
        }
    }
}

static void byte_by_byte_and_not_one_too_many(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct proxy_header header = { 0 };
        char bytes[512];
        size_t used;
        memcpy(bytes, good[i].bytes, good[i].length);
        memcpy(bytes + good[i].length, "after", 5);
        assert_int_equal(proxy_header_read(&header, bytes, good[i].length + 5, &used), PROXY_HEADER_DONE);
        assert_int_equal(used, good[i].length);
        memset(&header, 0, sizeof header);
        for (size_t k = 0; k < good[i].length; k++) {
            bool last = k + 1 == good[i].length;
            assert_int_equal(proxy_header_read(&header, bytes + k, 1, &used),
                             last ? PROXY_HEADER_DONE : PROXY_HEADER_MORE);
            assert_int_equal(used, 1);
        }
        expect_good(&good[i], &header);
    }
}

static void a_unix_socket_names_nobody(void **state)
{
    (void)state;
    char bytes[16 + 216] = SIGNATURE "\x21\x31\x00\xd8/client";
    struct proxy_header header = { 0 };
    size_t used;
    assert_int_equal(proxy_header_read(&header, bytes, sizeof bytes, &used), PROXY_HEADER_DONE);
    assert_int_equal(used, sizeof bytes);
    assert_false(header.has_addresses);
}

static void extensions_of_any_length_are_skipped(void **state)
{
    (void)state;
    static const char begin[] = SIGNATURE "\x21\x11\xff\xff"
                                          "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb";
    const size_t length = 16 + 65535;
    char *bytes = calloc(1, length);
    assert_non_null(bytes);
    memcpy(bytes, begin, sizeof begin - 1);
    struct proxy_header header = { 0 };
    size_t used;
    assert_int_equal(proxy_header_read(&header, bytes, length - 1, &used), PROXY_HEADER_MORE);
    assert_int_equal(proxy_header_read(&header, bytes + length - 1, 1, &used), PROXY_HEADER_DONE);
    assert_int_equal(header.total, length);
    expect_address(&header.source, "192.0.2.1:56324");
    free(bytes);
}

static void malformed_ones_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } rows[] = {
        { BYTES("GET / HTTP/1.1\r\n") },
        { BYTES("PROXZ") },
        { BYTES("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n") },
        { BYTES("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n") },
        { BYTES("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n") },
        { BYTES("PROXY UNKNOWNS\r\n") },
        { BYTES("PROXY \r\n") },
        { BYTES("PROXY TCP4\r\n") },
        { BYTES("PROXY TCP4 \r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n") },
        { BYTES("PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 000002\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 0x2\r\n") },
        { BYTES("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n") },
        { BYTES("PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n") },
        { BYTES("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n") },
        { BYTES("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n") },
        { BYTES("PROXY TCP6 fe80::1%lo ::1 1 2\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1\r 192.0.2.2 1 2\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\0\r\n") },
        { BYTES("PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n") },
        /* one byte longer than a line may be */
        { BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655350\r\n") },
        { BYTES("\r\n\r\n\0\r\nQUIX") },
        { BYTES("\r\nGET") },
        { BYTES(SIGNATURE "\x11\x11\x00\x0c") },
        { BYTES(SIGNATURE "\x31\x11\x00\x0c") },
        { BYTES(SIGNATURE "\x22\x11\x00\x0c") },
        { BYTES(SIGNATURE "\x21\x11\x00\x0b") },
        { BYTES(SIGNATURE "\x21\x21\x00\x23") },
        { BYTES(SIGNATURE "\x21\x31\x00\xd7") },
        { BYTES(SIGNATURE "\x21\x12\x00\x0c") },
        { BYTES(SIGNATURE "\x21\x10\x00\x0c") },
        { BYTES(SIGNATURE "\x21\x01\x00\x0c") },
        { BYTES(SIGNATURE "\x21\x22\x00\x24") },
        { BYTES(SIGNATURE "\x21\x41\x00\xff") },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct proxy_header header = { 0 };
        struct proxy_header pieces = { 0 };
        enum proxy_header_result result = PROXY_HEADER_MORE;
        size_t used;
        if (proxy_header_read(&header, rows[i].bytes, rows[i].length, &used) != PROXY_HEADER_BROKEN)
            fail_msg("row %zu was taken whole: %s", i, rows[i].bytes);
        for (size_t k = 0; k < rows[i].length && result == PROXY_HEADER_MORE; k++)
            result = proxy_header_read(&pieces, rows[i].bytes + k, 1, &used);
        if (result != PROXY_HEADER_BROKEN)
            fail_msg("row %zu was taken in pieces: %s", i, rows[i].bytes);
    }
}

static void set_address(struct address *address, const char *text, uint16_t port)
{
    memset(address, 0, sizeof *address);
    if (strcmp(text, "unix") == 0) {
        address->family = AF_UNIX;
        return;
    }
    assert_true(address_parse(text, address));
    address_set_port(address, port);
}

static void what_is_written(void **state)
{
    static const struct {
        int version;
        const char *source;
        const char *destination;
        const char *bytes;
        size_t length;
    } rows[] = {
        { 1, "192.0.2.1", "198.51.100.7", BYTES("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n") },
        { 1, "2001:db8::1", "::1", BYTES("PROXY TCP6 2001:db8::1 ::1 56324 443\r\n") },
        { 1, "192.0.2.1", "::1", BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::1 56324 443\r\n") },
        { 1, "2001:db8::1", "192.0.2.1", BYTES("PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 56324 443\r\n") },
        { 1, "unix", "unix", BYTES("PROXY UNKNOWN\r\n") },
        { 1, "192.0.2.1", "unix", BYTES("PROXY UNKNOWN\r\n") },
        { 2, "192.0.2.1", "198.51.100.7",
          BYTES(SIGNATURE "\x21\x11\x00\x0c"
                          "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb") },
        { 2, "2001:db8::1", "::1",
          BYTES(SIGNATURE "\x21\x21\x00\x24"
                          "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                          "\xdc\x04\x01\xbb") },
        { 2, "unix", "unix", BYTES(SIGNATURE "\x20\x00\x00\x00") },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char bytes[PROXY_HEADER_WRITE_MAX];
        struct address source;
        struct address destination;
        set_address(&source, rows[i].source, 56324);
        set_address(&destination, rows[i].destination, 443);
        assert_int_equal(proxy_header_write(rows[i].version, &source, &destination, bytes), rows[i].length);
        assert_memory_equal(bytes, rows[i].bytes, rows[i].length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_cut_everywhere),  cmocka_unit_test(byte_by_byte_and_not_one_too_many),
        cmocka_unit_test(a_unix_socket_names_nobody), cmocka_unit_test(extensions_of_any_length_are_skipped),
        cmocka_unit_test(malformed_ones_are_refused), cmocka_unit_test(what_is_written),
    };
    return cmocka_run_group_tests_name("proxy_header", tests, NULL, NULL);
}
