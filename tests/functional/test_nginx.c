/* A real nginx behind shared connections; curl, wrk and ab in front of it. */
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE "This is the page.\n"

static struct server nginx;

/* The running test's way to the server. */
struct web {
    struct fixture *fixture;
    struct proximux *proximux;
    unsigned port;
    char output[65536]; /* of the last command */
};

static struct web *begin(struct fixture *fixture, const char *mode, unsigned connections, const char *keys)
{
    static struct web only;
    struct web *web = &only;

    web->fixture = fixture;
    web->port = peer_free_port();
    web->proximux = proximux_start(
        fixture,
        "listeners = ( { name = \"web\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; "
        "protocol = \"http\"; targets = ( { address = \"127.0.0.1:%u\"; connections = %u; } ); "
        "%s } );",
        web->port, mode, nginx.port, connections, keys);
    return web;
}

static void end(struct web *web)
{
    proximux_stop(web->proximux);
}

/* Makes a command of the shell: %P becomes the port, %D the directory of the test, %S that of the server. */
static void make_command(const struct web *web, const char *text, char *command, size_t size)
{
    size_t length = 0;

    for (; *text != '\0' && length < size; text++) {
        int added = 1;

        if (text[0] == '%' && text[1] == 'P')
            added = snprintf(command + length, size - length, "%u", web->port);
        else if (text[0] == '%' && text[1] == 'D')
            added = snprintf(command + length, size - length, "%s", web->fixture->directory);
        else if (text[0] == '%' && text[1] == 'S')
            added = snprintf(command + length, size - length, "%s", nginx.directory);
        else
            command[length] = *text;
        text += text[0] == '%' && (text[1] == 'P' || text[1] == 'D' || text[1] == 'S');
        length += (size_t)added;
    }
    test_require(length < size, "the command is too long");
    command[length] = '\0';
}

/* Runs it; it must succeed. */
#define run(web, text) run_at((web), (text), HERE)
static void run_at(struct web *web, const char *text, struct place place)
{
    char command[1024], path[FIXTURE_PATH];
    int status;

    make_command(web, text, command, sizeof(command));
    status = process_run(
        &(struct process_options){ .arguments = (const char *const[]){ "sh", "-c", command, NULL },
                                   .output = fixture_path(web->fixture, "output", path) },
        6 * TEST_PATIENCE, web->output, sizeof(web->output));
    if (status != 0)
        test_fail_at(place, "%s ended with status %d: %s", command, status, web->output);
}

/* Likewise; it must print exactly this. */
#define expect(web, text, output) expect_at((web), (text), (output), HERE)
static void expect_at(struct web *web, const char *text, const char *output, struct place place)
{
    run_at(web, text, place);
    if (strcmp(web->output, output) != 0)
        test_fail_at(place, "%s: printed \"%s\" instead of \"%s\"", text, web->output, output);
}

/* As with "printf ... | nc -N": nobody else is there, and a connection has to be made first. */
static void a_request_with_an_end_is_answered(void **state)
{
    struct web *web = begin(*state, "fifo", 1, "connect_delay = 50; request_gap = 20;");

    for (int i = 0; i < 3; i++) {
        int client = peer_connect("127.0.0.1", web->port);
        peer_send_text(client, "GET /page HTTP/1.1\r\nHost: x\r\n\r\n");
        peer_end(client);
        peer_expect_text(client, "HTTP/1.1 200 OK\r\n");
        peer_expect_closed(client);
        close(client);
    }
    end(web);
}

