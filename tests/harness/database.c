#include "harness/database.h"

#include "harness/peer.h"

#include <errno.h>
#include <ftw.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNPRIVILEGED "nobody"
#define START_LIMIT  60000 /* milliseconds to make the files of a new database */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

/* Makes the directory, for the user that the server will run as. */
static bool make_directory(struct database *database)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam(UNPRIVILEGED) : NULL;

    *database = (struct database){ .directory = "/tmp/proximux-database-XXXXXX" };
    if (mkdtemp(database->directory) == NULL)
        return false;
    if (user != NULL && chown(database->directory, user->pw_uid, user->pw_gid) == -1)
        return false;
    snprintf(database->log, sizeof(database->log), "%s/log", database->directory);
    database->port = peer_free_port();
    return true;
}

static bool write_file(const struct database *database, const char *name, const char *text)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", database->directory, name);
    file = fopen(path, "we");
    if (file == NULL)
        return false;
    bool written = fputs(text, file) != EOF;
    return fclose(file) == 0 && written && chmod(path, 0644) == 0;
}

/* Runs one of the server's own tools that must succeed. */
static bool run_tool(const struct database *database, const char *const *arguments)
{
    static char output[16384];
    struct process_options options = { .arguments = arguments,
                                       .output = database->log,
                                       .user = UNPRIVILEGED };
    int status = process_run(&options, START_LIMIT, output, sizeof(output));

    if (status != 0)
        print_error("%s ended with status %d:\n%s\n", arguments[0], status, output);
    return status == 0;
}

bool database_make_certificate(struct database *database)
{
    char openssl[256], key[128], certificate[128];

    if (!process_find_command("openssl", NULL, openssl, sizeof(openssl)))
        return false;
    snprintf(key, sizeof(key), "%s/key.pem", database->directory);
    snprintf(certificate, sizeof(certificate), "%s/certificate.pem", database->directory);
    const char *const arguments[] = { openssl,  "req",     "-x509", "-newkey",       "rsa:2048",
                                      "-nodes", "-keyout", key,     "-out",          certificate,
                                      "-days",  "2",       "-subj", "/CN=localhost", NULL };
    database->has_certificate = run_tool(database, arguments);
    return database->has_certificate;
}

static enum database_outcome start_server(struct database *database, const char *const *arguments)
{
    database->process = process_start(
        &(struct process_options){ .arguments = arguments, .output = database->log, .user = UNPRIVILEGED });
    return database->process == -1 ? DATABASE_FAILED : DATABASE_RUNS;
}

enum database_outcome database_start_mariadb(struct database *database)
{
    char server[256], installer[256], data[96], port[32], socket[96], init[96], pid_file[96];
    char certificate[128], key[128];

    if (!process_find_command("mariadbd", "/usr/sbin/mariadbd", server, sizeof(server)) ||
        !process_find_command("mariadb-install-db", NULL, installer, sizeof(installer)))
        return DATABASE_NOT_INSTALLED;
    if (!make_directory(database))
        return DATABASE_FAILED;
    snprintf(data, sizeof(data), "--datadir=%s/data", database->directory);
    const char *const install[] = { installer,
                                    "--no-defaults",
                                    data,
                                    "--auth-root-authentication-method=normal",
                                    "--skip-test-db",
                                    "--skip-name-resolve",
                                    "--innodb-log-file-size=4M",
                                    NULL };
    if (!run_tool(database, install) ||
        !write_file(database, "init.sql",
                    "CREATE DATABASE tests;\n"
                    "CREATE USER '" DATABASE_USER "'@'127.0.0.1' IDENTIFIED BY '" DATABASE_PASSWORD "';\n"
                    "GRANT ALL ON *.* TO '" DATABASE_USER "'@'127.0.0.1';\n"))
        return DATABASE_FAILED;
    if (database_make_certificate(database)) {
        snprintf(certificate, sizeof(certificate), "--ssl-cert=%s/certificate.pem", database->directory);
        snprintf(key, sizeof(key), "--ssl-key=%s/key.pem", database->directory);
    }
    snprintf(port, sizeof(port), "--port=%u", database->port);
    snprintf(socket, sizeof(socket), "--socket=%s/socket", database->directory);
    snprintf(init, sizeof(init), "--init-file=%s/init.sql", database->directory);
    snprintf(pid_file, sizeof(pid_file), "--pid-file=%s/pid", database->directory);
    const char *const run[] = { server,
                                "--no-defaults",
                                data,
                                port,
                                socket,
                                init,
                                pid_file,
                                "--bind-address=127.0.0.1",
                                "--skip-name-resolve",
                                "--max-allowed-packet=64M",
                                "--max-connections=200",
                                "--innodb-buffer-pool-size=64M",
                                "--innodb-flush-log-at-trx-commit=0",
                                "--innodb-log-file-size=64M",
                                database->has_certificate ? certificate : NULL,
                                key,
                                NULL };
    return start_server(database, run);
}

enum database_outcome database_start_postgresql(struct database *database)
{
    char installer[256], data[96], port[16], password[96], server[300], folders[128];

    if (!process_find_command("initdb", "/usr/lib/postgresql/*/bin/initdb", installer, sizeof(installer)))
        return DATABASE_NOT_INSTALLED;
    char *real = realpath(installer, NULL); /* the server itself lies beside it */
    if (real == NULL)
        return DATABASE_NOT_INSTALLED;
    if (!make_directory(database)) {
        free(real);
        return DATABASE_FAILED;
    }
    snprintf(database->programs, sizeof(database->programs), "%.*s", (int)(strrchr(real, '/') - real), real);
    free(real);
    snprintf(data, sizeof(data), "%s/data", database->directory);
    snprintf(password, sizeof(password), "--pwfile=%s/password", database->directory);
    const char *const install[] = { installer,       "-D",        data,     "-U",         DATABASE_USER, "-A",
                                    "scram-sha-256", "--no-sync", password, "--locale=C", NULL };
    if (!write_file(database, "password", DATABASE_PASSWORD "\n") || !run_tool(database, install))
        return DATABASE_FAILED;
    snprintf(server, sizeof(server), "%s/postgres", database->programs);
    snprintf(port, sizeof(port), "%u", database->port);
    snprintf(folders, sizeof(folders), "unix_socket_directories=%s", database->directory);
    const char *const run[] = { server,
                                "-D",
                                data,
                                "-p",
                                port,
                                "-c",
                                "listen_addresses=127.0.0.1",
                                "-c",
                                folders,
                                "-c",
                                "fsync=off",
                                "-c",
                                "max_connections=100",
                                "-c",
                                "log_line_prefix=%p ",
                                NULL };
    return start_server(database, run);
}

void database_stop(struct database *database)
{
    int status;

    if (database->process > 0) {
        /* PostgreSQL: INT ends it without waiting for clients; MariaDB only knows TERM */
        kill(database->process, database->programs[0] != '\0' ? SIGINT : SIGTERM);
        if (!process_wait(database->process, TEST_PATIENCE, &status))
            process_end(database->process);
    }
    if (database->directory[0] != '\0')
        nftw(database->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void database_print_log(const struct database *database)
{
    static char text[16384];

    process_read_file(database->log, text, sizeof(text));
    print_error("%s\n", text);
}
