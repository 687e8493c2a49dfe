#include "base/key.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_SIZE 320

void key_store_number(const struct key *key, void *settings, int64_t number)
{
    const bool truth = number != 0;
    const int32_t small = (int32_t)number;
    const void *from = key->size == sizeof truth   ? &truth
                       : key->size == sizeof small ? (const void *)&small
                                                   : &number;
    memcpy(key_field(key, settings), from, key->size);
}

static bool slices_equal(const struct slices *a, const struct slices *b)
{
    bool are_equal = a->count == b->count;
    for (size_t i = 0; are_equal && i < a->count; i++)
        are_equal = slice_equal(a->slices[i], b->slices[i]);
    return are_equal;
}

static bool field_equal(const struct key *key, const void *a, const void *b)
{
    if (key->equal != NULL)
        return key->equal(a, b);
    if (key->type == KEY_STRINGS)
        return slices_equal(a, b);
    if (key->type == KEY_STRING && key->size == sizeof(struct slice))
        return slice_equal(*(const struct slice *)a, *(const struct slice *)b);
    if (key->type == KEY_STRING)
        return text_equal(*(char *const *)a, *(char *const *)b);
    return memcmp(a, b, key->size) == 0;
}

bool key_fields_equal(const struct key *keys, size_t count, const void *a, const void *b)
{
    for (size_t i = 0; i < count; i++) {
        const struct key_scope *members = keys[i].members;
        if (keys[i].size > 0 && !field_equal(&keys[i], key_field(&keys[i], a), key_field(&keys[i], b)))
            return false;
        if (members != NULL && keys[i].equal == NULL &&
            !key_fields_equal(members->keys, members->count, a, b))
            return false;
    }
    return true;
}

static void field_release(const struct key *key, void *field)
{
    if (key->type == KEY_STRINGS) {
        struct slices *list = field;
        for (size_t i = 0; i < list->count; i++)
            free((char *)list->slices[i].bytes);
        free(list->slices);
    } else if (key->type == KEY_STRING && key->size == sizeof(struct slice)) {
        free((char *)((struct slice *)field)->bytes);
    } else if (key->type == KEY_STRING) {
        free(*(char **)field);
    }
}

void key_fields_release(const struct key *keys, size_t count, void *settings)
{
    for (size_t i = 0; i < count; i++)
        if (keys[i].size > 0 && keys[i].equal == NULL)
            field_release(&keys[i], key_field(&keys[i], settings));
}

void key_say(const struct key_report *report, bool is_error, const char *key, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    report->say(report, is_error, key, message);
}