static void curl_keeps_its_connection(void **state)
{
    struct web *web = begin(*state, "fifo", 1, "");

    expect(web,
           "curl -sS -w '%{num_connects}\\n' http://127.0.0.1:%P/page http://127.0.0.1:%P/page "
           "http://127.0.0.1:%P/chunked/page http://127.0.0.1:%P/page",
           PAGE "1\n" PAGE "0\n" PAGE "0\n" PAGE "0\n");
    run(web, "curl -sSI http://127.0.0.1:%P/page --next -sS http://127.0.0.1:%P/page --next -sSI "
             "http://127.0.0.1:%P/nothing --next -sS -w '%{num_connects}' http://127.0.0.1:%P/page");
    test_require(strncmp(web->output, "HTTP/1.1 200 OK\r\n", 17) == 0 &&
                     strstr(web->output, "Content-Length: 18\r\n") != NULL &&
                     strstr(web->output, "HTTP/1.1 404 Not Found\r\n") != NULL &&
                     strstr(web->output, "\r\n\r\n" PAGE "HTTP/1.1 404") != NULL &&
                     strcmp(web->output + strlen(web->output) - 19, PAGE "0") == 0,
                 "curl prints: %s", web->output);
    expect(web,
           "curl -sS -w '%{http_code} %{num_connects}\\n' http://127.0.0.1:%P/none http://127.0.0.1:%P/none",
           "204 1\n204 0\n");
    run(web, "tag=$(curl -sSI http://127.0.0.1:%P/page -w '%header{etag}' -o %D/head); curl -sS -w "
             "'%{http_code} %{size_download} ' -H \"If-None-Match: $tag\" http://127.0.0.1:%P/page "
             "http://127.0.0.1:%P/page");
    test_require(strcmp(web->output, "304 0 304 0 ") == 0, "curl prints: %s", web->output);
    expect(web, "curl -sS --http1.0 http://127.0.0.1:%P/page http://127.0.0.1:%P/chunked/page", PAGE PAGE);
    expect(web, "curl -sS -H 'Connection: close' http://127.0.0.1:%P/page http://127.0.0.1:%P/chunked/page",
           PAGE PAGE);
    end(web);
}

static void curl_uploads(void **state)
{
    struct web *web = begin(*state, "fifo", 1, "");

    run(web, "head -c 300000 /dev/urandom >%D/data");
    expect(web,
           "curl -sS -w '%{http_code}' -T %D/data -H 'Transfer-Encoding: chunked' "
           "http://127.0.0.1:%P/upload/chunked",
           "201");
    expect(web, "cmp %D/data %S/www/upload/chunked", "");
    /* curl waits for the 100 for longer than it may take */
    run(web, "curl -sSv -w '%{http_code}' -T %D/data -H 'Expect: 100-continue' --expect100-timeout 600 "
             "http://127.0.0.1:%P/upload/expected");
    test_require(strstr(web->output, "< HTTP/1.1 100 Continue") != NULL &&
                     strcmp(web->output + strlen(web->output) - 3, "201") == 0,
                 "curl prints: %s", web->output);
    expect(web, "cmp %D/data %S/www/upload/expected", "");
    expect(web, "curl -sS http://127.0.0.1:%P/upload/chunked | cmp - %D/data", "");
    expect(web,
           "curl -sS -w '%{http_code} ' -X DELETE http://127.0.0.1:%P/upload/chunked "
           "http://127.0.0.1:%P/upload/chunked -o %D/x -o %D/x",
           "204 404 ");
    end(web);
}

/* An answer that does not wait for the end of its request. */
static void upload_that_is_refused(void **state)
{
    struct web *web = begin(*state, "fifo", 1, "");

    run(web, "head -c 20000000 /dev/zero >%D/data");
    for (size_t i = 0; i < 3; i++) {
        expect(web,
               "curl -sS -o %D/x -w '%{http_code}' -T %D/data -H Expect: http://127.0.0.1:%P/small/x || "
               "test $? -eq 55", /* it could not send all of it */
               "413");
        expect(web, "curl -sS http://127.0.0.1:%P/page", PAGE);
    }
    end(web);
}

static void requests_that_reach_no_target(void **state)
{
    static const char *const requests[] = {
        "GET /page HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /page HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        "GET /page HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /page HTTP/1.1\r\nHost: x\r\nConnection: Content-Length\r\nContent-Length: 4\r\n\r\nGET ",
        "GET /page HTTP/1.1\r\n\r\n",
    };
    struct web *web = begin(*state, "fifo", 1, "");

    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        int client = peer_connect("127.0.0.1", web->port);

        peer_send_text(client, requests[i]);
        peer_expect_text(client, "HTTP/1.1 400 ");
        peer_expect_closed(client);
        close(client);
    }
    expect(web,
           "curl -sS -o %D/x -w '%{http_code}' -H 'Connection: Upgrade' -H 'Upgrade: websocket' "
           "http://127.0.0.1:%P/page",
           "501");
    assert_int_equal(proximux_log_count(web->proximux, " opened"), 0);
    expect(web, "curl -sS http://127.0.0.1:%P/page", PAGE);
    end(web);
}

