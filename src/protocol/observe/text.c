#include "protocol/observe/text.h"

#include <stdint.h>
#include <stdlib.h>

struct text *text_create(struct slice bytes, size_t limit)
{
    size_t length = bytes.length < limit ? bytes.length : limit;
    struct text *text = malloc(sizeof *text + length + 1);
    if (text == NULL)
        return NULL;
    text->references = 1;
    text->is_truncated = length < bytes.length;
    text->length = length;
    if (length > 0)
        memcpy(text->bytes, bytes.bytes, length);
    text->bytes[length] = '\0';
    return text;
}

struct text *text_reference(struct text *text)
{
    if (text != NULL)
        text->references++;
    return text;
}

void text_release(struct text *text)
{
    if (text != NULL && --text->references == 0)
        free(text);
}

struct entry {
    struct list_node node;
    struct list_node in_bucket;
    struct text *text;
    struct text *attached; /* NULL: nothing */
    size_t name_length;
    char name[];
};

static size_t entry_size(const struct entry *entry)
{
    return sizeof *entry + entry->name_length + sizeof(struct text) + entry->text->length +
           (entry->attached == NULL ? 0 : sizeof(struct text) + entry->attached->length);
}

/* FNV-1a. */
static struct list *find_bucket(struct text_store *store, struct slice name)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < name.length; i++)
        hash = (hash ^ (unsigned char)name.bytes[i]) * 16777619u;
    return &store->buckets[(hash ^ hash >> 16) % TEXT_BUCKETS];
}

static struct entry *find_entry(struct text_store *store, struct slice name)
{
    list_foreach(find_bucket(store, name), node)
    {
        struct entry *entry = list_entry(node, struct entry, in_bucket);
        if (slice_equal(name, (struct slice){ entry->name, entry->name_length }))
            return entry;
    }
    return NULL;
}

static void drop_entry(struct text_store *store, struct entry *entry)
{
    store->size -= entry_size(entry);
    list_remove(&entry->node);
    list_remove(&entry->in_bucket);
    text_release(entry->text);
    text_release(entry->attached);
    free(entry);
}

static void drop_excess(struct text_store *store)
{
    while (store->size > store->limit)
        drop_entry(store, list_entry(list_first(&store->entries), struct entry, node));
}

void text_store_init(struct text_store *store, size_t limit)
{
    *store = (struct text_store){ .limit = limit };
    list_init(&store->entries);
    for (size_t i = 0; i < TEXT_BUCKETS; i++)
        list_init(&store->buckets[i]);
}

void text_store_put(struct text_store *store, struct slice name, struct text *text, struct text *attached)
{
    text_store_remove(store, name);
    if (text == NULL || name.length > TEXT_NAME_MAX)
        return;
    struct entry *entry = calloc(1, sizeof *entry + name.length);
    if (entry == NULL)
        return;
    entry->text = text_reference(text);
    entry->attached = text_reference(attached);
    entry->name_length = name.length;
    if (name.length > 0)
        memcpy(entry->name, name.bytes, name.length);
    list_append(&store->entries, &entry->node);
    list_append(find_bucket(store, name), &entry->in_bucket);
    store->size += entry_size(entry);
    drop_excess(store);
}

struct text *text_store_get(struct text_store *store, struct slice name, struct text **attached)
{
    struct entry *entry = find_entry(store, name);
    if (attached != NULL)
        *attached = entry == NULL ? NULL : entry->attached;
    if (entry == NULL)
        return NULL;
    list_remove(&entry->node);
    list_append(&store->entries, &entry->node);
    return entry->text;
}

void text_store_attach(struct text_store *store, const struct text *text, struct text *attached)
{
    struct list_node *node = store->entries.head.previous;
    while (node != &store->entries.head && list_entry(node, struct entry, node)->text != text)
        node = node->previous;
    if (node == &store->entries.head)
        return;
    struct entry *entry = list_entry(node, struct entry, node);
    store->size -= entry_size(entry);
    text_release(entry->attached);
    entry->attached = text_reference(attached);
    store->size += entry_size(entry);
    drop_excess(store);
}

void text_store_remove(struct text_store *store, struct slice name)
{
    struct entry *entry = find_entry(store, name);
    if (entry != NULL)
        drop_entry(store, entry);
}

void text_store_clear(struct text_store *store)
{
    struct list_node *node;
    while ((node = list_first(&store->entries)) != NULL)
        drop_entry(store, list_entry(node, struct entry, node));
}
