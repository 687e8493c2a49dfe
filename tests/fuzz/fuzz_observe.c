/* Sessions of any bytes as an observer sees them: nothing breaks, what is told is in order and bounded, and
 * how the bytes are cut makes no difference.
 *
 * Input: a byte that chooses the protocol, then pieces: a byte that says whose it is and how long (its lowest
 * bit and the others), and the bytes. */
#include "fuzz/fuzz.h"

#include "protocol/line/line.h"
#include "protocol/observe/observer.h"
#include "protocol/protocols.h"

/* Bytes of the values of statements that are wanted. */
#define PARAMETERS_MAX 2000

struct record {
    uint64_t asked;
    uint64_t ended;
    uint64_t sum; /* of all that was told, so that two runs can be compared */
};

static void add(struct record *record, uint64_t value)
{
    record->sum = (record->sum ^ value) * UINT64_C(1099511628211);
}

static void add_bytes(struct record *record, struct slice bytes)
{
    for (size_t i = 0; i < bytes.length; i++)
        add(record, (unsigned char)bytes.bytes[i]);
}

static void check(const struct observation *observation)
{
    FUZZ_REQUIRE(observation->text.length <= OBSERVE_TEXT_MAX);
    FUZZ_REQUIRE(observation->parameters.length <= PARAMETERS_MAX);
    FUZZ_REQUIRE(observation->error.length <= OBSERVE_ERROR_MAX);
    FUZZ_REQUIRE(observation->request.length <= 32 &&
                 observation->request.length <= observation->request_bytes);
    FUZZ_REQUIRE(observation->response.length <= 16 &&
                 observation->response.length <= observation->response_bytes);
}

static void asked(void *owner, const struct observation *observation)
{
    struct record *record = owner;
    check(observation);
    record->asked++;
    FUZZ_REQUIRE(observation->number == record->asked);
    add(record, observation->number);
    add_bytes(record, observation->text);
    add_bytes(record, observation->parameters);
    add(record, observation->parameters_are_cut);
    add_bytes(record, observation->request);
}

static void answered(void *owner, const struct observation *observation)
{
    struct record *record = owner;
    check(observation);
    record->ended++;
    FUZZ_REQUIRE(observation->number >= 1 && observation->number <= record->asked);
    add(record, observation->number + observation->response_bytes * 1000);
    add_bytes(record, observation->error);
    add_bytes(record, observation->response);
}

static void unanswered(void *owner, const struct observation *observation)
{
    struct record *record = owner;
    record->ended++;
    add(record, observation->number);
}

static void lost(void *owner, const char *why)
{
    add_bytes(owner, (struct slice){ why, strlen(why) });
}

static void show(struct observer *observer, uint8_t side, const uint8_t *bytes, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    FUZZ_REQUIRE(copy != NULL);
    if (length > 0)
        memcpy(copy, bytes, length);
    if (side == 0)
        observer_client_bytes(observer, copy, length, 1);
    else
        observer_target_bytes(observer, copy, length, 1);
    free(copy);
}

static struct record run(const struct protocol_settings *settings, const uint8_t *data, size_t size,
                         size_t step)
{
    static const struct observer_hooks hooks = { asked, answered, unanswered, lost };
    struct observer_settings observed = { settings, 32, 16, PARAMETERS_MAX };
    struct record record = { 0 };
    struct observer *observer = observer_create(&observed, &hooks, &record);
    FUZZ_REQUIRE(observer != NULL);
    for (size_t at = 0; at < size;) {
        uint8_t side = data[at] & 1;
        size_t length = data[at] / 2;
        at++;
        if (length > size - at)
            length = size - at;
        for (size_t end = at + length; at < end;) {
            size_t count = step < end - at ? step : end - at;
            show(observer, side, data + at, count);
            at += count;
        }
    }
    observer_target_end(observer, 2);
    observer_end(observer);
    observer_destroy(observer);
    FUZZ_REQUIRE(record.asked == record.ended);
    return record;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {
        "mysql", "postgresql", "redis", "memcached", "http", "modbus", "line"
    };
    if (size == 0)
        return 0;
    const char *name = names[data[0] % (sizeof names / sizeof names[0])];
    struct protocol_settings settings = {
        .protocol = protocols_find(name),
        .is_async = true,
        .head_limit = 4096,
        .max_message = -1,
    };
    if (strcmp(name, "line") == 0)
        *line_own(&settings) = (struct line_settings){ .delimiter = SLICE("\n"), .reply_lines = 1 };
    struct record whole = run(&settings, data + 1, size - 1, SIZE_MAX);
    /* What memcached's client sends at once counts as a run of quiet commands. */
    if (strcmp(name, "memcached") != 0)
        FUZZ_REQUIRE(whole.sum == run(&settings, data + 1, size - 1, 1).sum);
    return 0;
}