/* A long transfer by curl, with another client's requests beside it, on what connections there are. */
static void beside(struct web *web, const char *text, size_t least)
{
    static const char request[] = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n";
    char command[1024], path[FIXTURE_PATH], received[4096];
    int client = peer_connect("127.0.0.1", web->port), status = -1;
    size_t length = 0, rounds = 0;

    /* the answer is always the same but for its date */
    peer_send_text(client, request);
    do
        peer_receive(client, received + length++, 1);
    while (length < sizeof(PAGE) ||
           memcmp(received + length - sizeof(PAGE) + 1, PAGE, sizeof(PAGE) - 1) != 0);
    make_command(web, text, command, sizeof(command));
    unlink(fixture_path(web->fixture, "beside", path));
    pid_t process = process_start(&(struct process_options){
        .arguments = (const char *const[]){ "sh", "-c", command, NULL }, .output = path });
    assert_int_not_equal(process, -1);
    int64_t deadline = test_deadline(6 * TEST_PATIENCE);
    while (!process_wait(process, 0, &status)) {
        test_require(test_now() < deadline, "no end of %s", command);
        peer_send_text(client, request);
        peer_receive(client, received, length);
        assert_memory_equal(received + length - sizeof(PAGE) + 1, PAGE, sizeof(PAGE) - 1);
        rounds++;
    }
    close(client);
    process_read_file(path, web->output, sizeof(web->output));
    test_require(status == 0, "%s ended with status %d: %s", command, status, web->output);
    test_require(rounds >= least, "only %zu requests were answered beside it", rounds);
    print_message("%zu requests were answered beside it\n", rounds);
}

static void large_file_up_and_down(void **state)
{
    size_t size = test_scaled(200 * 1000 * 1000, 1000 * 1000);
    struct web *web = begin(*state, "funnel", 2, "");
    char command[128], sum[128];

    snprintf(command, sizeof(command), "head -c %zu /dev/urandom >%%D/data && sha256sum <%%D/data", size);
    run(web, command);
    snprintf(sum, sizeof(sum), "%.100s", web->output);
    int64_t begun = test_now();
    beside(web, "curl -sS -T %D/data http://127.0.0.1:%P/upload/large", 1);
    int64_t up = test_now();
    beside(web, "curl -sS http://127.0.0.1:%P/upload/large | sha256sum", 1);
    print_message("%zu MB took %d ms up and %d ms down\n", size / 1000000, (int)(up - begun),
                  (int)(test_now() - up));
    assert_string_equal(web->output, sum);
    run(web, "rm %S/www/upload/large");
    test_require(process_private_kilobytes(web->proximux->process) < 16384 || !test_figures_count(),
                 "it holds %ld KiB", process_private_kilobytes(web->proximux->process));
    end(web);
}

/* What a line of the output that begins so has after it, as a number. */
static double figure(const struct web *web, const char *label)
{
    const char *found = strstr(web->output, label);

    test_require(found != NULL, "there is no \"%s\" in: %s", label, web->output);
    return strtod(found + strlen(label), NULL);
}

static void benchmark_by_wrk(struct fixture *fixture, const char *mode, unsigned connections)
{
    struct web *web = begin(fixture, mode, connections, "");

    run(web, "wrk -t 2 -c 64 -d 1s --timeout 20s http://127.0.0.1:%P/page");
    test_require(strstr(web->output, "Socket errors") == NULL && strstr(web->output, "Non-2xx") == NULL,
                 "wrk says: %s", web->output);
    print_message("%d requests a second by wrk through the %s\n", (int)figure(web, "Requests/sec:"), mode);
    test_require(figure(web, "Requests/sec:") > 20, "wrk says: %s", web->output);
    end(web);
}

