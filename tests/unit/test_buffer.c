/* Bytes in a row. */
#include "harness/test.h"

#include "base/buffer.h"

#include <stdlib.h>

static void expect_text(const struct buffer *buffer, const char *text)
{
    assert_int_equal(buffer->length, strlen(text));
    assert_memory_equal(buffer_bytes(buffer), text, strlen(text));
    assert_true(buffer->start + buffer->length <= buffer->capacity);
    assert_false(buffer->failed);
}

static void bytes_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct buffer buffer = { 0 };
    unsigned char in = 0, out = 0;
    for (int i = 0; i < 20000; i++) {
        char piece[7];
        for (size_t k = 0; k < sizeof piece; k++)
            piece[k] = (char)in++;
        buffer_append(&buffer, piece, sizeof piece);
        size_t taken = (size_t)i % 15 < buffer.length ? (size_t)i % 15 : buffer.length;
        for (size_t k = 0; k < taken; k++)
            assert_int_equal((unsigned char)buffer_bytes(&buffer)[k], out++);
        buffer_consume(&buffer, taken);
        assert_true(buffer.start + buffer.length <= buffer.capacity);
    }
    /* It held a hundred bytes at most, whatever passed through. */
    assert_true(buffer.capacity <= 1024);
    buffer_free(&buffer);
    assert_null(buffer.memory);
}

static void front_and_end_can_be_changed(void **state)
{
    (void)state;
    struct buffer buffer = { 0 };
    buffer_prepend(&buffer, "cd", 2);
    buffer_prepend(&buffer, "ab", 2);
    buffer_append_text(&buffer, "ef");
    buffer_print(&buffer, "%d-%s", 42, "x");
    expect_text(&buffer, "abcdef42-x");
    buffer_consume(&buffer, 4);
    buffer_prepend(&buffer, "xyz", 3);
    expect_text(&buffer, "xyzef42-x");
    buffer_truncate(&buffer, 5);
    expect_text(&buffer, "xyzef");
    for (int i = 0; i < 600; i++)
        buffer_prepend(&buffer, "-", 1);
    assert_int_equal(buffer.length, 605);
    buffer_consume(&buffer, 600);
    expect_text(&buffer, "xyzef");
    buffer_free(&buffer);
}

static void bytes_can_be_taken_out(void **state)
{
    (void)state;
    struct buffer buffer = { 0 };
    buffer_remove(&buffer, 0, 0); /* of what never had memory */
    assert_null(buffer.memory);
    buffer_append_text(&buffer, "0abcdef");
    buffer_consume(&buffer, 1);
    buffer_remove(&buffer, 1, 2);
    expect_text(&buffer, "adef");
    buffer_remove(&buffer, 2, 2);
    expect_text(&buffer, "ad");
    buffer_remove(&buffer, 0, 2);
    assert_int_equal(buffer.length, 0);
    buffer_free(&buffer);
}

static void buffers_move(void **state)
{
    (void)state;
    struct buffer from = { 0 }, to = { 0 };
    buffer_append_text(&from, "one");
    const char *memory = from.memory;
    buffer_move(&to, &from);
    assert_ptr_equal(to.memory, memory); /* not copied */
    expect_text(&to, "one");
    assert_int_equal(from.length, 0);
    buffer_append_text(&from, "two");
    buffer_move(&to, &from);
    expect_text(&to, "onetwo");
    assert_int_equal(from.length, 0);
    buffer_free(&from);
    buffer_free(&to);
}

static void what_can_not_be_had_is_noted(void **state)
{
    (void)state;
    struct buffer buffer = { 0 };
    buffer_append_text(&buffer, "kept");
    buffer_append(&buffer, "x", SIZE_MAX / 2);
    assert_true(buffer.failed);
    buffer.failed = false;
    expect_text(&buffer, "kept");
    buffer_print(&buffer, "%600s", "too long");
    assert_true(buffer.failed);
    assert_int_equal(buffer.length, 4);
    buffer_free(&buffer);
    assert_false(buffer.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_as_they_went_in), cmocka_unit_test(front_and_end_can_be_changed),
        cmocka_unit_test(bytes_can_be_taken_out),         cmocka_unit_test(buffers_move),
        cmocka_unit_test(what_can_not_be_had_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
