/* HL7 over MLLP: many senders before one receiver that takes one connection, which the test plays. */
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/web.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE(id)   "\x0bMSH|^~\\&|APP|FAC|RECV|RFAC|20240101||ADT^A01|" id "|P|2.5\rPID|1||42\r\x1c\r"
#define ACK(code, id) "\x0bMSH|^~\\&|RECV|RFAC|APP|FAC|||ACK|77|P|2.5\rMSA|" code "|" id "\r\x1c\r"

struct receiver {
    unsigned port;
    unsigned admin_port;
    unsigned target_port;
    int listener;
    int connection;
    struct proximux *proximux;
};

static int sender_sends(const struct receiver *receiver, const char *message)
{
    int client = peer_connect("127.0.0.1", receiver->port);
    peer_send_text(client, message);
    return client;
}

/* A receiver, and a first exchange on its connection. */
static struct receiver receiver_start(struct fixture *fixture)
{
    struct receiver receiver = { .port = peer_free_port(),
                                 .admin_port = peer_free_port(),
                                 .target_port = peer_free_port() };
    receiver.listener = peer_listen("127.0.0.1", receiver.target_port, 16);
    receiver.proximux =
        proximux_start(fixture,
                       "admin: { listen = \"127.0.0.1:%u\"; };\n"
                       "listeners = ( { name = \"hl7\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\";\n"
                       "  protocol = \"mllp\"; request_timeout = 400;\n"
                       "  targets = \"127.0.0.1:%u\"; } );",
                       receiver.admin_port, receiver.port, receiver.target_port);
    int client = sender_sends(&receiver, MESSAGE("0"));
    receiver.connection = peer_accept(receiver.listener);
    peer_expect_text(receiver.connection, MESSAGE("0"));
    peer_send_text(receiver.connection, ACK("AA", "0"));
    peer_expect_text(client, ACK("AA", "0"));
    close(client);
    return receiver;
}

static void receiver_stop(const struct receiver *receiver)
{
    proximux_stop(receiver->proximux);
    close(receiver->connection);
    close(receiver->listener);
}

static long long count_discarded(const struct receiver *receiver)
{
    char name[160];
    snprintf(name, sizeof name,
             "proximux_target_messages_discarded_total{listener=\"hl7\",target=\"127.0.0.1:%u\"}",
             receiver->target_port);
    return web_figure(receiver->admin_port, name);
}

static void each_sender_gets_its_own_answer(void **state)
{
    struct receiver receiver = receiver_start(*state);
    int first = sender_sends(&receiver, MESSAGE("1"));
    peer_expect_text(receiver.connection, MESSAGE("1"));
    int second = sender_sends(&receiver, "\r\n" MESSAGE("2"));
    peer_send_text(receiver.connection, "\r\n" ACK("AE", "1"));
    peer_expect_text(first, ACK("AE", "1"));
    peer_expect_text(receiver.connection, MESSAGE("2"));
    peer_send_text(receiver.connection, ACK("AA", "2"));
    peer_expect_text(second, ACK("AA", "2"));
    assert_int_equal(count_discarded(&receiver), 0);
    close(first);
    close(second);
    receiver_stop(&receiver);
}

/* The second acknowledgment of the enhanced mode, and one of a message that nobody waits for any more. */
static void what_names_another_message_is_thrown_away(void **state)
{
    struct receiver receiver = receiver_start(*state);
    peer_send_text(receiver.connection, ACK("AA", "0")); /* while nobody waits */
    int client = sender_sends(&receiver, MESSAGE("1"));
    peer_expect_text(receiver.connection, MESSAGE("1"));
    peer_send_text(receiver.connection, ACK("AA", "0") ACK("AA", "1"));
    peer_expect_text(client, ACK("AA", "1"));
    assert_int_equal(count_discarded(&receiver), 2);
    peer_send_text(client, MESSAGE("2")); /* the connection has gone on */
    peer_expect_text(receiver.connection, MESSAGE("2"));
    peer_send_text(receiver.connection, ACK("AA", "2"));
    peer_expect_text(client, ACK("AA", "2"));
    close(client);
    receiver_stop(&receiver);
}

static void a_sender_is_told_what_went_wrong(void **state)
{
    struct receiver receiver = receiver_start(*state);
    int client = sender_sends(&receiver, MESSAGE("1"));
    peer_expect_text(receiver.connection, MESSAGE("1"));
    peer_expect_text(client, "\x0bMSH|^~\\&|RECV|RFAC|APP|FAC|||ACK|1|P|2.5\r"
                             "MSA|AE|1|the target did not answer in time\r\x1c\r");
    close(client);
    receiver_stop(&receiver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(each_sender_gets_its_own_answer),
        fixture_test(what_names_another_message_is_thrown_away),
        fixture_test(a_sender_is_told_what_went_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