static void benchmarks_by_wrk(void **state)
{
    char tool[256];

    if (!process_find_command("wrk", NULL, tool, sizeof(tool))) {
        print_message("skipped: wrk is not installed (Debian: wrk)\n");
        skip();
    }
    benchmark_by_wrk(*state, "fifo", 1);
    benchmark_by_wrk(*state, "funnel", 4);
}

static void benchmark_by_ab(struct web *web, const char *options, size_t requests)
{
    char command[256];

    snprintf(command, sizeof(command), "ab -q %s -c 30 -n %zu http://127.0.0.1:%%P/page", options, requests);
    run(web, command);
    assert_int_equal((size_t)figure(web, "Complete requests:"), requests);
    assert_int_equal((int)figure(web, "Failed requests:"), 0);
    test_require(strstr(web->output, "Non-2xx") == NULL, "ab says: %s", web->output);
    print_message("%d requests a second by ab %s\n", (int)figure(web, "Requests per second:"), options);
}

/* It speaks HTTP/1.0, and a new connection for each request unless told otherwise. */
static void benchmarks_by_ab(void **state)
{
    char tool[256];

    if (!process_find_command("ab", NULL, tool, sizeof(tool))) {
        print_message("skipped: ab is not installed (Debian: apache2-utils)\n");
        skip();
    }
    struct web *web = begin(*state, "funnel", 4, "");
    benchmark_by_ab(web, "-k", test_scaled(10000, 300));
    benchmark_by_ab(web, "", test_scaled(3000, 300));
    end(web);
}

static bool start_nginx(const char *program)
{
    static char configuration[4096];
    char path[128], prefix[80];

    if (!server_prepare(&nginx))
        return false;
    snprintf(configuration, sizeof(configuration),
             "daemon off; master_process off; pid %s/pid; error_log %s/error.log;\n"
             "events { worker_connections 256; }\n"
             "http {\n"
             "  access_log off; client_max_body_size 1g;\n"
             "  client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;\n"
             "  uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
             "  server {\n"
             "    listen 127.0.0.1:%u; root %s/www;\n"
             "    location /upload/ { dav_methods PUT DELETE; create_full_put_path on; }\n"
             "    location /small/ { dav_methods PUT; client_max_body_size 1k; }\n"
             "    location /chunked/ { alias %s/www/; ssi on; ssi_types *; }\n"
             "    location = /none { return 204; }\n"
             "  }\n"
             "}\n",
             nginx.directory, nginx.directory, nginx.directory, nginx.directory, nginx.directory,
             nginx.directory, nginx.directory, nginx.port, nginx.directory, nginx.directory);
    snprintf(path, sizeof(path), "%s/www", nginx.directory);
    if (mkdir(path, 0777) == -1 || chmod(path, 0777) == -1 || !server_write_file(&nginx, "www/page", PAGE) ||
        !server_write_file(&nginx, "nginx.conf", configuration))
        return false;
    snprintf(path, sizeof(path), "%s/nginx.conf", nginx.directory);
    snprintf(prefix, sizeof(prefix), "%s/", nginx.directory);
    const char *const arguments[] = { program, "-p", prefix, "-c", path, NULL };
    return server_start(&nginx, arguments) && server_wait(&nginx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(a_request_with_an_end_is_answered),
        fixture_test(curl_keeps_its_connection),
        fixture_test(curl_uploads),
        fixture_test(upload_that_is_refused),
        fixture_test(requests_that_reach_no_target),
        fixture_test(large_file_up_and_down),
        fixture_test(benchmarks_by_wrk),
        fixture_test(benchmarks_by_ab),
    };
    char program[256], tool[256];
    int status = EXIT_FAILURE;

    if (!process_find_command("nginx", "/usr/sbin/nginx", program, sizeof(program)) ||
        !process_find_command("curl", NULL, tool, sizeof(tool))) {
        puts("SKIPPED: nginx or curl is not installed (Debian: nginx, curl)");
        return SERVER_SKIPPED;
    }
    if (start_nginx(program))
        status = cmocka_run_group_tests_name("nginx", tests, NULL, NULL);
    server_stop(&nginx, SIGTERM);
    return status;
}
