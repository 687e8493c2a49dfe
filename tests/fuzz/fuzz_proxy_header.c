/* PROXY headers: cut anywhere they mean the same, no byte after them is taken, and those that name a client
 * say the same when they are written and read again. */
#include "fuzz/fuzz.h"

#include "net/proxy_header.h"

/* Reads in pieces of `piece` bytes until the header is over; returns how many bytes were used. */
static enum proxy_header_result read_in_pieces(struct proxy_header *header, const char *bytes, size_t length,
                                               size_t piece, size_t *total)
{
    enum proxy_header_result result = PROXY_HEADER_MORE;
    *total = 0;
    while (result == PROXY_HEADER_MORE && *total < length) {
        size_t count = length - *total < piece ? length - *total : piece;
        size_t used;
        result = proxy_header_read(header, bytes + *total, count, &used);
        FUZZ_REQUIRE(used <= count);
        FUZZ_REQUIRE(result != PROXY_HEADER_MORE || used == count);
        *total += used;
    }
    return result;
}

static void write_again(const struct proxy_header *header, int version)
{
    char bytes[PROXY_HEADER_WRITE_MAX];
    struct proxy_header again = { 0 };
    size_t length = proxy_header_write(version, &header->source, &header->destination, bytes);
    size_t used;

    FUZZ_REQUIRE(length <= sizeof bytes);
    FUZZ_REQUIRE(proxy_header_read(&again, bytes, length, &used) == PROXY_HEADER_DONE);
    FUZZ_REQUIRE(used == length && again.has_addresses);
    FUZZ_REQUIRE(address_compare(&again.source, &header->source) == 0);
    FUZZ_REQUIRE(address_compare(&again.destination, &header->destination) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header whole = { 0 };
    struct proxy_header pieces = { 0 };
    size_t whole_used, pieces_used;
    char *bytes;

    if (size == 0)
        return 0;
    bytes = fuzz_text(data + 1, size - 1);
    size_t piece = (size_t)data[0] % 16 + 1;
    enum proxy_header_result result = read_in_pieces(&whole, bytes, size - 1, size, &whole_used);
    FUZZ_REQUIRE(read_in_pieces(&pieces, bytes, size - 1, piece, &pieces_used) == result);
    if (result == PROXY_HEADER_DONE) {
        FUZZ_REQUIRE(whole_used == pieces_used && whole.total == whole_used);
        FUZZ_REQUIRE(whole.has_addresses == pieces.has_addresses);
        if (whole.has_addresses) {
            FUZZ_REQUIRE(address_compare(&whole.source, &pieces.source) == 0);
            write_again(&whole, 1);
            write_again(&whole, 2);
        }
    }
    free(bytes);
    return 0;
}
