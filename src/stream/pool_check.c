#include "stream/pool_check.h"

#include "stream/stream_pool_parts.h"

#include <stdlib.h>

/* So much of an answer is looked at. */
#define ANSWER_MAX 16384

/* Owned by its pool, until it ends. */
struct pool_check {
    struct list_node node;
    struct target *target;
    struct mux_client *mux; /* NULL: it has not begun */
    struct buffer answer;
    bool has_ended; /* its request has */
    bool is_answered;
    enum reason reason;
};

static struct pool_check *check_of(struct list_node *node)
{
    return list_entry(node, struct pool_check, node);
}

static struct pool_check *check_find(const struct stream_pool *pool, const struct target *target)
{
    list_foreach(&pool->checks, node)
    {
        if (check_of(node)->target == target)
            return check_of(node);
    }
    return NULL;
}

static void check_free(struct pool_check *check, int64_t now)
{
    list_remove(&check->node);
    if (check->mux != NULL)
        mux_client_close(check->mux, now);
    buffer_free(&check->answer);
    free(check);
}

bool pool_check_begin(void *owner, struct target *target, int64_t)
{
    struct stream_pool *pool = owner;
    struct pool_check *check = calloc(1, sizeof *check);
    if (check == NULL)
        return false;
    check->target = target;
    list_append(&pool->checks, &check->node);
    stream_pool_touch(pool);
    return true;
}

/* One that is late leaves a connection behind that is of no use to anybody, if nothing else is due there. */
void pool_check_end(void *owner, struct target *target, int64_t now)
{
    struct stream_pool *pool = owner;
    struct pool_check *check = check_find(pool, target);
    struct mux_connection *silent = NULL;
    if (check == NULL)
        return;
    if (check->mux != NULL && target->check.deadline <= now && mux_client_is_owed(check->mux))
        silent = mux_client_connection(check->mux);
    bool is_alone = silent != NULL && mux_connection_load(silent) == 1;
    check_free(check, now);
    if (is_alone && !mux_connection_is_over(silent))
        mux_connection_fail(silent, REASON_REQUEST_TIMEOUT, now);
    stream_pool_touch(pool);
}

struct target *pool_check_target(void *client)
{
    return ((struct pool_check *)client)->target;
}

void stream_pool_check_ended(const struct mux_ending *ending)
{
    struct pool_check *check = ending->client;
    check->has_ended = true;
    check->is_answered = ending->answered;
    check->reason = ending->reason;
}

/* Puts the question. False when memory is short. */
static bool check_ask(struct stream_pool *pool, struct pool_check *check, int64_t now)
{
    struct buffer question = { 0 };
    check->mux = mux_client_open(pool->mux, check, 0, now);
    if (check->mux == NULL)
        return false;
    mux_client_set_door(check->mux, &pool->check_door);
    mux_client_set_origin(check->mux, POOL_CHECK_ORIGIN);
    check_write(&check->target->settings->check, &pool->settings->protocol, mux_client_framer(check->mux),
                &question);
    bool success = !question.failed && question.length > 0;
    if (success)
        mux_client_bytes(check->mux, buffer_bytes(&question), question.length, now);
    buffer_free(&question);
    return success;
}

/* What has been said is taken off the multiplexer, its beginning is kept. */
static void check_hear(struct pool_check *check, int64_t now)
{
    struct slice output = mux_client_output(check->mux);
    size_t room = ANSWER_MAX - check->answer.length;
    if (output.length == 0)
        return;
    buffer_append(&check->answer, output.bytes, output.length < room ? output.length : room);
    mux_client_written(check->mux, output.length, now);
}

static void check_evaluate(struct stream_pool *pool, struct target *target, struct slice answer, int64_t now)
{
    struct buffer error = { 0 };
    enum protocol_outcome outcome =
        check_read(&target->settings->check, &pool->settings->protocol, answer, &error);
    bool is_good = outcome == PROTOCOL_COMPLETE;
    buffer_append(&error, "", 1);
    if (is_good)
        target_check_passed(target, now);
    else
        target_check_failed(target, REASON_PROTOCOL_ERROR,
                            !error.failed && error.length > 1
                                ? buffer_bytes(&error)
                                : "its answer does not contain what is expected",
                            now);
    buffer_free(&error);
}

/* The check is over: what it has shown. */
static void check_finish(struct stream_pool *pool, struct pool_check *check, int64_t now)
{
    struct target *target = check->target;
    struct buffer answer = check->answer;
    const bool is_answered = check->has_ended && check->is_answered;
    enum reason reason = check->has_ended ? check->reason : REASON_INTERNAL;
    check->answer = (struct buffer){ 0 };
    check_free(check, now);
    if (is_answered && !answer.failed)
        check_evaluate(pool, target, buffer_slice(&answer), now);
    else if (reason == REASON_TARGET_CLOSED || reason == REASON_TARGET_RESET)
        target_check_failed(target, reason, "it ended the connection without an answer", now);
    else if (reason == REASON_REQUEST_TIMEOUT || reason == REASON_PROTOCOL_ERROR)
        target_check_failed(target, reason, reason_phrase(reason), now);
    else
        target_check_void(target, now);
    buffer_free(&answer);
    stream_pool_touch(pool);
}

void pool_checks_progress(struct stream_pool *pool, int64_t now)
{
    list_foreach(&pool->checks, node)
    {
        struct pool_check *check = check_of(node);
        bool has_begun = check->mux != NULL || check_ask(pool, check, now);
        if (has_begun)
            check_hear(check, now);
        if (!has_begun || check->has_ended || mux_client_closing(check->mux) != MUX_STAYS)
            check_finish(pool, check, now);
        else if (mux_client_is_owed(check->mux))
            target_check_sent(check->target, now);
    }
}

void pool_checks_stop(struct stream_pool *pool, int64_t now)
{
    struct list_node *node;
    while ((node = list_first(&pool->checks)) != NULL)
        target_check_stop(check_of(node)->target, now);
}
