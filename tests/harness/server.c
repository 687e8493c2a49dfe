#include "harness/server.h"

#include "harness/peer.h"

#include <ftw.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNPRIVILEGED "nobody"
#define TOOL_LIMIT   60000 /* milliseconds to make the files of a new database */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

bool server_prepare(struct server *server)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam(UNPRIVILEGED) : NULL;

    *server = (struct server){ .directory = "/tmp/proximux-server-XXXXXX" };
    if (mkdtemp(server->directory) == NULL) {
        server->directory[0] = '\0';
        return false;
    }
    if (user != NULL && chown(server->directory, user->pw_uid, user->pw_gid) == -1)
        return false;
    snprintf(server->log, sizeof(server->log), "%s/log", server->directory);
    server->port = peer_free_port();
    return true;
}

bool server_write_file(const struct server *server, const char *name, const char *text)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", server->directory, name);
    file = fopen(path, "we");
    if (file == NULL)
        return false;
    bool written = fputs(text, file) != EOF;
    return fclose(file) == 0 && written && chmod(path, 0644) == 0;
}

bool server_run_tool(const struct server *server, const char *const *arguments)
{
    static char output[16384];
    struct process_options options = { .arguments = arguments, .output = server->log, .user = UNPRIVILEGED };
    int status = process_run(&options, TOOL_LIMIT, output, sizeof(output));

    if (status != 0)
        print_error("%s ended with status %d:\n%s\n", arguments[0], status, output);
    return status == 0;
}

bool server_start(struct server *server, const char *const *arguments)
{
    server->process = process_start(
        &(struct process_options){ .arguments = arguments, .output = server->log, .user = UNPRIVILEGED });
    return server->process != -1;
}

bool server_wait(struct server *server)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);
    int status;

    while (test_now() < deadline) {
        int probe = peer_try_connect(NULL, "127.0.0.1", server->port);

        if (probe != -1) {
            close(probe);
            return true;
        }
        if (process_wait(server->process, 0, &status)) {
            server->process = 0;
            break;
        }
        test_pause();
    }
    print_error("the server does not start:\n");
    server_print_log(server);
    return false;
}

void server_stop(struct server *server, int signal)
{
    int status;

    if (server->process > 0) {
        kill(server->process, signal);
        if (!process_wait(server->process, TEST_PATIENCE, &status))
            process_end(server->process);
    }
    if (server->directory[0] != '\0')
        nftw(server->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    *server = (struct server){ 0 };
}

void server_print_log(const struct server *server)
{
    static char text[16384];

    process_read_file(server->log, text, sizeof(text));
    print_error("%s\n", text);
}
