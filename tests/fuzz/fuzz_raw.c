/* raw: every piece is a message, so only the bytes have to be the same. */
#include "fuzz/framer.h"

#include "protocol/protocols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct protocol_settings settings = { .protocol = &protocol_raw, .max_message = -1, .is_async = true };
    struct buffer requests = { 0 }, answers = { 0 };
    char *text = fuzz_text(data, size);
    size_t done = 0;
    while (done < size) {
        size_t length = 1 + data[done] % 16;
        struct protocol_request request = { 0 };
        struct slice piece = { text + done, length < size - done ? length : size - done };
        struct slice question = piece, reply = piece;
        struct buffer out = { 0 }, answer = { 0 };
        uint64_t id;
        FUZZ_REQUIRE(protocol_raw.read_request(&settings, NULL, &request, &question, &out, &answer) ==
                     PROTOCOL_COMPLETE);
        FUZZ_REQUIRE(request.decided && !request.local && question.length == 0 && answer.length == 0);
        FUZZ_REQUIRE(slice_equal(buffer_slice(&out), piece));
        buffer_append(&requests, buffer_bytes(&out), out.length);
        FUZZ_REQUIRE(protocol_raw.read_response(&settings, NULL, &request, &reply, &answers, &id) ==
                     PROTOCOL_COMPLETE);
        FUZZ_REQUIRE(reply.length == 0);
        buffer_free(&out);
        done += piece.length;
    }
    FUZZ_REQUIRE(slice_equal(buffer_slice(&requests), (struct slice){ text, size }));
    FUZZ_REQUIRE(slice_equal(buffer_slice(&answers), (struct slice){ text, size }));
    buffer_free(&requests);
    buffer_free(&answers);
    free(text);
    return 0;
}
