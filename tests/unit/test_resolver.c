/* Names and their last answers, with a c-ares that answers as the test wants: at once, later, or from inside
 * the question for another name, as it does when the socket that both were sent on breaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/turn.h"
#include "net/resolver.h"

#include <ares.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define QUESTIONS_MAX 4

/* What was asked and has no answer yet. */
static struct {
    ares_addrinfo_callback callback;
    void *data;
} questions[QUESTIONS_MAX];
static size_t question_count;

static struct ares_addrinfo *make_answer(void)
{
    struct ares_addrinfo *answer = calloc(1, sizeof *answer);
    struct ares_addrinfo_node *node = calloc(1, sizeof *node);
    struct sockaddr_in *address = calloc(1, sizeof *address);
    assert_true(answer != NULL && node != NULL && address != NULL);
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    *node = (struct ares_addrinfo_node){
        .ai_ttl = 60,
        .ai_family = AF_INET,
        .ai_addrlen = sizeof *address,
        .ai_addr = (struct sockaddr *)address,
    };
    answer->nodes = node;
    return answer;
}

/* Answers all that is open. */
static void answer_questions(int status)
{
    size_t count = question_count;
    question_count = 0;
    for (size_t i = 0; i < count; i++)
        questions[i].callback(questions[i].data, status, 0, status == ARES_SUCCESS ? make_answer() : NULL);
}

/* In place of the library's: names that begin with "slow" are answered with the next one, others at once. */
void ares_getaddrinfo(ares_channel channel, const char *host, const char *service,
                      const struct ares_addrinfo_hints *hints, ares_addrinfo_callback callback, void *data)
{
    (void)channel;
    (void)service;
    (void)hints;
    if (strncmp(host, "slow", 4) != 0) {
        answer_questions(ARES_SUCCESS);
        callback(data, ARES_SUCCESS, 0, make_answer());
        return;
    }
    assert_true(question_count < QUESTIONS_MAX);
    questions[question_count].callback = callback;
    questions[question_count++].data = data;
}

void ares_destroy(ares_channel channel)
{
    void (*destroy)(ares_channel) = NULL;
    answer_questions(ARES_EDESTRUCTION);
    *(void **)&destroy = dlsym(RTLD_NEXT, "ares_destroy");
    assert_non_null(destroy);
    destroy(channel);
}

struct scene {
    struct ev_loop *loop;
    struct turn turn;
    struct resolver *resolver;
    unsigned answered;
};

static void answered(void *data)
{
    struct scene *scene = data;
    scene->answered++;
}

static int scene_make(void **state)
{
    static struct scene scene;
    char error[128];
    scene = (struct scene){ 0 };
    scene.loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(scene.loop);
    turn_init(&scene.turn, scene.loop);
    scene.resolver = resolver_create(scene.loop, error, sizeof error);
    assert_non_null(scene.resolver);
    *state = &scene;
    return 0;
}

static int scene_end(void **state)
{
    const struct scene *scene = *state;
    resolver_destroy(scene->resolver);
    ev_loop_destroy(scene->loop);
    return 0;
}

static struct resolver_name *add(struct scene *scene, const char *host)
{
    struct resolver_name *name = resolver_add(scene->resolver, "test", host, answered, scene);
    assert_non_null(name);
    return name;
}

static size_t count_addresses(const struct resolver_name *name)
{
    return resolver_answer(name)->count;
}

static void last_answer_goes_on_to_the_next_name(void **state)
{
    struct scene *scene = *state;
    size_t count;
    struct resolver_name *name = add(scene, "localhost");
    assert_int_equal(count_addresses(name), 0);
    assert_true(resolver_lookup(name));
    const struct address *addresses = resolver_answer(name)->addresses;
    count = resolver_answer(name)->count;
    assert_true(count > 0);

    struct resolver_name *same = add(scene, "localhost");
    struct resolver_name *another = add(scene, "localhost.invalid");
    const struct address *taken_over = resolver_answer(same)->addresses;
    assert_int_equal(count_addresses(same), count);
    assert_memory_equal(taken_over, addresses, count * sizeof *addresses);
    assert_int_equal(resolver_answer(same)->fresh_until, resolver_answer(name)->fresh_until);
    assert_int_equal(count_addresses(another), 0);
    resolver_remove(name); /* its addresses are its own */
    assert_int_equal(count_addresses(same), count);
    resolver_remove(same);
    resolver_remove(another);
    same = add(scene, "localhost");
    assert_int_equal(count_addresses(same), 0);
    resolver_remove(same);
}

/* Who asks for one name must not find others changed when it is told so: they are told by the loop. */
static void other_names_are_told_by_the_loop(void **state)
{
    struct scene *scene = *state;
    struct resolver_name *slow = add(scene, "slow");
    struct resolver_name *gone = add(scene, "slow too");
    struct resolver_name *quick = add(scene, "quick");
    assert_false(resolver_lookup(slow));
    assert_false(resolver_lookup(gone));
    assert_true(resolver_lookup(quick));
    assert_int_equal(scene->answered, 0);
    assert_int_equal(count_addresses(slow), 1);
    resolver_remove(gone);
    ev_run(scene->loop, EVRUN_NOWAIT);
    assert_int_equal(scene->answered, 1);
    ev_run(scene->loop, EVRUN_NOWAIT);
    assert_int_equal(scene->answered, 1);
    resolver_remove(slow);
    resolver_remove(quick);
}

/* So it is when the resolver is made anew, which asks again. */
static void names_asked_again_are_told_by_the_loop(void **state)
{
    struct scene *scene = *state;
    struct resolver_name *slow = add(scene, "slow");
    struct resolver_name *quick = add(scene, "quick");
    assert_false(resolver_lookup(slow));
    resolver_renew(scene->resolver);
    ev_run(scene->loop, EVRUN_NOWAIT);
    assert_int_equal(scene->answered, 0); /* that the old one ended is no answer */
    answer_questions(ARES_ENOTFOUND);
    assert_int_equal(scene->answered, 0);
    ev_run(scene->loop, EVRUN_NOWAIT);
    assert_int_equal(scene->answered, 1);
    assert_string_not_equal(resolver_answer(slow)->failure, "");
    assert_true(resolver_lookup(quick));
    resolver_remove(slow);
    resolver_remove(quick);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(last_answer_goes_on_to_the_next_name, scene_make, scene_end),
        cmocka_unit_test_setup_teardown(other_names_are_told_by_the_loop, scene_make, scene_end),
        cmocka_unit_test_setup_teardown(names_asked_again_are_told_by_the_loop, scene_make, scene_end),
    };
    return cmocka_run_group_tests_name("resolver", tests, NULL, NULL);
}
