/* Address lists: what entries and files may look like, every fault, and the edges of ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "access/access_list.h"
#include "access/set.h"
#include "base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- the place of a test: a directory with a list file ---- */

struct place {
    char directory[64];
    char path[96];
    char entry[128]; /* "file:" and the path */
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    strcpy(place->directory, "/tmp/proximux-list-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->path, sizeof place->path, "%s/list", place->directory);
    snprintf(place->entry, sizeof place->entry, "file:%s", place->path);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    if (unlink(place->path) == -1)
        rmdir(place->path);
    assert_int_equal(rmdir(place->directory), 0);
    free(place);
    return 0;
}

static void write_file(const struct place *place, const char *bytes, size_t length)
{
    FILE *stream = fopen(place->path, "w");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, length, stream), length);
    assert_int_equal(fclose(stream), 0);
}

/* ---- building, with the faults kept as text ---- */

struct faults {
    char text[8192];
    size_t length;
    unsigned count;
};

static void keep_fault(void *data, const char *file, unsigned line, const char *message)
{
    struct faults *faults = data;
    const char *name = file == NULL ? "" : strrchr(file, '/') + 1;
    int length = snprintf(faults->text + faults->length, sizeof faults->text - faults->length, "%s:%u: %s\n",
                          name, line, message);
    assert_true(length > 0 && (size_t)length < sizeof faults->text - faults->length);
    faults->length += (size_t)length;
    faults->count++;
}

static struct access_list *build(const char *const *entries, size_t count)
{
    struct faults faults = { .length = 0 };
    struct access_list *list = access_list_build(entries, count, keep_fault, &faults);
    if (list == NULL)
        fail_msg("refused: %s", faults.text);
    assert_int_equal(faults.count, 0);
    return list;
}

static struct access_list *build_one(const char *entry)
{
    return build(&entry, 1);
}

static bool contains(const struct access_list *list, const char *text)
{
    struct address address;
    if (!address_parse(text, &address))
        fail_msg("not an address: %s", text);
    bool without_port = access_list_contains(list, &address);
    address_set_port(&address, 443);
    assert_int_equal(access_list_contains(list, &address), without_port);
    return without_port;
}

static void assert_faults(const char *entry, const char *expected)
{
    struct faults faults = { .length = 0 };
    struct access_list *list = access_list_build(&entry, 1, keep_fault, &faults);
    if (list != NULL)
        fail_msg("accepted: %s", entry);
    assert_string_equal(faults.text, expected);
}

/* ---- what lists hold ---- */

struct edge {
    const char *entry;
    size_t size;
    const char *inside[4];
    const char *outside[6];
};

static void check_edge(const struct edge *edge)
{
    struct access_list *list = build_one(edge->entry);
    assert_int_equal(access_list_size(list), edge->size);
    for (size_t i = 0; i < COUNT(edge->inside) && edge->inside[i] != NULL; i++) {
        if (!contains(list, edge->inside[i]))
            fail_msg("%s does not hold %s", edge->entry, edge->inside[i]);
    }
    for (size_t i = 0; i < COUNT(edge->outside) && edge->outside[i] != NULL; i++) {
        if (contains(list, edge->outside[i]))
            fail_msg("%s holds %s", edge->entry, edge->outside[i]);
    }
    access_list_release(list);
}

