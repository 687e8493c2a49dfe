/* A Modbus device made with libmodbus: it takes a single connection and is slow. Behind the program it serves
 * twenty clients made with the same library, and mbpoll, all of which count their transactions from one. */
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/process.h"

#include <errno.h>
#include <fcntl.h>
#include <modbus.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CLIENTS = 20,
    OWN = 10, /* registers of each client */
    REGISTERS = CLIENTS * OWN,
    SLOWNESS = 2, /* milliseconds that the device takes for each answer */
};

/* ---- The device ---- */

/* Runs in a thread of its own until `stop` is closed at the other end. */
struct device {
    modbus_t *context;
    modbus_mapping_t *mapping;
    unsigned port;
    int listener;
    int connection; /* -1: none */
    int stop[2];
    pthread_t thread;
    bool forgets_ids; /* all its answers have the same transaction id */
    atomic_size_t accepted;
    atomic_size_t turned_away; /* those that came while it had one */
    atomic_size_t answered;
};

static uint16_t input_register(int address)
{
    return (uint16_t)(address * 331 + 7);
}

static void accept_one(struct device *device)
{
    int made = accept4(device->listener, NULL, NULL, SOCK_CLOEXEC);

    if (made == -1)
        return;
    if (device->connection != -1) {
        device->turned_away++;
        close(made);
        return;
    }
    device->accepted++;
    device->connection = made;
    modbus_set_socket(device->context, made);
}

static void answer_one(struct device *device)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    int length = modbus_receive(device->context, query);

    if (length == -1) {
        close(device->connection);
        device->connection = -1;
        return;
    }
    poll(&(struct pollfd){ .fd = device->stop[0], .events = POLLIN }, 1, SLOWNESS);
    if (device->forgets_ids)
        memset(query, 0, 2);
    modbus_reply(device->context, query, length, device->mapping);
    device->answered++;
}

static void *serve(void *data)
{
    struct device *device = data;

    for (;;) {
        struct pollfd watched[] = { { .fd = device->stop[0], .events = POLLIN },
                                    { .fd = device->connection, .events = POLLIN },
                                    { .fd = device->listener, .events = POLLIN } };

        if (poll(watched, 3, -1) == -1)
            continue;
        if (watched[0].revents != 0)
            return NULL;
        if (watched[1].revents != 0) /* first: it may be its end */
            answer_one(device);
        if (watched[2].revents != 0)
            accept_one(device);
    }
}

static struct device *device_start(bool forgets_ids)
{
    struct device *device = test_calloc(1, sizeof(*device));

    device->port = peer_free_port();
    device->connection = -1;
    device->forgets_ids = forgets_ids;
    device->context = modbus_new_tcp("127.0.0.1", (int)device->port);
    device->mapping = modbus_mapping_new(0, 0, REGISTERS, REGISTERS);
    assert_non_null(device->context);
    assert_non_null(device->mapping);
    for (int i = 0; i < REGISTERS; i++)
        device->mapping->tab_input_registers[i] = input_register(i);
    device->listener = modbus_tcp_listen(device->context, 4);
    test_require(device->listener != -1, "the device does not listen: %s", strerror(errno));
    assert_int_equal(pipe2(device->stop, O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&device->thread, NULL, serve, device), 0);
    return device;
}

static void device_stop(struct device *device)
{
    close(device->stop[1]);
    pthread_join(device->thread, NULL);
    close(device->stop[0]);
    close(device->listener);
    if (device->connection != -1)
        close(device->connection);
    modbus_mapping_free(device->mapping);
    modbus_free(device->context);
    test_free(device);
}

/* ---- Its clients ---- */

struct client {
    pthread_t thread;
    unsigned port;
    int number;
    size_t rounds;
    char problem[160]; /* empty: none */
};

/* Notes what went wrong; false, for the caller to return. */
static bool complain(struct client *client, const char *what, int got)
{
    snprintf(client->problem, sizeof(client->problem), "client %d: %s: %d (%s)", client->number, what, got,
             got == -1 ? modbus_strerror(errno) : "no error");
    return false;
}

