/* Many clients at once, each of which pipelines a script of its own: what it asks and what it must be
 * answered, byte for byte, are told by two functions, step by step, so that nothing is held but the step in
 * hand. Some clients send in small pieces, some read slowly. */
#ifndef HARNESS_DIALOGUE_H
#define HARNESS_DIALOGUE_H

#include "base/buffer.h"
#include "harness/test.h"

struct dialogue {
    unsigned port; /* of 127.0.0.1 */
    size_t clients;
    size_t steps; /* of each client */
    size_t depth; /* steps that it may be ahead of their answers */

    /* Append the request of a client's step, and its answer. Both are asked in the order of the steps. */
    void (*request)(struct buffer *buffer, size_t client, size_t step);
    void (*answer)(struct buffer *buffer, size_t client, size_t step);
};

/* Lets all of them speak until each has had its last answer, and close. Nothing may come beyond that.
 * Returns the milliseconds that it took. */
#define dialogue_run(dialogue) dialogue_run_at((dialogue), HERE)
int64_t dialogue_run_at(const struct dialogue *dialogue, struct place place);

/* Appends a value of so many bytes of any kind, line ends included; values of different clients or numbers
 * differ in nearly every byte. */
#define DIALOGUE_VALUE_MAX ((size_t)1 << 20)
void dialogue_value(struct buffer *buffer, size_t client, size_t number, size_t size);

/* Sizes from 0 to DIALOGUE_VALUE_MAX in turn, those around the usual limits of buffers among them. */
size_t dialogue_size(size_t client, size_t number);

#endif