static void test_edges(void **state)
{
    (void)state;
    static const struct edge edges[] = {
        { "10.0.0.1", 1, { "10.0.0.1", "::ffff:10.0.0.1" }, { "10.0.0.0", "10.0.0.2", "::10.0.0.1" } },
        { " \t10.0.0.1\t ", 1, { "10.0.0.1" }, { "10.0.0.0", "10.0.0.2" } },
        { "10.0.0.1/32", 1, { "10.0.0.1" }, { "10.0.0.0", "10.0.0.2" } },
        { "10.0.0.2/31", 1, { "10.0.0.2", "10.0.0.3" }, { "10.0.0.1", "10.0.0.4" } },
        { "10.0.0.0/8", 1, { "10.0.0.0", "10.255.255.255" }, { "9.255.255.255", "11.0.0.0", "a00::" } },
        { "172.16.0.0/12", 1, { "172.16.0.0", "172.31.255.255" }, { "172.15.255.255", "172.32.0.0" } },
        { "128.0.0.0/1", 1, { "128.0.0.0", "255.255.255.255" }, { "127.255.255.255" } },
        { "0.0.0.0/0", 1, { "0.0.0.0", "127.0.0.1", "255.255.255.255", "::ffff:1.2.3.4" }, { "::", "::1" } },
        { "255.255.255.255", 1, { "255.255.255.255" }, { "0.0.0.0", "255.255.255.254" } },
        { "0.0.0.0", 1, { "0.0.0.0" }, { "0.0.0.1", "255.255.255.255", "::" } },
        { "2001:db8::1", 1, { "2001:db8::1", "2001:db8::1%1" }, { "2001:db8::", "2001:db8::2" } },
        { "2001:db8::1/128", 1, { "2001:db8::1" }, { "2001:db8::", "2001:db8::2" } },
        { "2001:db8::/32",
          1,
          { "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff" },
          { "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "32.1.13.184" } },
        { "2001:db8::/61", 1, { "2001:db8:0:7:ffff:ffff:ffff:ffff" }, { "2001:db8:0:8::" } },
        { "8000::/1", 1, { "8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" }, { "7fff:ffff::" } },
        { "::/0",
          1,
          { "::", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
          { "0.0.0.0", "127.0.0.1", "::ffff:127.0.0.1" } },
        { "10.0.0.5-10.0.1.2", 1, { "10.0.0.5", "10.0.0.255", "10.0.1.2" }, { "10.0.0.4", "10.0.1.3" } },
        { "10.0.0.5 - 10.0.0.6", 1, { "10.0.0.5", "10.0.0.6" }, { "10.0.0.4", "10.0.0.7" } },
        { "10.0.0.5-10.0.0.5", 1, { "10.0.0.5" }, { "10.0.0.4", "10.0.0.6" } },
        { "0.0.0.0-255.255.255.255", 1, { "0.0.0.0", "255.255.255.255" }, { "::" } },
        { "::1-::1:0", 1, { "::1", "::ffff", "::1:0" }, { "::", "::1:1", "0.0.0.1" } },
        { "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, { "::", "fe80::1" }, { "::ffff:1.2.3.4" } },
        { "::ffff:10.0.0.1", 1, { "10.0.0.1", "::ffff:a00:1" }, { "10.0.0.2", "::10.0.0.1" } },
        { "::ffff:10.0.0.0/104", 1, { "10.0.0.0", "10.255.255.255" }, { "9.255.255.255", "11.0.0.0" } },
        { "::ffff:10.0.0.1/128", 1, { "10.0.0.1" }, { "10.0.0.0", "10.0.0.2" } },
        { "::ffff:0:0/96", 1, { "0.0.0.0", "255.255.255.255" }, { "::", "::1:0:0:0" } },
        { "::ffff:10.0.0.1-10.0.0.2", 1, { "10.0.0.1", "10.0.0.2" }, { "10.0.0.0", "10.0.0.3" } },
        { "::/80", 1, { "::fffe:0:1", "::1.2.3.4" }, { "::1:0:0:0", "1.2.3.4", "::ffff:1.2.3.4" } },
    };
    for (size_t i = 0; i < COUNT(edges); i++)
        check_edge(&edges[i]);
}

static void test_empty_list_holds_nothing(void **state)
{
    (void)state;
    struct access_list *list = build(NULL, 0);
    assert_int_equal(access_list_size(list), 0);
    assert_false(contains(list, "0.0.0.0"));
    assert_false(contains(list, "::"));
    access_list_release(list);
}

static void test_peers_without_address_are_in_no_list(void **state)
{
    (void)state;
    static const char *const all[] = { "0.0.0.0/0", "::/0" };
    struct access_list *list = build(all, COUNT(all));
    struct address address;
    memset(&address, 0, sizeof address);
    assert_false(access_list_contains(list, &address));
    address.family = AF_UNIX;
    assert_false(access_list_contains(list, &address));
    access_list_release(list);
}

static void test_references(void **state)
{
    (void)state;
    struct access_list *list = build_one("10.0.0.1");
    assert_ptr_equal(access_list_reference(list), list);
    access_list_release(list);
    assert_true(contains(list, "10.0.0.1"));
    access_list_release(list);
    access_list_release(NULL);
}

/* ---- sorting and merging ---- */

static void test_merging(void **state)
{
    (void)state;
    static const struct {
        const char *entries[5];
        size_t count;
        size_t size;
    } cases[] = {
        { { "10.0.0.1", "10.0.0.1" }, 2, 1 },
        { { "10.0.0.1", "10.0.0.2" }, 2, 1 },
        { { "10.0.0.2", "10.0.0.1" }, 2, 1 },
        { { "10.0.0.1", "10.0.0.3" }, 2, 2 },
        { { "10.0.0.3", "10.0.0.1", "10.0.0.2" }, 3, 1 },
        { { "10.0.0.0/8", "10.1.0.0/16", "10.2.3.4" }, 3, 1 },
        { { "10.1.0.0/16", "10.0.0.0/8", "11.0.0.0/8" }, 3, 1 },
        { { "10.0.0.1-10.0.0.9", "10.0.0.5-10.0.0.20", "10.0.0.21-10.0.0.30", "10.0.0.32" }, 4, 2 },
        { { "10.0.0.1-10.0.0.30", "10.0.0.2-10.0.0.3", "10.0.0.30-10.0.0.31" }, 3, 1 },
        { { "10.0.255.255", "10.1.0.0" }, 2, 1 },
        { { "0.0.0.0/1", "128.0.0.0/1" }, 2, 1 },
        { { "255.255.255.255", "0.0.0.0" }, 2, 2 },
        { { "255.255.255.255", "255.255.255.254", "255.255.255.255" }, 3, 1 },
        { { "255.255.255.0/24", "255.255.255.255", "0.0.0.0/8" }, 3, 2 },
        { { "::/1", "8000::/1" }, 2, 1 },
        { { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::" }, 2, 2 },
        { { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff::/16", "::" }, 3, 2 },
        { { "::ffff:ffff:ffff:ffff", "::1:0:0:0:0" }, 2, 1 },
        { { "::1", "0.0.0.1" }, 2, 2 },
        { { "::ffff:10.0.0.1", "10.0.0.2" }, 2, 1 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct access_list *list = build(cases[i].entries, cases[i].count);
        if (access_list_size(list) != cases[i].size)
            fail_msg("case %zu: %zu ranges", i, access_list_size(list));
        access_list_release(list);
    }
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Random ranges of one-byte numbers against a plain table of all 256. */
static void test_sets_against_a_table(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        bool expected[256] = { false };
        struct access_set set;
        access_set_init(&set, 1);
        unsigned ranges = next_random(&seed) % 20;
        for (unsigned i = 0; i < ranges; i++) {
            unsigned char first = (unsigned char)next_random(&seed);
            unsigned char last = (unsigned char)(first + next_random(&seed) % (256U - first) / 4);
            assert_true(access_set_add(&set, &first, &last));
            memset(expected + first, true, (size_t)(last - first) + 1);
        }
        access_set_finish(&set);
        size_t runs = 0;
        for (unsigned number = 0; number < 256; number++) {
            unsigned char byte = (unsigned char)number;
            assert_int_equal(access_set_contains(&set, &byte), expected[number]);
            runs += expected[number] && (number == 0 || !expected[number - 1]);
        }
        assert_int_equal(set.count, runs);
        access_set_free(&set);
    }
}

/* ---- faults of entries ---- */

static void test_malformed_entries_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        const char *message;
    } bad[] = {
        { "", "an entry is empty" },
        { " \t", "an entry is empty" },
        { "localhost", "\"localhost\" is not an IP address" },
        { "10.0.0", "\"10.0.0\" is not an IP address" },
        { "10.0.0.256", "\"10.0.0.256\" is not an IP address" },
        { "010.0.0.1", "\"010.0.0.1\" is not an IP address" },
        { "10.0.0.01/32", "\"10.0.0.01/32\" is not a block of IP addresses" },
        { "10.0.0.1:80", "\"10.0.0.1:80\" is not an IP address" },
        { "[::1]", "\"[::1]\" is not an IP address" },
        { "10.0.0.1 10.0.0.2", "\"10.0.0.1 10.0.0.2\" is not an IP address" },
        { "10.0.0.1 # comment", "\"10.0.0.1 # comment\" is not an IP address" },
        { "10.*", "\"10.*\" is not an IP address" },
        { "my-host", "\"my-host\" is not a range of IP addresses" },
        { "unix:/run/x", "\"unix:/run/x\" is not a block of IP addresses" },
        { "fe80::1%lo", "\"fe80::1%lo\" has a zone; address lists can't tell zones apart" },
        { "fe80::%lo/64", "\"fe80::%lo/64\" has a zone; address lists can't tell zones apart" },
        { "fe80::1-fe80::2%1", "\"fe80::1-fe80::2%1\" has a zone; address lists can't tell zones apart" },
        { "10.0.0.1/8", "10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8?" },
        { "10.255.0.0/9", "10.255.0.0/9 has host bits set; did you mean 10.128.0.0/9?" },
        { "0.0.0.1/0", "0.0.0.1/0 has host bits set; did you mean 0.0.0.0/0?" },
        { "10.0.0.1/31", "10.0.0.1/31 has host bits set; did you mean 10.0.0.0/31?" },
        { "2001:db8::1/64", "2001:db8::1/64 has host bits set; did you mean 2001:db8::/64?" },
        { "::1/127", "::1/127 has host bits set; did you mean ::/127?" },
        { "::ffff:10.0.0.1/104", "::ffff:10.0.0.1/104 has host bits set; did you mean ::ffff:10.0.0.0/104?" },
        { "10.0.0.0/33", "\"10.0.0.0/33\" needs a prefix from 0 to 32" },
        { "10.0.0.0/", "\"10.0.0.0/\" needs a prefix from 0 to 32" },
        { "10.0.0.0/08", "\"10.0.0.0/08\" needs a prefix from 0 to 32" },
        { "10.0.0.0/00", "\"10.0.0.0/00\" needs a prefix from 0 to 32" },
        { "10.0.0.0/+8", "\"10.0.0.0/+8\" needs a prefix from 0 to 32" },
        { "10.0.0.0/ 8", "\"10.0.0.0/ 8\" needs a prefix from 0 to 32" },
        { "10.0.0.0/8/8", "\"10.0.0.0/8/8\" needs a prefix from 0 to 32" },
        { "10.0.0.0/255.0.0.0", "\"10.0.0.0/255.0.0.0\" needs a prefix from 0 to 32" },
        { "10.0.0.0/4294967304", "\"10.0.0.0/4294967304\" needs a prefix from 0 to 32" },
        { "2001:db8::/129", "\"2001:db8::/129\" needs a prefix from 0 to 128" },
        { "::ffff:10.0.0.0/8", "\"::ffff:10.0.0.0/8\" needs a prefix from 96 to 128" },
        { "/8", "\"/8\" is not a block of IP addresses" },
        { "-", "\"-\" is not a range of IP addresses" },
        { "10.0.0.1-", "\"10.0.0.1-\" is not a range of IP addresses" },
        { "-10.0.0.1", "\"-10.0.0.1\" is not a range of IP addresses" },
        { "10.0.0.1-10.0.0.2-10.0.0.3", "\"10.0.0.1-10.0.0.2-10.0.0.3\" is not a range of IP addresses" },
        { "10.0.0.0/8-11.0.0.0/8", "\"10.0.0.0/8-11.0.0.0/8\" is not a range of IP addresses" },
        { "10.0.0.2-10.0.0.1", "10.0.0.2-10.0.0.1 is the wrong way round; did you mean 10.0.0.1-10.0.0.2?" },
        { "2001:db8::2-2001:db8::1", "2001:db8::2-2001:db8::1 is the wrong way round; did you "
                                     "mean 2001:db8::1-2001:db8::2?" },
        { "10.0.0.1-::2", "\"10.0.0.1-::2\" mixes IPv4 and IPv6" },
        { "::1-10.0.0.1", "\"::1-10.0.0.1\" mixes IPv4 and IPv6" },
        { "::-::ffff:10.0.0.1", "\"::-::ffff:10.0.0.1\" mixes IPv4 and IPv6" },
        { "file:", "\"file:\" needs a path" },
        { "file:block.list", "\"file:block.list\" needs an absolute path" },
        { "file:/does/not/exist", "cannot read /does/not/exist: No such file or directory" },
        { "file:/", "cannot read /: Is a directory" },
        { "file:/dev/zero", "cannot read /dev/zero: Not a regular file" },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        char expected[256];
        snprintf(expected, sizeof expected, ":0: %s\n", bad[i].message);
        assert_faults(bad[i].entry, expected);
    }
}

static void test_all_entries_are_checked(void **state)
{
    (void)state;
    static const char *const entries[] = { "x", "10.0.0.1", "y", "10.0.0.1/8", "::/0" };
    struct faults faults = { .length = 0 };
    assert_null(access_list_build(entries, COUNT(entries), keep_fault, &faults));
    assert_string_equal(faults.text, ":0: \"x\" is not an IP address\n"
                                     ":0: \"y\" is not an IP address\n"
                                     ":0: 10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8?\n");
}

static void test_long_entries_are_shown_cut(void **state)
{
    (void)state;
    char entry[5000];
    char expected[256];
    memset(entry, '7', sizeof entry - 1);
    entry[sizeof entry - 1] = '\0';
    snprintf(expected, sizeof expected, ":0: \"%.80s...\" is not an IP address\n", entry);
    assert_faults(entry, expected);
    memcpy(entry, "::/", 3);
    snprintf(expected, sizeof expected, ":0: \"%.80s...\" needs a prefix from 0 to 128\n", entry);
    assert_faults(entry, expected);
}

/* ---- files ---- */

static void assert_file_faults(const struct place *place, const char *bytes, size_t length,
                               const char *expected)
{
    write_file(place, bytes, length);
    assert_faults(place->entry, expected);
}

static void test_file(void **state)
{
    struct place *place = *state;
    static const char text[] = "# our list\n"
                               "\n"
                               "10.0.0.1\n"
                               "  10.0.1.0/24 \t# a block\r\n"
                               "\r\n"
                               "\t10.0.2.5 - 10.0.2.6#a range\n"
                               "   # nothing here\n"
                               "2001:db8::/32\n"
                               "192.0.2.1"; /* no line feed */
    write_file(place, text, strlen(text));
    const char *entries[] = { place->entry, "203.0.113.9" };
    struct access_list *list = build(entries, 2);
    assert_int_equal(access_list_size(list), 6);
    assert_true(contains(list, "10.0.0.1"));
    assert_true(contains(list, "10.0.1.255"));
    assert_true(contains(list, "10.0.2.5"));
    assert_true(contains(list, "10.0.2.6"));
    assert_true(contains(list, "2001:db8::1"));
    assert_true(contains(list, "192.0.2.1"));
    assert_true(contains(list, "203.0.113.9"));
    assert_false(contains(list, "10.0.0.2"));
    assert_false(contains(list, "10.0.2.7"));
    access_list_release(list);
}

static void test_empty_files(void **state)
{
    struct place *place = *state;
    static const char *const texts[] = { "", "\n", "\r\n\r\n", "#", "# only this", "\xef\xbb\xbf" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        write_file(place, texts[i], strlen(texts[i]));
        struct access_list *list = build_one(place->entry);
        assert_int_equal(access_list_size(list), 0);
        access_list_release(list);
    }
}

static void test_byte_order_mark(void **state)
{
    struct place *place = *state;
    static const char first[] = "\xef\xbb\xbf"
                                "10.0.0.1\r\n";
    static const char second[] = "10.0.0.1\n\xef\xbb\xbf"
                                 "10.0.0.2\n";
    write_file(place, first, strlen(first));
    struct access_list *list = build_one(place->entry);
    assert_true(contains(list, "10.0.0.1"));
    access_list_release(list);
    assert_file_faults(place, second, strlen(second),
                       "list:2: \"\xef\xbb\xbf"
                       "10.0.0.2\" is not an IP address\n");
}

static void test_faults_in_files(void **state)
{
    struct place *place = *state;
    static const char text[] = "10.0.0.1\n"
                               "10.0.0.1/8 # host bits\r\n"
                               "10.0.0.1\0#\n"
                               "file:/etc/hosts\n"
                               "fe80::1%lo\n"
                               "10.0.0.3-10.0.0.1\n"
                               "10.0.0.1-::1\n"
                               "10.0.0.0/33\n"
                               "10.0.0.1 10.0.0.2\n"
                               "\n"
                               "nonsense";
    assert_file_faults(place, text, sizeof text - 1,
                       "list:2: 10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8?\n"
                       "list:3: there is a zero byte in this line\n"
                       "list:4: a list file may not name another file\n"
                       "list:5: \"fe80::1%lo\" has a zone; address lists can't tell zones apart\n"
                       "list:6: 10.0.0.3-10.0.0.1 is the wrong way round; did you mean 10.0.0.1-10.0.0.3?\n"
                       "list:7: \"10.0.0.1-::1\" mixes IPv4 and IPv6\n"
                       "list:8: \"10.0.0.0/33\" needs a prefix from 0 to 32\n"
                       "list:9: \"10.0.0.1 10.0.0.2\" is not an IP address\n"
                       "list:11: \"nonsense\" is not an IP address\n");
}

static void write_many(const struct place *place, unsigned faults)
{
    FILE *stream = fopen(place->path, "w");
    assert_non_null(stream);
    for (unsigned i = 0; i < faults; i++)
        fprintf(stream, "x\n10.0.0.1\n");
    assert_int_equal(fclose(stream), 0);
}

static void test_faults_are_limited_per_file(void **state)
{
    struct place *place = *state;
    const char *entries[] = { place->entry, "y", place->entry };
    static const unsigned numbers[][2] = { { 20, 20 }, { 21, 21 }, { 5000, 21 } };
    for (size_t i = 0; i < COUNT(numbers); i++) {
        struct faults faults = { .length = 0 };
        char last[64];
        write_many(place, numbers[i][0]);
        assert_null(access_list_build(entries, 3, keep_fault, &faults));
        assert_int_equal(faults.count, 2 * numbers[i][1] + 1);
        assert_non_null(strstr(faults.text, "list:39: \"x\" is not"));
        assert_null(strstr(faults.text, "list:41: \"x\" is not"));
        assert_non_null(strstr(faults.text, "\n:0: \"y\" is not"));
        snprintf(last, sizeof last, ": and %u more faults\n", numbers[i][0] - 20);
        assert_int_equal(strstr(faults.text, last) != NULL, numbers[i][0] > 20);
    }
}

static void test_very_long_lines(void **state)
{
    struct place *place = *state;
    static char bytes[4 << 20];
    const size_t length = sizeof bytes;
    memset(bytes, ' ', length);
    memcpy(bytes + length - 10, "10.0.0.1#x", 10);
    write_file(place, bytes, length);
    struct access_list *list = build_one(place->entry);
    assert_true(contains(list, "10.0.0.1"));
    access_list_release(list);
    char expected[256];
    memset(bytes, '1', length);
    snprintf(expected, sizeof expected, "list:1: \"%.80s...\" is not an IP address\n", bytes);
    assert_file_faults(place, bytes, length, expected);
    memset(bytes, 0, length);
    assert_file_faults(place, bytes, length, "list:1: there is a zero byte in this line\n");
}

static void test_paths_that_are_no_files(void **state)
{
    struct place *place = *state;
    char expected[256];
    assert_int_equal(mkdir(place->path, 0700), 0);
    snprintf(expected, sizeof expected, ":0: cannot read %s: Is a directory\n", place->path);
    assert_faults(place->entry, expected);
    assert_int_equal(rmdir(place->path), 0);
    assert_int_equal(mkfifo(place->path, 0600), 0); /* nobody will ever write to it */
    snprintf(expected, sizeof expected, ":0: cannot read %s: Not a regular file\n", place->path);
    assert_faults(place->entry, expected);
}

/* Root reads everything, so that another user has to try. Exits 0 if the fault is the expected one. */
static void try_unreadable(const struct place *place)
{
    struct faults faults = { .length = 0 };
    const char *entry = place->entry;
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        _exit(2);
    struct access_list *list = access_list_build(&entry, 1, keep_fault, &faults);
    char expected[256];
    snprintf(expected, sizeof expected, ":0: cannot read %s: Permission denied\n", place->path);
    _exit(list == NULL && strcmp(faults.text, expected) == 0 ? 0 : 1);
}

static void test_unreadable_file(void **state)
{
    struct place *place = *state;
    write_file(place, "10.0.0.1\n", 9);
    assert_int_equal(chmod(place->path, 0), 0);
    assert_int_equal(chmod(place->directory, 0755), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        try_unreadable(place);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- size ---- */

static void write_large(const struct place *place, unsigned lines)
{
    FILE *stream = fopen(place->path, "w");
    assert_non_null(stream);
    for (unsigned i = 0; i < lines; i++) {
        unsigned number = i * 2654435761U; /* all over the address space, none twice */
        if (i % 4 == 3)
            fprintf(stream, "2001:db8:%x:%x::/64\n", number >> 16, number & 0xffff);
        else
            fprintf(stream, "%u.%u.%u.%u\n", number >> 24, number >> 16 & 255, number >> 8 & 255,
                    number & 255);
    }
    assert_int_equal(fclose(stream), 0);
}

static void test_half_a_million_lines(void **state)
{
    struct place *place = *state;
    const unsigned lines = 500000;
    write_large(place, lines);
    int64_t before = clock_now();
    struct access_list *list = build_one(place->entry);
    int64_t loaded = clock_now();
    for (unsigned i = 0; i < lines; i++) {
        unsigned number = i * 2654435761U;
        struct address address;
        memset(&address, 0, sizeof address);
        address.family = AF_INET;
        address.v4.sin_addr.s_addr = htonl(number);
        if (i % 4 != 3)
            assert_true(access_list_contains(list, &address));
    }
    int64_t searched = clock_now();
    print_message("%u lines: loaded in %.0f ms, %zu ranges, %.0f ns to look one up\n", lines,
                  (double)(loaded - before) / 1000, access_list_size(list),
                  (double)(searched - loaded) * 1000 / (lines * 0.75));
    assert_in_range(access_list_size(list), lines * 9 / 10, lines);
    access_list_release(list);
}

#define LIST_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_empty_list_holds_nothing),
        cmocka_unit_test(test_peers_without_address_are_in_no_list),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_merging),
        cmocka_unit_test(test_sets_against_a_table),
        cmocka_unit_test(test_malformed_entries_are_refused),
        cmocka_unit_test(test_all_entries_are_checked),
        cmocka_unit_test(test_long_entries_are_shown_cut),
        LIST_TEST(test_file),
        LIST_TEST(test_empty_files),
        LIST_TEST(test_byte_order_mark),
        LIST_TEST(test_faults_in_files),
        LIST_TEST(test_faults_are_limited_per_file),
        LIST_TEST(test_very_long_lines),
        LIST_TEST(test_paths_that_are_no_files),
        LIST_TEST(test_unreadable_file),
        LIST_TEST(test_half_a_million_lines),
    };
    return cmocka_run_group_tests_name("access_list", tests, NULL, NULL);
}
