/* Address lists. Each line of the input is an entry; each entry is a list of its own, and all that are right
 * make one list together: an address has to be in that one exactly if it is in one of the small ones.
 * Addresses to ask for are those that stand in the entries, and their neighbours. */
#include "fuzz/fuzz.h"

#include "access/access_list.h"
#include "net/address.h"

#define ENTRIES_MAX 32

struct entries {
    const char *texts[ENTRIES_MAX];
    struct access_list *lists[ENTRIES_MAX];
    size_t count;
};

static void count_fault(void *data, const char *file, unsigned line, const char *message)
{
    size_t *faults = data;

    (void)file;
    (void)line;
    FUZZ_REQUIRE(message != NULL && message[0] != '\0');
    (*faults)++;
}

/* Keeps the lines that are right. Lines that name files are left out: any file of the machine could be meant.
 */
static void split(char *text, struct entries *entries)
{
    char *rest = text, *line;

    entries->count = 0;
    while (entries->count < ENTRIES_MAX && (line = strsep(&rest, "\n")) != NULL) {
        const char *entry = line;
        struct access_list *list;
        size_t faults = 0;

        if (strstr(line, "file:") != NULL)
            continue;
        list = access_list_build(&entry, 1, count_fault, &faults);
        FUZZ_REQUIRE((list == NULL) == (faults > 0));
        if (list == NULL)
            continue;
        entries->texts[entries->count] = line;
        entries->lists[entries->count++] = list;
    }
}

static void ask(const struct entries *entries, const struct access_list *all, const struct address *address)
{
    bool expected = false;

    for (size_t i = 0; i < entries->count && !expected; i++)
        expected = access_list_contains(entries->lists[i], address);
    FUZZ_REQUIRE(access_list_contains(all, address) == expected);
}

static uint8_t *last_byte(struct address *address)
{
    return address->family == AF_INET ? (uint8_t *)&address->v4.sin_addr + 3
                                      : (uint8_t *)&address->v6.sin6_addr + 15;
}

/* Asks for the addresses at both ends of an entry's text, and for their neighbours. */
static void ask_about(const struct entries *entries, const struct access_list *all, const char *text)
{
    size_t first = strcspn(text, "-/");
    char host[128];
    const char *hosts[] = { host, text[first] == '-' ? text + first + 1 : host };
    struct address address;

    snprintf(host, sizeof(host), "%.*s", (int)(first < 100 ? first : 100), text);
    for (size_t i = 0; i < 2; i++) {
        if (!address_parse(hosts[i], &address))
            continue;
        ask(entries, all, &address);
        *last_byte(&address) = (uint8_t)(*last_byte(&address) + 1);
        ask(entries, all, &address);
        *last_byte(&address) = (uint8_t)(*last_byte(&address) - 2);
        ask(entries, all, &address);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    struct entries entries;
    struct access_list *all;
    size_t faults = 0;

    split(text, &entries);
    all = access_list_build(entries.texts, entries.count, count_fault, &faults);
    FUZZ_REQUIRE(all != NULL && faults == 0);
    FUZZ_REQUIRE(access_list_size(all) <= entries.count);
    for (size_t i = 0; i < entries.count; i++)
        ask_about(&entries, all, entries.texts[i]);
    for (size_t i = 0; i < entries.count; i++)
        access_list_release(entries.lists[i]);
    access_list_release(all);
    free(text);
    return 0;
}