/* Writes and reads what nobody else does, and asks for what there is not. */
static bool go_round(struct client *client, modbus_t *context, size_t round)
{
    int first = client->number * OWN, got;
    uint16_t written[OWN], read[OWN];

    for (int i = 0; i < OWN; i++)
        written[i] = (uint16_t)(client->number * 3000 + (int)round * OWN + i);
    got = modbus_write_registers(context, first, OWN, written);
    if (got != OWN)
        return complain(client, "writing", got);
    memset(read, 0, sizeof(read));
    got = modbus_read_registers(context, first, OWN, read);
    if (got != OWN || memcmp(read, written, sizeof(read)) != 0)
        return complain(client, "reading what it wrote", got);
    got = modbus_read_input_registers(context, first, 1 + client->number % OWN, read);
    if (got != 1 + client->number % OWN)
        return complain(client, "reading inputs", got);
    for (int i = 0; i < got; i++)
        if (read[i] != input_register(first + i))
            return complain(client, "another input than expected", read[i]);
    if (client->number % 3 == 0) {
        got = modbus_read_registers(context, REGISTERS, 1, read);
        if (got != -1 || errno != EMBXILADD)
            return complain(client, "reading what there is not", got);
    }
    return true;
}

static void *be_client(void *data)
{
    struct client *client = data;
    modbus_t *context = modbus_new_tcp("127.0.0.1", (int)client->port);
    uint32_t seconds = (uint32_t)(test_deadline(TEST_PATIENCE) - test_now()) / 1000;

    if (context == NULL || modbus_connect(context) == -1) {
        complain(client, "connecting", -1);
    } else {
        modbus_set_response_timeout(context, seconds, 0);
        for (size_t i = 0; i < client->rounds && go_round(client, context, i); i++)
            ;
        modbus_close(context);
    }
    modbus_free(context);
    return NULL;
}

static void start_clients(struct client *clients, unsigned port, size_t rounds)
{
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){ .port = port, .number = i, .rounds = rounds };
        assert_int_equal(pthread_create(&clients[i].thread, NULL, be_client, &clients[i]), 0);
    }
}

static void join_clients(struct client *clients)
{
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    for (size_t i = 0; i < CLIENTS; i++)
        test_require(clients[i].problem[0] == '\0', "%s", clients[i].problem);
}

/* One reading of the inputs of client `number` by mbpoll. */
static void poll_once(struct fixture *fixture, unsigned port, int number)
{
    char port_text[16], first[16], count[16], timeout[16], path[FIXTURE_PATH], expected[64];
    static char output[16384];

    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(first, sizeof(first), "%d", number * OWN);
    snprintf(count, sizeof(count), "%d", OWN);
    snprintf(timeout, sizeof(timeout), "%d", TEST_PATIENCE / 1000);
    int status = process_run(
        &(struct process_options){
            .arguments = (const char *const[]){ "mbpoll", "-0", "-1", "-q", "-t", "3", "-r", first, "-c",
                                                count, "-o", timeout, "-p", port_text, "127.0.0.1", NULL },
            .output = fixture_path(fixture, "mbpoll", path) },
        6 * TEST_PATIENCE, output, sizeof(output));
    test_require(status == 0, "mbpoll ended with status %d: %s", status, output);
    for (int i = 0; i < OWN; i++) {
        int address = number * OWN + i;
        const char *found;

        snprintf(expected, sizeof(expected), "[%d]:", address);
        found = strstr(output, expected);
        test_require(found != NULL &&
                         (uint16_t)strtol(found + strlen(expected), NULL, 10) == input_register(address),
                     "mbpoll did not find %u at %s %s", input_register(address), expected, output);
    }
}

static struct proximux *start(struct fixture *fixture, unsigned port, const struct device *device,
                              const char *keys)
{
    return proximux_start(fixture,
                          "listeners = ( { name = \"device\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; "
                          "targets = ( \"127.0.0.1:%u\" ); %s } );",
                          port, device->port, keys);
}

