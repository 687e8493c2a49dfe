#include "simulation/dialect.h"
#include "simulation/own.h"
#include "simulation/real.h"

static const struct dialect *const dialects[] = {
    &dialect_own,   &dialect_own_pushes, &dialect_line, &dialect_length, &dialect_modbus,
    &dialect_redis, &dialect_memcached,  &dialect_http, &dialect_mllp,   &dialect_raw,
};

const struct dialect *dialect_pick(struct random *random)
{
    /* The simulation's own protocol has most in it. */
    return random_chance(random, 40) ? dialects[random_below(random, 2)] : random_pick(random, dialects);
}

char dialect_byte(const struct request *request, bool is_answer, size_t index)
{
    uint32_t hash = (request->client->number << 10 | request->number << 1 | is_answer) * 2654435761U;
    return (char)(unsigned char)((hash >> 8 * (index & 3)) + index * 13);
}

void dialect_write_body(const struct request *request, bool is_answer, size_t length, struct buffer *out)
{
    for (size_t i = 0; i < length; i++) {
        char byte = dialect_byte(request, is_answer, i);
        buffer_append(out, &byte, 1);
    }
}

void dialect_pass_on(struct request *request)
{
    buffer_append(&request->forward, buffer_bytes(&request->bytes), request->bytes.length);
    buffer_append(&request->expected, buffer_bytes(&request->answer), request->answer.length);
}