static void serve_all(struct fixture *fixture, bool forgets_ids, const char *keys)
{
    static struct client clients[CLIENTS];
    struct device *device = device_start(forgets_ids);
    unsigned port = peer_free_port();
    struct proximux *proximux = start(fixture, port, device, keys);
    size_t rounds = test_scaled(20, 4);
    char tool[256];
    bool have_mbpoll = process_find_command("mbpoll", NULL, tool, sizeof(tool));
    int64_t begin = test_now();

    start_clients(clients, port, rounds);
    for (int i = 0; have_mbpoll && i < CLIENTS; i += 3)
        poll_once(fixture, port, i);
    join_clients(clients);
    print_message("%zu answers of a device with one slot took %d ms\n", (size_t)device->answered,
                  (int)(test_now() - begin));
    if (!have_mbpoll)
        print_message("skipped: mbpoll is not installed (Debian: mbpoll)\n");
    assert_true(device->answered >= CLIENTS * rounds * 3);
    assert_int_equal(device->accepted, 1);
    assert_int_equal(device->turned_away, 0);
    proximux_stop(proximux);
    device_stop(device);
}

static void twenty_clients_of_one_slot(void **state)
{
    serve_all(*state, false, "protocol = \"modbus\";");
}

static void device_that_forgets_ids(void **state)
{
    serve_all(*state, true, "protocol = { type = \"modbus\"; match = \"order\"; };");
}

/* Several requests in flight, as far as the device takes them. */
static void many_in_flight(void **state)
{
    serve_all(*state, false, "protocol = \"modbus\"; async = true; pipeline_depth = 8;");
}

/* It wants to be left alone between requests. */
static void device_that_wants_gaps(void **state)
{
    enum { GAP = 15, REQUESTS = 10 };
    struct device *device = device_start(false);
    unsigned port = peer_free_port();
    struct proximux *proximux =
        start(*state, port, device, "protocol = \"modbus\"; connect_delay = 50; request_gap = 15;");
    modbus_t *context = modbus_new_tcp("127.0.0.1", (int)port);
    uint16_t value;
    int64_t begin = test_now();

    assert_int_equal(modbus_connect(context), 0);
    modbus_set_response_timeout(context, TEST_PATIENCE / 1000, 0);
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(modbus_read_input_registers(context, i, 1, &value), 1);
        assert_int_equal(value, input_register(i));
    }
    test_require(test_now() - begin >= 45 + (REQUESTS - 1) * GAP, "%d requests took %d ms only", REQUESTS,
                 (int)(test_now() - begin));
    modbus_close(context);
    modbus_free(context);
    proximux_stop(proximux);
    device_stop(device);
}

/* Clients are told so in the protocol's own terms: no answer is exception 0x0B, no path 0x0A. */
static void device_that_is_away(void **state)
{
    struct device *device = device_start(false);
    unsigned port = peer_free_port();
    struct proximux *proximux =
        start(*state, port, device, "protocol = \"modbus\"; queue_timeout = 300; request_timeout = 300;");
    modbus_t *context = modbus_new_tcp("127.0.0.1", (int)port);
    unsigned device_port = device->port;
    uint16_t value;

    assert_int_equal(modbus_connect(context), 0);
    modbus_set_response_timeout(context, TEST_PATIENCE / 1000, 0);
    assert_int_equal(modbus_read_input_registers(context, 5, 1, &value), 1);
    device_stop(device);
    proximux_wait_log(proximux, "closed: target_closed");
    assert_int_equal(modbus_read_input_registers(context, 5, 1, &value), -1);
    assert_int_equal(errno, EMBXGPATH);
    assert_int_equal(proximux_log_count(proximux, "is down"), 1);
    int silent = peer_listen("127.0.0.1", device_port, 4);
    int connection = peer_accept(silent);
    assert_int_equal(modbus_read_input_registers(context, 5, 1, &value), -1);
    assert_int_equal(errno, EMBXGTAR);
    close(connection);
    close(silent);
    modbus_close(context);
    modbus_free(context);
    proximux_stop(proximux);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(twenty_clients_of_one_slot),
        fixture_test(device_that_forgets_ids),
        fixture_test(many_in_flight),
        fixture_test(device_that_wants_gaps),
        fixture_test(device_that_is_away),
    };

    return cmocka_run_group_tests_name("modbus", tests, NULL, NULL);
}
